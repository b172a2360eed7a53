"""Training: one loop that runs phases, and adversarial training built on it.

What everything uses that trains:

- `phases`: a group (parameters and their optimiser) and a phase (losses for one or several groups).
- `loop`: `run_phases` and `run_phase`; all gradients are taken before any optimiser steps.
- `recorder`: logs that stay on the device and are read at intervals.
- `state`, `checkpointer`: what a run remembers, part by part, and exact resumption.
- `guard`: finds what is not finite or collapsed, restores, and keeps the last good snapshot.
- `averaging`: the moving average of weights; `rates`: what happens to rates and weights beside
  steps.
- `trackers`: logs shown in a tool of the user's choice.
- `team`, `parallel`: several processes that share each batch, and one run on them; imported by such
  runs alone.

Adversarial training:

- `config`: `GanConfig`, readable without torch.
- `compatibility`: `check_compatible` compares what the chosen parts declare; `fits` lists what goes
  with a part, and why the rest does not.
- `game`: networks, losses and state of one run; `build_generator`.
- `joint`: which aspects images are asked for, and which are drawn as further channels.
- `batches`: real rows and wanted aspects, as functions of the step; `between`: values between those
  of two rows.
- `selection`: top-k training; `sketch`: a quick distance to real images, for the guard.
- `gan_phases`: critic with auxiliaries, generator, or both at once; `direct_phase`: a generator
  that learns without a critic.
- `adversarial`: the frame that every adversarial run shares; `gan`: `train_gan` and `GanTraining`.

To train something else, write phases and give them to `run_phases`; the loop needs no change.
"""
