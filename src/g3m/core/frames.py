"""The frames in which adapters/guard.py speaks to its workers, and they (adapters/worker.py) to it.

frame    u32 length of the head · u64 length of the data · head (JSON) · data
request  [operation, options]
answer   {...}, or {"failed": CLASS, "detail": TEXT}; the first one, unasked, is {"ready": true}
"""

from __future__ import annotations

import json
import struct
from typing import Any

SIZES = struct.Struct(">IQ")
OUT_OF_MEMORY = 3
"""The exit code of a worker that had too little; Python's own are 0 to 2."""


def frame_head(head: Any, data_bytes: int) -> bytes:
    """What stands before the data.

    >>> frame_head({}, 5)
    b'\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x05{}'
    """
    text = json.dumps(head).encode()
    return SIZES.pack(len(text), data_bytes) + text
