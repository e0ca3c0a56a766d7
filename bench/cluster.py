"""Packing over Ray: the cost beside threads on equal slots, and what a second worker brings.

    python -m bench.cluster [--shards 8] [--samples 300]

Prints one line a run: seconds from the first pack task that began to the last that ended, so that starting
Ray is told by itself. Needs the extra `ray`; everything stays on this machine.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from g3m.core.events import Event, TaskFinished, TaskStarted
from g3m.runners.pack import pack
from g3m.runners.ray import STORE_BYTES, load_ray


def draw(folder: Path, shards: int, samples: int) -> None:
    """Ready shards of drawn pictures of 640 × 480."""
    pictures = []
    for place in range(20):
        file = io.BytesIO()
        Image.effect_noise((640, 480), 30 + place).convert("RGB").save(file, "JPEG", quality=90)
        pictures.append(file.getvalue())
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as archive:
            for place in range(samples):
                for extension, data in (("jpg", pictures[place % 20]), ("txt", b"a drawing")):
                    member = tarfile.TarInfo(f"{shard}_{place}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def timed(source: Path, to: Path, **options: Any) -> tuple[float, float, int]:
    """Seconds until the first shard was begun, seconds of all shards, bytes."""
    begun_s = time.monotonic()
    first_s = last_s = 0.0
    size_bytes = 0

    def note(event: Event) -> None:
        nonlocal first_s, last_s, size_bytes
        if isinstance(event, TaskStarted) and event.kind == "pack":
            first_s = first_s or time.monotonic()
        if isinstance(event, TaskFinished) and event.kind == "pack":
            last_s, size_bytes = time.monotonic(), size_bytes + event.size_bytes

    pack(source, to, on_event=note, image_size=256, **options)
    return first_s - begun_s, last_s - first_s, size_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--samples", type=int, default=300)
    wanted = parser.parse_args()
    ray = load_ray()
    with tempfile.TemporaryDirectory(prefix="g3m-cluster-") as name:
        folder = Path(name)
        source = folder / "ready"
        source.mkdir()
        draw(source, wanted.shards, wanted.samples)
        for workers in (1, 2):
            start_s, seconds, made = timed(source, folder / f"local{workers}", jobs=workers)
            print(
                f"local  slots {workers}: {seconds:6.1f} s, {made / 1e6:.0f} MB, begun after {start_s:.1f} s"
            )
            ray.init(
                address="local",
                num_cpus=workers,
                object_store_memory=STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                _node_ip_address="127.0.0.1",
            )
            # The first run starts the worker processes; the second is what a long run is made of.
            for words in ("cold", "warm"):
                to = folder / f"ray{workers}{words}"
                start_s, seconds, made = timed(source, to, runner="ray")
                print(f"ray    slots {workers}: {seconds:6.1f} s, {words}, begun after {start_s:.1f} s")
            ray.shutdown()


if __name__ == "__main__":
    main()
