"""Training: one loop that runs phases, and adversarial training built on it.

What everything uses that trains:

- `phases`: a group (parameters and their optimiser) and a phase (losses for one or several groups).
- `loop`: `run_phases` and `run_phase`; all gradients are taken before any optimiser steps.
- `recorder`: logs that stay on the device and are read at intervals.
- `state`, `checkpointer`: what a run remembers, part by part, and exact resumption.
- `guard`: finds what is not finite or collapsed, restores, and keeps the last good snapshot.
- `averaging`: the moving average of weights.
- `parallel`: one run on several processes that share each batch; imported by such runs alone.

Adversarial training:

- `config`: `GanConfig`, readable without torch.
- `compatibility`: `check_compatible` compares what the chosen parts declare.
- `game`: networks, losses and state of one run; `build_generator`.
- `batches`: real rows and wanted aspects, as functions of the step.
- `gan_phases`: critic with auxiliaries, generator, or both at once; `direct_phase`: a generator that
  learns without a critic.
- `adversarial`: the frame that every adversarial run shares; `gan`: `train_gan` and `GanTraining`.

To train something else, write phases and give them to `run_phases`; the loop needs no change.
"""
