"""File layouts that are read into a table and written from one, one file each.

Base: `base.Format` (`detect`, `read`, `write`); `base.Sample` and `base.Listing` are what reading
gives. Members, in the order in which they are tried:

- `manifest`: `metadata.jsonl` beside images, one JSON object a line;
- `idx`: `train-images-idx3-ubyte[.gz]` with its labels, as MNIST is published;
- `imagefolder`: `class/image` or `split/class/image`.

All read from a folder or straight from a zip (`augmint.data.archives`). To add one: a module here
with a frozen dataclass, `@FORMATS.register("name")`, that subclasses `Format` and sets `priority`;
higher is asked first.
"""
