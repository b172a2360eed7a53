"""Recipes: published experiments as complete configurations, one file per paper or experiment.

Base: `base.Recipe` (configure, deviations, run) and `base.run_recipe`, which writes `result.json`,
`config.yaml`, pictures and a report. Shared: `conditional` (one conditional generator, trained and
measured by `studies.compare`), `annotated` (the three parts of a set of annotated images).

Members: `vac` (VAC+GAN, ACGAN, CDCGAN and CGAN on MNIST), `vac_cifar` (VAC+GAN and ACGAN on
CIFAR-10), both on `vac_family` (what methods that are compared share); `vac_faces` (VAC and the
conditional BEGAN on faces); `vac_on_anything` (VAC on five kinds of GAN); `var_faces`,
`cbigan_faces`, `vac_var_faces` (faces asked for by landmarks, sharing `requested`);
`began_landmarks`, `began_mask`, `mirror_path` (what a BEGAN's latent says of points and masks,
sharing `latent_pairs`); `spdnn_magazine`, `spdnn_iris`, `spdnn_depth` (published merges, sharing
`spdnn_structure`); `spdnn_classifier`, `spdnn_eyes` (merged against its parents at equal size,
sharing `spdnn_equal_size`: its networks in `spdnn_networks` and `spdnn_candidates`,
`spdnn_training` and `spdnn_votes` as stages, and `spdnn_judging`, `spdnn_tables`, `spdnn_outcome`
for what comes of them).

`comparing` is no recipe: it takes the generators of several recipes to `studies.compare`.

To add one: a frozen dataclass in a new module, decorated with `@RECIPES.register("name")`, that
says what it expects from the paper, where it deviates, and has a debug version of some seconds.
"""
