"""One process that reads epoch after epoch: `python -m tests.soak.epochs PAUSE_S PLACE...`.

After each epoch it prints a line: the place, how many samples came, and a digest that does not depend on their order;
or the name of the error, for a place behind a network that was away for too long.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time

import g3m
from g3m.core.errors import SourceError

BATCH = 16


def read_epochs(place: str, pause_s: float, seed: int) -> dict[str, object]:
    """One opening and two epochs; both must hold the same."""
    told = []
    with g3m.dataset(place) as data:
        loader = g3m.loader(data, batch_size=BATCH, image_size=64, seed=seed, workers=2, last="even")
        for _ in range(2):
            total, samples = 0, 0
            for images, captions, keys in loader:
                for image, caption, key in zip(images, captions, keys, strict=True):
                    word = hashlib.sha256(image.numpy().tobytes() + f"{caption}\0{key}".encode()).digest()
                    total = (total + int.from_bytes(word, "big")) % 2**256
                    samples += 1
                time.sleep(pause_s)
            told.append({"place": place, "samples": samples, "digest": f"{total:064x}"})
    assert told[0] == told[1], told
    return told[0]


def main(pause_s: float, places: list[str]) -> None:
    """Read until killed."""
    for number in itertools.count():
        place = places[number % len(places)]
        try:
            said = read_epochs(place, pause_s, number)
        except SourceError as error:
            said = {"place": place, "error": type(error).__name__}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
