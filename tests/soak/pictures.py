"""The host behind the list of URLs: `python -m tests.soak.pictures ADDRESS PORT` serves it until killed."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from tests.pictures_host import PicturesHost

BAD = ("missing", "html", "empty", "cut", "short", "forbidden", "noai")
"""What one row in twenty leads to; none of them has its picture at any time."""

ONCE = ("throttle", "flaky", "redirect/2/good", "slow", "chunked", "gzip")
"""What costs a second request or a moment, and comes."""

BAD_SHARE, ONCE_SHARE = 0.05, 0.05


def write_list(path: Path, rows: int, hosts: list[str], port: int, seed: int) -> Path:
    """A list of so many rows; the same for the same seed."""
    drawn = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            chance = drawn.random()
            mood = "good"
            if chance < BAD_SHARE:
                mood = drawn.choice(BAD)
            elif chance < BAD_SHARE + ONCE_SHARE:
                mood = drawn.choice(ONCE)
            url = f"http://{drawn.choice(hosts)}:{port}/{mood}/{number}.jpg"
            file.write(json.dumps({"url": url, "caption": f"row {number}"}) + "\n")
    return path


async def serve(address: str, port: int) -> None:
    """Serve until the process ends."""
    host = PicturesHost([address], None)
    host.retry_after = "1"
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    server = await asyncio.start_server(host.connected, address, port, limit=2**16, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
