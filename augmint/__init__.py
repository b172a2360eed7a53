"""augmint mints annotated training images and proves whether they help.

    import augmint

    report = augmint.prove("digits", "runs/digits")        # verdict, report, minted images
    bundle = augmint.train_generator("digits", "runs/g")   # a generator that needs no data to mint
    augmint.mint(bundle, "runs/minted", per_class=20)      # annotated images with a manifest
    augmint.merge(["a.py:make_net", "b.py:make_net"])      # several networks as one, any size

The rooms of the package, who may import whom, and how to add a variant stand in each folder's
docstring and in CONTRIBUTING.md. Importing augmint loads neither torch nor numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from augmint.studies.merging import Merged

__version__ = "0.1.0"
__all__ = ["__version__", "merge", "mint", "prove", "train_generator"]


def prove(
    data: str | Path,
    out: str | Path,
    preset: str = "quick",
    per_class: int | None = None,
    seeds: int | None = None,
    model: str | None = None,
    workers: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure whether minted images help a network trained on `data`, and write the report.

    Args:
        data: an image folder, a zip, a folder of idx files, or a built-in name ("digits",
            "toy-faces" …).
        out: the study's folder; the same call again resumes it.
        preset: "quick", "standard" or "full" (arms, seeds and budgets).
        per_class: labelled images a class that the study may use, in all where there are no
            classes; the rest is held back.
        seeds: independent repetitions, at least 2.
        model: the user's own network, "file.py:make_net".
        workers: parallel stages, one core each; default: the machine's cores.
        settings: any field of the study by dotted name, `{"task.steps": 500}`; `task.kind` says
            what the network predicts: classification, landmarks, regression, segmentation, dense.

    Returns:
        What `report.json` holds: `verdict`, `sentence`, `uplift`, `arms`, `copying` …

    Raises:
        AugmintError: bad input or options, or data that fail the check.

    Example:
        >>> report = augmint.prove("digits", "runs/digits", seeds=3)  # doctest: +SKIP
        >>> report["verdict"]  # doctest: +SKIP
        'no practical difference'
    """
    from augmint.studies.pipeline import prove as run
    from augmint.studies.study import ProveOptions

    options = ProveOptions(
        preset=preset,
        per_class=per_class,
        seeds=seeds,
        model=model,
        workers=workers,
        settings=dict(settings or {}),
    )
    return run(str(data), Path(out), options)


def train_generator(
    data: str | Path,
    out: str | Path,
    per_class: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Train a conditional generator on `data` and return the folder of its bundle.

    Args:
        data: as for `prove`.
        out: the run's folder; the same call again resumes it.
        per_class: train on this many images a class (default: all of the training part).
        steps: optimiser steps (default: 6000, that of `training.config.GanConfig`).
        seed: of everything random.
        device: "auto", "cpu" or "cuda".
        settings: any field of the run by dotted name,
            `{"generator.conditioning": "concatenation"}`.

    Raises:
        AugmintError: bad input or options, or parts that do not fit together.

    Example:
        >>> augmint.train_generator("digits", "runs/g", steps=2000)  # doctest: +SKIP
        PosixPath('runs/g/bundle')
    """
    from augmint.studies.single import TrainOptions, train

    options = TrainOptions(per_class, steps, seed, device, dict(settings or {}))
    return train(str(data), Path(out), options)


def mint(
    bundle: str | Path,
    out: str | Path,
    per_class: int = 100,
    quotas: Mapping[str, int] | None = None,
    seed: int = 0,
    curate: bool = True,
    truncation: float | None = None,
    format: str | None = None,
) -> dict[str, Any]:
    """Mint annotated images from a bundle, without the data it was trained on.

    Args:
        bundle: the folder that `train_generator` or `prove` wrote.
        out: a new folder: `class/id.png`, `metadata.jsonl`, `minted.json`, `croissant.json`.
        per_class: images for each class.
        quotas: images by class name, in place of `per_class`.
        seed: the same bundle, seed and id always give the same image.
        curate: keep only images that the bundle's judge recognises as what they claim.
        truncation: more typical and less varied images: a bound of the latents' entries, or the
            share (0 to 1) of its styles that a generator with styles keeps; None for neither.
        format: write the layout of this format in place of a manifest (`augmint list formats`).

    Returns:
        Counts drawn, accepted and rejected with reasons, by class.

    Raises:
        AugmintError: a broken bundle, an unknown class, or a folder that holds something else.

    Example:
        >>> counts = augmint.mint("runs/g/bundle", "runs/minted", per_class=20)  # doctest: +SKIP
        >>> counts["accepted"]  # doctest: +SKIP
        200
    """
    from augmint.studies.single import MintOptions, mint_bundle

    options = MintOptions(per_class, dict(quotas or {}), seed, curate, None, truncation, format)
    return mint_bundle(Path(bundle), Path(out), options)


def merge(
    networks: Sequence[str | nn.Module],
    budget: str | float | None = "1.0x",
    out: str | Path | None = None,
    shape: Sequence[int] | None = None,
    outputs: int | None = None,
    inherit: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Merged:
    """Merge several networks for one task into one, to be trained from scratch (SPDNN).

    Layers that are alike and stand equally far from the input, or from the output, become one;
    what meets is concatenated; widths are chosen for the budget, relative widths kept.

    Args:
        networks: two or more feed-forward modules, or "file.py:make_net", with the same input and
            output.
        budget: parameters of the merged network: "1.0x" of the mean parent, 80000, "80k"; None
            keeps the parents' widths.
        out: also write `merge.json`, the network and drawings of every step to this folder.
        shape: of one input, (C, H, W); None tries usual sizes and takes the first that fits.
        outputs: for functions that ask how many outputs to make.
        inherit: copy the parents' weights where the shapes allow it.
        settings: rules by name, `{"to_fixpoint": True}`; see `augmint.merging.contraction.Rules`.

    Returns:
        `network`, the module; `report`, what merge.json holds; `pictures`, SVG by file name.

    Raises:
        AugmintError: a network that cannot be read (the layer is named), inputs or outputs that
            differ, a budget out of reach.

    Example:
        >>> import augmint
        >>> from torch import nn
        >>> first, ends = nn.Conv2d(1, 4, 3, padding=1), (nn.Flatten(), nn.Linear(256, 5))
        >>> nets = [nn.Sequential(first, nn.Conv2d(4, 4, k, padding="same"), *ends) for k in (3, 5)]
        >>> augmint.merge(nets, shape=(1, 8, 8)).report["nodes"]
        {'parallel': 4, 'forward': 3, 'backward': 3}
    """
    from augmint.core.config import build
    from augmint.merging.contraction import Rules
    from augmint.studies.merging import MergeOptions, merge_models

    rules = build(Rules, dict(settings or {}), "rules")
    sides = None if shape is None else tuple(shape)
    options = MergeOptions(budget, "parameters", sides, outputs, inherit, rules=rules)
    return merge_models(networks, options, None if out is None else Path(out))
