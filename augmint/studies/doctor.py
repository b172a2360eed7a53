"""`doctor`: versions, optional extras with their licences,
the machine and its measured ceilings."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from augmint.core.errors import single_line
from augmint.core.machine import ceilings, set_allocator
from augmint.core.runs import provenance


@dataclass(frozen=True)
class Extra:
    """An optional extra: the distribution that shows it is there, and what it is for."""

    package: str
    purpose: str


EXTRAS: Mapping[str, Extra] = {
    "dask": Extra("distributed", "stages of a study on a Dask cluster (--backend dask)"),
    "ray": Extra("ray", "stages of a study on a Ray cluster (--backend ray)"),
    "tensorboard": Extra("tensorboard", "losses and samples in TensorBoard (--track tensorboard)"),
    "wandb": Extra("wandb", "the same in Weights & Biases, offline (--track wandb)"),
    "mlflow": Extra("mlflow", "the same in MLflow, in the run's folder (--track mlflow)"),
}
"""Optional extras by name."""

CORE = (
    "torch", "numpy", "scipy", "scikit-learn", "pillow", "safetensors", "jsonargparse", "PyYAML",
    "rich", "jinja2", "matplotlib", "joblib", "threadpoolctl",
)  # fmt: skip
"""What augmint always needs."""

_CEILINGS = {
    "fp32_gflops": ("convolution in float32", "GFLOP/s on one thread"),
    "bf16_gflops": ("convolution in bfloat16", "GFLOP/s on one thread"),
    "copy_gbytes": ("copying memory", "GB/s on one thread"),
}


def examine(measure: bool = True) -> dict[str, Any]:
    """Return what augmint runs on, as JSON values.

    Args:
        measure: also measure the ceilings, about a second.
    """
    import torch

    found: dict[str, Any] = {
        **provenance(),
        "executable": sys.executable,
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gbytes": _memory(),
        "allocator": set_allocator(),
        "gpus": [
            {
                "name": torch.cuda.get_device_name(i),
                "memory_gbytes": round(torch.cuda.get_device_properties(i).total_memory / 1e9, 1),
            }
            for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        ],
        "packages": [{"name": name, **installed(name)} for name in CORE],
        "extras": [
            {"name": name, "package": e.package, "purpose": e.purpose, **installed(e.package)}
            for name, e in EXTRAS.items()
        ],
    }
    if measure:
        found["ceilings"] = {k: round(v, 2) for k, v in ceilings().items()}
    return found


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return what `examine` found as lines for a terminal."""
    told = [
        f"augmint {found['augmint']}, python {found['python']}, torch {found['torch']}, "
        f"numpy {found['numpy']}",
        "",
        "machine",
        f"  platform   {found['platform']}",
        f"  cpu        {found['cpu']}, {found['cores_usable']} of {found['cores']} cores usable, "
        f"torch on {found['threads']} threads",
    ]
    if found["memory_gbytes"] is not None:
        told.append(f"  memory     {found['memory_gbytes']} GB")
    gpus = [f"{g['name']}, {g['memory_gbytes']} GB" for g in found["gpus"]] or ["none"]
    told += [f"  gpu        {gpu}" for gpu in gpus]
    told.append(f"  allocator  {found['allocator']}")
    if "ceilings" in found:
        told += ["", "measured ceilings"]
        for key, value in found["ceilings"].items():
            what, unit = _CEILINGS.get(key, (key, ""))
            told.append(f"  {what:<24} {value:8.1f} {unit}")
    told += ["", "packages, each with its licence"]
    for row in found["packages"]:
        told.append(f"  {row['name']:<14} {row['version'] or 'missing':<14} {row['licence'] or ''}")
    told += ["", "optional extras, each with its licence"]
    for row in found["extras"]:
        state = row["version"] or "not installed"
        told.append(f"  {row['name']:<14} {state:<14} {row['licence'] or '':<24} {row['purpose']}")
        if row["version"] is None:
            told.append(f"  {'':<14} pip install 'augmint[{row['name']}]'")
    return told


def installed(distribution: str) -> dict[str, str | None]:
    """Return version and licence of a distribution as its own metadata state them.

    Example:
        >>> installed("no-such-distribution")
        {'version': None, 'licence': None}
    """
    try:
        told = importlib.metadata.metadata(distribution)
    except importlib.metadata.PackageNotFoundError:
        return {"version": None, "licence": None}

    def stated(field: str) -> str:
        return next(iter(told.get_all(field) or ()), "")

    kinds = [
        c.rpartition("::")[2].strip()
        for c in told.get_all("Classifier") or ()
        if c.startswith("License ::")
    ]
    # some packages paste the whole licence into the field of its name
    named = next(iter(stated("License").strip().splitlines()), "")
    licence = stated("License-Expression") or ", ".join(kinds) or named or "not stated"
    return {"version": told["Version"], "licence": single_line(str(licence), 60)}


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None
