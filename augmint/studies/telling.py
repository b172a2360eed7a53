"""What a study says on a terminal while it works, and what it says of the data it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augmint.core.errors import single_line, visible
from augmint.core.progress import quiet
from augmint.data.ingest import built_in_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from augmint.data.table import Table


def tell(line: str) -> None:
    """Print a line, its control characters made visible, unless `quiet`."""
    if not quiet():
        print(visible(line), flush=True)


def recognised(table: Table) -> dict[str, Any]:
    """Return what was recognised of a data set, as reports keep it: layout, annotations, notes."""
    return {
        "layout": str(table.rules.get("layout", "")),
        "annotations": [a.words for a in table.schema if a.kind != "category"],
        "notes": [str(note) for note in table.rules.get("notes", ())],
    }


def lines_of(data: str, found: Mapping[str, Any]) -> list[str]:
    """Return what was recognised of a data set as lines; of classes alone one at most.

    Notes are the reader's own: objects that were left out, points beside the frame.

    Args:
        data: as it was given; of a built-in set without annotations there is nothing to tell.
        found: what `recognised` returned.

    Example:
        >>> lines_of("faces", {"layout": "COCO: a", "annotations": ["eyes"], "notes": ["2 lost"]})
        ['COCO: a; annotations: eyes', '  2 lost']
    """
    if found["annotations"]:
        told = f"{found['layout']}; annotations: {', '.join(found['annotations'])}"
        return [single_line(told, 300), *(f"  {single_line(n, 300)}" for n in found["notes"])]
    return [] if built_in_spec(data) else [single_line(found["layout"], 300)]


def tell_recognised(data: str, table: Table) -> None:
    """Print what was recognised of a data set; see `lines_of`."""
    for line in lines_of(data, recognised(table)):
        tell(line)
