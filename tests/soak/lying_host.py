"""A place of the recipes that lies now and then: `python -m tests.soak.lying_host ADDRESS PORT FOLDER SEED`.

Every second or so the next answers of it are spoiled in a way that is drawn.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from g3m.lab import mischief, server
from g3m.lab.origin import Origin

LIES = (
    lambda r: mischief.Flip(r.randrange(2_000_000)),
    lambda r: mischief.Cut(r.randrange(200_000)),
    lambda r: mischief.Reset(r.randrange(200_000)),
    lambda r: mischief.Page(),
    lambda r: mischief.Status(503),
    lambda r: mischief.IgnoreRange(),
    lambda r: mischief.WrongRange(r.randrange(1, 9999)),
    lambda r: mischief.Shorter(r.randrange(1, 9999)),
    lambda r: mischief.Gzip(),
    lambda r: mischief.Silence(0.5),
)


def main(address: str, port: int, folder: Path, seed: int) -> None:
    """Serve until killed."""
    drawn = random.Random(seed)
    server.HOST = address
    with Origin(port) as origin:
        origin.mount("", folder)
        while True:
            origin.be_honest()
            origin.forget_requests()
            time.sleep(drawn.uniform(0.5, 2.0))
            origin.mischief("*", drawn.choice(LIES)(drawn), times=drawn.randrange(1, 4))
            time.sleep(drawn.uniform(0.2, 1.0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
