"""Workers get this process's search path, so that they can import `stage_functions`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
