"""Memory of batches, used again when nothing can see the old batch any more.

Fresh memory costs the system a page at a time, which for float batches is as much as a tenth of the decoding.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque
from typing import Any


class Pool:
    """Gives numpy arrays; keeps the memory of at most `most` forgotten ones."""

    def __init__(self, most: int) -> None:
        self._free: deque[mmap.mmap] = deque(maxlen=most)

    def array(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array with any contents, whose memory is its own as long as it or a view of it is held."""
        import numpy

        count = math.prod(shape)
        block = self._block(max(1, count * numpy.dtype(dtype).itemsize))
        # Every view, tensors too, holds `flat`: numpy shortens a chain of bases down to the last array, and
        # the base of this one is none. So nobody sees the memory any more when it goes.
        flat = numpy.frombuffer(block, dtype, count)
        weakref.finalize(flat, self._free.append, block).atexit = False
        return flat.reshape(shape)

    def _block(self, size_bytes: int) -> mmap.mmap:
        try:
            block = self._free.popleft()
        except IndexError:
            pass
        else:
            if len(block) >= size_bytes:
                return block
        # Private, so that a forked process has memory of its own.
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
