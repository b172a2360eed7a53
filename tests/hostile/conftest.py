"""The attacks import one another,
and the example of a report that stands beside the report's tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "studies")]
