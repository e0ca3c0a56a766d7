"""A catalog as large as one likes, without a single picture: captions of a Zipf vocabulary, several datasets.

    python -m bench.catalog_data FOLDER SAMPLES [SEED]

The same seed gives the same rows. Words are made of syllables; a few English ones are among the frequent, so
that searches can be written down: `dog`, `bus`, `red` are frequent, `word199777` is rare.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from g3m.adapters.catalog import FILE, ShardFacts, open_catalog
from g3m.core.catalog import Entry, count_words, mask

SHARD = 10_000
VOCABULARY = 200_000
NAMED = (  # noqa: SIM905  # it reads best so
    "a of in the on with and man woman dog bus red street people white black table blue two sitting"
    " standing train cat holding green tree city water food beach double decker kitchen sky tennis photo"
    " illustration vector"
).split()
CHINESE = ("一只红色的猫坐在沙发上", "公交车停在街道旁边", "两个人在海滩上散步")
SHARES = {"cc3m": 0.78, "sbu": 0.17, "coco": 0.03, "openimages_v7_valid": 0.013, "coco_valid": 0.007}
SIZES = ((640, 480), (480, 640), (500, 375), (1024, 768), (1024, 683), (800, 800), (450, 600), (600, 400))
FLAGGED = (
    ("grayscale", 0.01),
    ("orientation", 0.002),
    ("not_jpeg", 0.001),
    ("cmyk", 0.0003),
    ("bomb", 0.000005),
)
_SYLLABLES = "ka lo mi ru te so na vi pe du ga fo li wa zu".split()  # noqa: SIM905


def words() -> list[str]:
    """The vocabulary, the most frequent first."""
    made = list(NAMED)
    for number in range(len(NAMED), VOCABULARY):
        if number % 1000 == 777:
            made.append(f"word{number}")
            continue
        text, left = "", number
        while left:
            left, place = divmod(left, len(_SYLLABLES))
            text += _SYLLABLES[place]
        made.append(text)
    return made


def entries(samples: int, seed: int, dataset: str) -> Iterator[Entry]:
    """The rows of one dataset."""
    drawn = random.Random(f"{seed} {dataset}")
    vocabulary = words()
    weights = list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))
    hosts = [f"host{number}.example" for number in range(3000)]
    host_weights = list(accumulate(1 / (rank + 1) ** 0.8 for rank in range(len(hosts))))
    has_hosts = dataset in ("cc3m", "sbu")
    at_once = 2000
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        lengths = [max(1, round(drawn.gauss(10, 4))) if drawn.random() > 0.002 else 120 for _ in range(count)]
        text = iter(drawn.choices(vocabulary, cum_weights=weights, k=sum(lengths)))
        found = drawn.choices(hosts, cum_weights=host_weights, k=count) if has_hosts else [""] * count
        for place, length in enumerate(lengths):
            caption = " ".join([next(text) for _ in range(length)])
            if drawn.random() < 0.001:
                caption = drawn.choice(CHINESE)
            width, height = drawn.choice(SIZES) if drawn.random() < 0.8 else (drawn.randrange(64, 2400), 600)
            flags = mask([name for name, share in FLAGGED if drawn.random() < share])
            yield Entry(
                key=f"{dataset[:4]}{start + place:09d}",
                caption=caption,
                width=width,
                height=height,
                size_bytes=int(drawn.lognormvariate(11, 0.6)),
                words=count_words(caption),
                host=found[place],
                format="png" if flags & mask(["not_jpeg"]) else "jpeg",
                flags=flags,
            )


def make(path: Path, samples: int, seed: int = 0, *, shard: int = SHARD, say: bool = False) -> Path:
    """Write a catalog of so many samples to `path` (a file that is made anew); gives the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    started_s, done = time.monotonic(), 0
    with open_catalog(path, writing=True) as catalog:
        for dataset, share in SHARES.items():
            count = max(1, round(samples * share))
            rows = entries(count, seed, dataset)
            for number, first in enumerate(range(0, count, shard)):
                part = [next(rows) for _ in range(min(shard, count - first))]
                stamp = f"{dataset} {number}"
                name = f"{dataset}-{number:06d}.tar"
                facts = ShardFacts(
                    dataset=dataset, folder=dataset, name=name, number=number, first=first, stamp=stamp
                )
                catalog.put(facts, part)
                done += len(part)
                if say and number % 10 == 0:
                    seconds = time.monotonic() - started_s
                    print(
                        f"{dataset} {done} {done / seconds:.0f}/s {path.stat().st_size >> 20} MiB", flush=True
                    )
    return path


if __name__ == "__main__":
    make(Path(sys.argv[1]) / FILE, int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0, say=True)
