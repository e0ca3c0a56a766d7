"""What else bench/load.py asks: the first batch of millions, bytes read by a rank, what shuffling reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from load_data import MILLIONS
from machine import middle

WORLDS = (1, 4, 16)
NXTP_WORKERS = 11
"""What its training scripts ask for on a rank."""

FIRST_GOAL_S = 0.5
BATCHES_SEEN = 200

Once = Callable[..., dict[str, float]]
"""Runs load_run.py: loader, path, workers, more words."""


def first_batch(once: Once, times: int) -> None:
    """From the call of `dataset` on 3.65 million samples to the first batch in hand."""
    total = sum(samples for samples, _ in MILLIONS.values())
    print(f"\n### The first batch of {total:,} samples in {len(MILLIONS)} datasets, from the call on\n")
    print("| batch | shuffle | workers | first batch s, median | least to most | goal 0.5 s |")
    print("|--:|---|--:|--:|--:|---|")
    for batch, shuffle in ((64, "full"), (256, "full"), (256, "block")):
        words = ("--samples", batch, "--shuffle", shuffle)
        found = [once("g3m_millions", "first", 2, *words)["first_s"] for _ in range(times)]
        word = "reached" if middle(found) <= FIRST_GOAL_S else "not reached"
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"| {batch} | {shuffle} | 2 | {middle(found):.2f} | {spread} | {word} |", flush=True)


def bytes_read(once: Once, data: Path) -> None:
    """What the first and the last rank read, as a part of their share of the shards' bytes."""
    facts = json.loads((data / "facts.json").read_text(encoding="utf-8"))
    print(f"\n### Bytes read by a rank in an epoch, of its share of {facts['bytes'] / 1e6:.0f} MB\n")
    print("| loader | workers | world | rank | samples | MB read | of its share |")
    print("|---|" + "--:|" * 6)
    for name, loader, workers in (("g3m", "g3m_loader", 2), ("NXTP's, re-created", "nxtp", NXTP_WORKERS)):
        for world in WORLDS:
            for rank in sorted({0, world - 1}):
                found = once(loader, "raw", workers, "--rank", rank, "--world", world)
                # What worker processes hand over goes through a pipe and is counted as read once more.
                piped = found["handed_bytes"] if loader == "nxtp" else 0
                read = found["read_bytes"] - piped
                share = facts["bytes"] * found["samples"] / facts["images"]
                columns = [name, workers, world, rank, f"{found['samples']:.0f}", f"{read / 1e6:.0f}"]
                print(f"| {' | '.join(map(str, columns))} | {read / share:.2f} |", flush=True)


def shuffling(once: Once, data: Path, cold: bool) -> None:
    """How a batch's samples lie with each kind of order, and how fast the raw samples come."""
    from g3m.core.order import Order, Share, batches

    facts = json.loads((data / "facts.json").read_text(encoding="utf-8"))
    caches = "page cache emptied before each" if cold else "shards in memory"
    total = sum(samples for samples, _ in MILLIONS.values())
    print(f"\n### What shuffling reads: batches of 256 out of {total:,}, rank 0 of 8\n")
    print(f"Samples a second: raw, two workers, the {facts['images']} samples of the bench, {caches}.\n")
    print("| shuffle | blocks of 128 in a batch | shards in a batch | right behind one read | samples/s |")
    print("|---|--:|--:|--:|--:|")
    lengths = tuple(samples for samples, _ in MILLIONS.values())
    for shuffle in ("full", "block", "none"):
        steps = batches(Order(lengths, seed=0, shuffle=shuffle), 0, Share(0, 8, 256, "drop"))
        seen = [steps[number] for number in range(BATCHES_SEEN)]
        blocks = middle([len({number // 128 for number in batch}) for batch in seen])
        shards = middle([len({number // 4684 for number in batch}) for batch in seen])
        before: set[int] = set()
        behind = 0
        for number in (number for batch in seen for number in batch):
            behind += number - 1 in before
            before.add(number)
        found = once("g3m_loader", "raw", 2, "--shuffle", shuffle)
        rate = found["samples"] / (found["first_s"] + found["rest_s"])
        part = behind / len(before)
        print(f"| {shuffle} | {blocks:.0f} | {shards:.0f} | {part:.0%} | {rate:.0f} |", flush=True)
