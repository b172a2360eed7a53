"""File layouts that are read into a table and written from one, one file each.

Base: `base.Format` (`detect`, `read`, `write`); `base.Sample`, `base.Deferred` and `base.Listing`
are what reading gives. Members, in the order in which they are tried:

- `manifest`: `metadata.jsonl` beside images, one JSON object a line, with `schema.json`: the one
  that holds every kind of annotation;
- `coco`: COCO's instances and keypoints (`coco_entries` checks a file's entries, `coco_writer`
  writes them);
- `yolo`: `data.yaml` and a text file beside each image: boxes, segments, poses (`yolo_parts` tells
  the parts);
- `landmarks_csv`: a table of points (`face68` names the 68 of a face);
- `celeba`: aligned faces with CelebA's lists;
- `mask_folders`: `images` and `masks` (or depth, or pairs A and B) side by side (`mask_classes`
  tells what their numbers mean);
- `idx`: `train-images-idx3-ubyte[.gz]` with its labels, as MNIST is published;
- `cifar`: the binary version of CIFAR-10;
- `imagefolder`: `class/image` or `split/class/image`.

Shared by those with annotations: `annotation` (numbers, names, files beside the image,
`schema.json`), `regions` (masks given as shapes), `polygons`, `rle` (run lengths), `origins` (what
is minted, and of whom, where a layout cannot say so).

All read from a folder or straight from a zip (`augmint.data.archives`). To add one: a module here
with a frozen dataclass, `@FORMATS.register("name")`, that subclasses `Format` and sets `priority`;
higher is asked first.
"""
