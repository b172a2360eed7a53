from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from augmint.core.errors import UsageError
from augmint.core.machine import ceilings, resolve_device, single_thread

PROBE = """
import resource
from augmint.core.machine import set_allocator
print(set_allocator())
import torch
for _ in range(3):
    torch.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    told, faults = done.stdout.splitlines()
    return told, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="settings of the GNU C library")
def test_the_allocator_keeps_memory() -> None:
    """Twenty fresh tensors of 32 MB fault hardly a page once the heap has been touched."""
    told, faults = _faults()
    if told.startswith("default"):
        pytest.skip(told)
    assert "huge pages asked for" in told
    off, plain = _faults(AUGMINT_ALLOCATOR="0")
    assert off == "default allocator (AUGMINT_ALLOCATOR=0)"
    assert faults < plain / 10


def _fail_inside() -> None:
    with single_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError("inside")


def test_single_thread_is_put_back_even_by_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"):
        _fail_inside()
    assert torch.get_num_threads() == before


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="--device cpu"):
        resolve_device("cuda")
    for name in ("gpu", "cpu:x", "cuda:-1"):
        with pytest.raises(UsageError, match="auto, cpu or cuda"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="2 found"):
        resolve_device("cuda:2")


def test_ceilings_are_numbers() -> None:
    assert all(v > 0 for v in ceilings().values())
