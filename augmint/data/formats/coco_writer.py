"""A table's annotations in COCO's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from augmint.data.formats import rle
from augmint.data.formats.annotation import only, refusal, shifted
from augmint.data.formats.regions import CORNERS, box_of, is_box, meets

if TYPE_CHECKING:
    from augmint.data.table import Table

VOID = "void"
BACKGROUND = "background"


class CocoWriter:
    """A table's annotations as COCO's, the same categories for all parts."""

    def __init__(self, table: Table, packed: bool, offset: float) -> None:
        held = only(table, ("mask", "landmarks", "category"), "COCO")
        self.table, self.packed, self.offset = table, packed, offset
        self.mask, self.marks, self.label = (
            held.get(kind) for kind in ("mask", "landmarks", "category")
        )
        if self.label is not None and (self.marks is None or self.label.width < 2):
            raise refusal("COCO", "a class of an object with points or a box", "a class alone")
        self.boxed = getattr(self.marks, "points", ()) == CORNERS and self.mask is None
        if self.boxed and not is_box(table.values[getattr(self.marks, "name", "")]):
            raise refusal("COCO", "upright boxes", "corners that are none")
        boxes = table.values[self.marks.name] if self.boxed and self.marks else ()
        beside = next((r for r, b in enumerate(boxes) if not meets(b, table.shape[1:])), None)
        if beside is not None:
            raise refusal("COCO", "boxes that meet their image", f"row {beside}, beside it")
        self.masked = list(getattr(self.mask, "classes", ()))[1:]
        if {VOID, BACKGROUND} & set(self.masked):
            raise refusal("COCO", "classes by other names than void and background", "such a class")
        if self.mask is not None and getattr(self.mask, "void", None) is not None:
            self.masked.append(VOID)
        named = list(getattr(self.label, "classes", ())) or (["object"] if self.marks else [])
        self.named = [n if n not in self.masked else f"{n} (points)" for n in named]
        if self.named != named and self.label is not None:
            raise refusal("COCO", "classes and masks of different names", ", ".join(named)[:80])
        self.next = 1

    def content(self, rows: Sequence[int]) -> dict[str, Any]:
        """What the file of some rows holds."""
        images, annotations = [], []
        minted = set(self.table.origins.get("minted", ()))
        _, height, width = self.table.shape
        for row in rows:
            entry: dict[str, Any] = {"id": row + 1, "file_name": f"{row:07d}.png"}
            entry |= {"width": width, "height": height}
            if self.table.groups is not None:
                entry["group"] = str(self.table.groups[row])
            entry["origin"] = "minted" if row in minted else "real"
            images.append(entry)
            for told in [*self._regions(row), *self._object(row)]:
                annotations.append({"id": self.next, "image_id": row + 1, **told})
                self.next += 1
        info = {"description": "images with annotations, written by augmint"}
        head = {"info": info, "licenses": [], "images": images, "annotations": annotations}
        return head | {"categories": self._categories()}

    def _categories(self) -> list[dict[str, Any]]:
        found = [{"id": i, "name": n} for i, n in enumerate(self.masked, start=1)]
        points = list(getattr(self.marks, "points", ()))
        lines = getattr(self.marks, "skeleton", ())
        numbered = [[points.index(a) + 1, points.index(b) + 1] for a, b in lines]
        shape = {} if self.boxed else {"keypoints": points, "skeleton": numbered}
        for name in self.named:
            found.append({"id": len(found) + 1, "name": name, **shape})
        return found

    def _regions(self, row: int) -> list[dict[str, Any]]:
        if self.mask is None:
            return []
        mask, found = self.table.values[self.mask.name][row], []
        void = getattr(self.mask, "void", None)
        numbers = [*range(1, self.mask.width), *([] if void is None else [void])]
        for id, value in enumerate(numbers, start=1):
            inside = mask == value
            if not inside.any():
                continue
            counts = rle.encode(inside)
            written = rle.pack(counts) if self.packed else counts.tolist()
            told = {"size": list(mask.shape), "counts": written}
            ys, xs = np.nonzero(inside)
            x, y = int(xs.min()), int(ys.min())
            box = [x, y, int(xs.max()) - x + 1, int(ys.max()) - y + 1]
            area = {"area": int(inside.sum()), "bbox": box, "iscrowd": 0}
            found.append({"category_id": id, "segmentation": told, **area})
        return found

    def _object(self, row: int) -> list[dict[str, Any]]:
        if self.marks is None:
            return []
        points = self.table.values[self.marks.name][row]
        at = 0 if self.label is None else int(self.table.values[self.label.name][row])
        x0, y0, x1, y1 = box_of(points)
        told: dict[str, Any] = {"category_id": len(self.masked) + at + 1}
        if not self.boxed:
            flat = [[*(shifted(c, self.offset) for c in (x, y)), int(v)] for x, y, v in points]
            told["keypoints"] = [c for point in flat for c in (point if point[2] else (0, 0, 0))]
            told["num_keypoints"] = int((points[:, 2] > 0).sum())
        box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
        return [{**told, **box, "iscrowd": 0}]
