"""Recipes: published experiments as complete configurations, one file per paper or experiment.

Base: `base.Recipe` (configure, deviations, run) and `base.run_recipe`, which writes `result.json`,
`config.yaml`, pictures and a report. Shared: `conditional` (one conditional generator, trained and
measured), `measuring` (label truth, distances with floors,
diversity). Members: `vac` (VAC+GAN on MNIST); `spdnn_magazine`, `spdnn_iris`,
`spdnn_depth` (published merges, sharing `spdnn_structure`); `spdnn_classifier` (merged against its
parents at equal size; its `spdnn_networks`, `spdnn_training` as stages, `spdnn_judging`,
`spdnn_tables`).

To add one: a frozen dataclass in a new module, decorated with `@RECIPES.register("name")`, that
says what it expects from the paper, where it deviates, and has a debug version of some seconds.
"""
