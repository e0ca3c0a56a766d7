"""A server that leaks on purpose, for the proof that the soak sees it: `python -m tests.soak.leaky WHAT`.

It answers every line of its stdin with one, and at each keeps a descriptor, memory, a thread, a dead child, or
nothing at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

KEPT: list[object] = []
MEMORY_BYTES = 2**20


def leak(what: str) -> None:
    """Keep one more of it."""
    if what == "descriptors":
        KEPT.append(os.open("/dev/null", os.O_RDONLY))
    elif what == "memory":
        KEPT.append(b"\1" * MEMORY_BYTES)
    elif what == "threads":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    elif what == "zombies":
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        KEPT.append(child)


if __name__ == "__main__":
    for line in sys.stdin:
        leak(sys.argv[1])
        print(line.strip(), flush=True)
    os._exit(0)
