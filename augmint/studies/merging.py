"""Merging networks of the user's: read, merged, built, drawn and written.

The folder that is written holds

    merge.json            what was merged, layers at every step, labels, parameters, refusals
    network.json          the merged network, loadable by `augmint.merging.build.load`
    network.py            its `make_net`, for `augmint prove --model`
    network.safetensors   its weights, where they were inherited
    1-parents.svg …       pictures of every step

The same call again writes the same files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from augmint.core import config as core_config
from augmint.core.errors import UsageError
from augmint.core.runs import save_tensors, write_atomic, write_json
from augmint.merging.contraction import Rules
from augmint.merging.draw import draw_merge
from augmint.merging.merge import Merge, merge_networks
from augmint.merging.shapes import ShapeError

if TYPE_CHECKING:
    from torch import nn

    from augmint.merging.build import Built
    from augmint.merging.read import Read

REPORT, DESCRIPTION, WEIGHTS, SCRIPT = (
    "merge.json", "network.json", "network.safetensors", "network.py",
)  # fmt: skip
SIDES = (28, 32, 48, 64, 96, 128, 224, 227, 256)
"""Sides that are tried where no shape is given."""

_SCRIPT = '''"""The merged network, for `augmint prove DATA --model {name}:make_net`.

Written by augmint; it reads {description}, SHA-256 {digest}.
"""

from pathlib import Path

from augmint.merging.build import Built, load


def make_net() -> Built:
    """Return the merged network with new weights."""
    return load(Path(__file__).with_name("{description}"))
'''


@dataclass(frozen=True)
class MergeOptions:
    """How networks are merged.

    Args:
        budget: "1.0x" of the mean parent, or a number ("80k"); None keeps the parents' widths.
        measure: what the budget counts.
        shape: of one image, `(C, H, W)`; None tries usual sizes and takes the first that fits.
        outputs: for functions that ask how many outputs to make.
        inherit: copy the parents' weights where the shapes allow it.
        keep_dense: dense layers keep their neurons.
        seed: of weights that are drawn.
        rules: of the contraction.
    """

    budget: str | float | None = "1.0x"
    measure: Literal["parameters", "multiplications"] = "parameters"
    shape: tuple[int, ...] | None = None
    outputs: int | None = None
    inherit: bool = False
    keep_dense: bool = False
    seed: int = 0
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class Merged:
    """A merged network.

    Args:
        network: the module, to be trained.
        report: what `merge.json` holds.
        pictures: file name to SVG.
        merge: every step, for a closer look.
    """

    network: Built
    report: dict[str, Any]
    pictures: dict[str, str]
    merge: Merge

    @property
    def description(self) -> dict[str, Any]:
        """What `network.json` holds; `augmint.merging.build.load` builds it again."""
        return self.merge.network.to_json()

    def write(self, out: Path) -> Path:
        """Write everything into a folder: new, empty or of an earlier merge.

        Raises:
            UsageError: if it holds something else.
        """
        _free(out)
        text = json.dumps(self.description, indent=1) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        for old in out.glob("[0-9]*-*.svg"):
            old.unlink()
        for name, svg in self.pictures.items():
            write_atomic(out / name, svg)
        write_atomic(out / DESCRIPTION, text)
        write_atomic(
            out / SCRIPT, _SCRIPT.format(name=SCRIPT, description=DESCRIPTION, digest=digest)
        )
        (out / WEIGHTS).unlink(missing_ok=True)
        if self.report["inherited"] is not None:
            save_tensors(out / WEIGHTS, self.network.state_dict())
        write_json(out / REPORT, self.report)
        return out

    def lines(self) -> list[str]:
        """Return what the command line says."""
        found, measure = self.report["merged"], self.report["budget"]["measure"]
        steps = ", ".join(f"{name} {n}" for name, n in self.report["nodes"].items())
        shape = "x".join(map(str, self.merge.network.shape))
        chosen = "" if self.report["shape_given"] else " (found by trying; --shape says otherwise)"
        lines = [f"input {shape}{chosen}"]
        lines += [f"parent {p['name']}: {p[measure]} {measure}" for p in self.report["parents"]]
        lines.append(f"layers: {steps}")
        asked = self.report["budget"]["asked"]
        reached = (
            ""
            if asked is None
            else f", {100 * self.report['budget']['deviation']:+.2f} % off {asked}"
        )
        lines.append(f"merged: {found[measure]} {measure}{reached}")
        if not self.report["budget"]["within_1_percent"]:
            lines.append("this is the nearest number that channels of whole numbers reach")
        refused = len(self.report["refused"])
        lines += [f"refused merges: {refused}, with reasons in {REPORT}"] if refused else []
        return lines + [f"note: {note}" for note in self.report["notes"]]


def merge_models(
    models: Sequence[str | nn.Module], options: MergeOptions, out: Path | None = None
) -> Merged:
    """Merge networks into one; see `augmint.merge`.

    Raises:
        UsageError: networks that cannot be loaded or read, that do not fit together, or a budget
            that cannot be reached.

    Example:
        >>> from torch.nn import Conv2d, Sequential
        >>> thin, wide = (Sequential(Conv2d(1, n, 3), Conv2d(n, 2, 3)) for n in (4, 8))
        >>> merge_models([thin, wide], MergeOptions(budget="1.0x", shape=(1, 8, 8))).network
        Built(
          (1-3C): Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1))
          (2-3C): Conv2d(6, 2, kernel_size=(3, 3), stride=(1, 1))
        )
    """
    from augmint.core import streams
    from augmint.merging.build import build
    from augmint.merging.inheritance import inherit

    if out is not None:
        _free(out)
    with streams.scope(options.seed, "merge"):
        parents = _read_all(models, options)
        merge = merge_networks(
            [p.network for p in parents],
            options.budget,
            options.rules,
            options.measure,
            keep_dense=options.keep_dense,
        )
        module = build(merge.network)
        report = merge.report() | {"inherited": None, "shape_given": options.shape is not None}
        if options.inherit:
            names = merge.contraction.given
            states = {name: p.state for name, p in zip(names, parents, strict=True)}
            copied, total = inherit(module, merge.plan, merge.lowered, states)
            report["inherited"] = {"copied": copied, "of": total}
    merged = Merged(module, report, draw_merge(merge), merge)
    if out is not None:
        merged.write(out)
    return merged


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Return the shape that "3x32x32" means, or the one of a vector, "16".

    Example:
        >>> parse_shape("3x32x32"), parse_shape("16"), parse_shape(None)
        ((3, 32, 32), (16,), None)
    """
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5}x[1-9]\d{0,5})?", str(text)):
        raise UsageError("a shape is CxHxW", text, "pass shape=(3, 32, 32) (--shape 3x32x32)")
    return tuple(int(n) for n in str(text).split("x"))


def merge_files(
    models: Sequence[str], out: Path, given: Mapping[str, Any], settings: Sequence[str]
) -> list[str]:
    """Merge networks of files and return the lines to print.

    Args:
        models: "file.py:function", two or more.
        out: the folder to write.
        given: fields of `MergeOptions` but for the rules.
        settings: rules, as `key=value`.
    """
    rules = core_config.build(Rules, core_config.with_overrides({}, settings), "rules")
    shape = parse_shape(given["shape"])
    options = MergeOptions(**{**given, "shape": shape, "rules": rules})
    merged = merge_models(models, options, out)
    model = out / SCRIPT
    return [
        *merged.lines(),
        f"written: {out}",
        f"use it: augmint prove DATA --model {model}:make_net",
    ]


def _free(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / REPORT).is_file():
        raise UsageError(
            "a merge goes into a new or an empty folder, or over an earlier merge",
            f"{out}, which holds other files",
            "choose another (--out DIR)",
        )


def _read_all(models: Sequence[str | nn.Module], options: MergeOptions) -> list[Read]:
    from augmint.merging.read import read
    from augmint.tasks.user_model import make_user_network

    modules, names = [], []
    for model in models:
        if isinstance(model, str):
            shape = options.shape if options.shape is None or len(options.shape) == 3 else None
            module = make_user_network(model, shape, options.outputs)  # type: ignore[arg-type]
            path, _, function = model.rpartition(":")
            names.append(Path(path).stem if function == "make_net" else function)
        else:
            module = model
            names.append(type(model).__name__)
        modules.append(module)
    if len(modules) < 2:
        raise UsageError("merging takes at least two networks", len(modules), "give two or more")

    def read_at(shape: tuple[int, ...]) -> list[Read]:
        return [read(m, shape, name) for m, name in zip(modules, names, strict=True)]

    if options.shape is not None:
        return read_at(options.shape)
    return _search(read_at, _channels(modules[0], names[0]))


def _search(read_at: Any, channels: int) -> list[Read]:
    """Read at the first size that all networks take, with outputs that agree."""
    from augmint.merging.shapes import infer

    misfit: ShapeError | None = None
    fitting: list[Read] = []
    for shape in [*((channels, side, side) for side in SIDES), (channels,)]:
        try:
            found: list[Read] = read_at(shape)
        except ShapeError as error:
            misfit = misfit or error
            continue
        outputs = {infer(r.network)[r.network.output] for r in found}
        if len(outputs) == 1:
            return found
        fitting = fitting or found
    if fitting:
        return fitting  # the merge says that their outputs differ
    sizes = ", ".join(map(str, SIDES))
    raise UsageError(
        f"the networks fit no square image of {sizes} px",
        str(misfit),
        "say what they take: shape=(3, 32, 32) (--shape 3x32x32)",
    )


def _channels(module: nn.Module, name: str) -> int:
    """Return how many channels the first layer takes."""
    for part in module.modules():
        for attribute in ("in_channels", "in_features"):
            if hasattr(part, attribute):
                return int(getattr(part, attribute))
    raise UsageError(
        f"{name} must have a convolution or dense layer that says what it takes",
        "none",
        "say what the networks take: shape=(3, 32, 32) (--shape 3x32x32)",
    )
