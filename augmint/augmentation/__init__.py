"""Expert augmenters: draw parameters for a batch, then change images *and* aspects by them.

The axis is `AUGMENTERS` (`augmint.core.registry`); the base is `base.ExpertAugmenter`, a frozen
dataclass called as `augmenter(images, aspects, schema, stream) -> (images, aspects)`. Images are
float in [-1, 1], `(N, C, H, W)`; every random number comes from the stream, one row an image.

| module | members |
|---|---|
| `base` | `chain` |
| `geometric` | `shift`, `affine`, `flip`; the affine map and its one-pass resampling |
| `operations` | pixel operations as plain functions (brightness … equalise) |
| `photometric` | `brightness`, `contrast`, `saturation`, `gamma`, `noise`, `erase`, `colour` |
| `automatic` | `trivial-augment`, `rand-augment` |
| `mixing` | `mixup`, `cutmix` (soft labels) |
| `policies` | `none`, `flip-affine`, `affine-colour`; `CLASSIC_POLICIES`, what `classic` tries |
| `adaptive` | `diff-augment`, differentiable, for a critic's input |
| `ada` | `ada`, the same with a probability that follows how much the critic overfits |

To add one: write a frozen dataclass in any module here and decorate it with
`@AUGMENTERS.register("its-name")`. A geometric one implements `draw` and inherits the moving of
aspects; a photometric one implements `draw` and `change`. The conformance test finds it by itself.
"""
