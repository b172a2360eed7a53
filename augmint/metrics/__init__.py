"""Metrics: arrays and feature maps in, numbers out; they explain a verdict and never decide it.

Base: `base.Metric` (constants as fields), `base.measure` (value and floor at the same n),
`base.Protocol` (printed beside every number), `base.Measurement`.
Members: `frechet`, `kernel` (kid), `coverage` (precision, recall, density, coverage), `image`
(pairwise diversity), `labels` (label truth), `copying` (near copies of training images).
Annotations: `aspects` (errors of points and numbers, annotation truth, smoothness, latent gap) and
`pixel` (measures of masks), which tasks score with; `requests` (errors and diversity of what a
generator is asked for).
Helpers: `features` (feature maps without weights), `planted` (known copies that test the copy
detector), `registration` (its search), `memorisation` (DCR share, authenticity, C_T).
Add one: a frozen dataclass under `@METRICS.register("name")` in a module of this folder; take
arrays only, import nothing but `augmint.core`.
"""
