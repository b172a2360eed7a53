"""Data: whatever a user has, as one memory-mapped uint8 table with everything known beside it.

The way in is `ingest.ingest(source, cache)`: a built-in name, a folder or a zip becomes a
`table.Table`, cached by content. On the way lie

- `archives`: the files of a folder or of a zip, read in place, hostile archives refused;
- `formats/`: the layouts that are recognised (axis `formats`), read and written;
- `decoding`: from encoded files to uint8 pixels, by stated rules;
- `values`: annotations, loaded beside their image, checked and scaled with it;
- `batch`: what a table hands to networks.

Once there is a table: `splits` (stratified, grouped, per class, long-tailed, folds), `check`
(duplicates, conflicts, small classes; what stops a study) and `near` (near duplicates).

Built-in data sets are frozen dataclasses on the axis `datasets`: `digits` (scikit-learn's) and
three that are drawn, every truth known: `toy`, and in `toy_annotated` `toy-faces` (by `faces`) and
`toy-eyes` (by `eyes`, with `eye_geometry` and `eye_painting`; `raster` has the shapes). To add one:
a module here with a subclass of `base.BuiltIn`, decorated with `@DATASETS.register("name")`.
"""
