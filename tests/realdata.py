"""Real pictures, captions and odd archives, on machines that have them; none of them may be shipped.

They are looked for in the folder that G3M_REALDATA names, else beside the repository. Where they are
absent, fewer cases are collected: nothing is skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "realdata"
REAL = Path(os.environ.get("G3M_REALDATA") or _BESIDE)
