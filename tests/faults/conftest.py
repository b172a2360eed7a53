"""Helpers of these tests and of the studies' are found by name, here and in processes started."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parent.parent / "studies"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
