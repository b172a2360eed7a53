"""Latents and aspects: what a generator's latent says, and generators that are asked for values.

| module | what |
|---|---|
| `inversion`, `slots` | the latent of an image, by optimisation, many images at once |
| `encoder` | the same by a network, which starts the optimisation or replaces it |
| `aspect_map` | a network from latents to landmarks, values, masks; `pairs` mints with it |
| `distilled` | a baseline: a teacher's labels; another draws them with images: `training.joint` |
| `conditioned` | a generator with its aspects given, so that its noise can be inverted |
| `paths` | interpolation, mirroring, arithmetic, as strips and films |
| `bidirectional` | cBiGAN: generator, encoder and a critic of pairs, the baseline of VAR |

Everything takes a trained generator (`training.adversarial.TrainedGan`) or makes one. To add a
method: a module here with its configuration, a frozen dataclass, and its training by
`training.loop`, or, if it is adversarial, by `training.adversarial`.
"""
