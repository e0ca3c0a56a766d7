"""How many copies of photographs are found to be alike, and how many different pictures are taken for copies.

    python bench/alike.py FOLDER [--turns 4] [--drawn 100000] [--seed 0]

Of each JPEG below FOLDER copies are made, each with values drawn anew in every turn. Told are, for each kind:
how many have hashes within the limits of core/alike.py (what `g3m stats` calls near), how many of those the
second comparison confirms (what `g3m stats --leaks` lists as near), and the correlation below which are one
in a hundred. Then all photographs are compared with one another, and drawn pictures whose spectrum falls with
the frequency: by 1 and 1.3 like photographs, by 2 like clouds and studio backgrounds.
"""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from g3m.adapters.glimpse import COMPARED_SIDE, GREY_SIDE, glimpse, grey
from g3m.adapters.likeness import near, pictures
from g3m.core.alike import (
    BOTH_LIMIT,
    CORRELATION,
    ROWS_LIMIT,
    correlation,
    hamming,
    is_flat,
    pack_columns,
    pack_rows,
)

Hashes = tuple[int, int]
Copy = Callable[[Image.Image, random.Random], Image.Image]
SPECTRA = (1.0, 1.3, 2.0)


def scaled(image: Image.Image, dice: random.Random) -> Image.Image:
    """Half to nine tenths of the size."""
    by = dice.uniform(0.5, 0.9)
    return image.resize((round(image.width * by), round(image.height * by)), Image.Resampling.LANCZOS)


def lit(image: Image.Image, dice: random.Random) -> Image.Image:
    """Brightness and contrast changed by up to a tenth each."""
    brighter = ImageEnhance.Brightness(image).enhance(dice.uniform(0.9, 1.1))
    return ImageEnhance.Contrast(brighter).enhance(dice.uniform(0.9, 1.1))


def cut(share: float) -> Copy:
    """So much cut off on each side."""

    def made(image: Image.Image, _: random.Random) -> Image.Image:
        left, top = round(image.width * share), round(image.height * share)
        return image.crop((left, top, image.width - left, image.height - top))

    return made


def cut_once(image: Image.Image, dice: random.Random) -> Image.Image:
    """Two to five percent cut off on one side."""
    left, top, right, bottom = 0, 0, image.width, image.height
    across, down = (round(edge * dice.uniform(0.02, 0.05)) for edge in image.size)
    edges = [(across, 0, 0, 0), (0, down, 0, 0), (0, 0, -across, 0), (0, 0, 0, -down)]
    return image.crop(tuple(map(int.__add__, (left, top, right, bottom), dice.choice(edges))))


KINDS: dict[str, Copy] = {
    "JPEG again": lambda image, _: image,
    "scaled": scaled,
    "scaled, brightness and contrast changed": lambda image, dice: lit(scaled(image, dice), dice),
    "2 % cut off on each side, scaled": lambda image, dice: scaled(cut(0.02)(image, dice), dice),
    "3 % cut off on each side": cut(0.03),
    "5 % cut off on each side": cut(0.05),
    "2 to 5 % cut off on one side": cut_once,
    "mirrored (another picture)": lambda image, _: ImageOps.mirror(image),
}


def encoded(image: Image.Image, dice: random.Random) -> bytes:
    """A JPEG of quality 50 to 90."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=dice.randint(50, 90))
    return file.getvalue()


def hashes_of(data: bytes) -> Hashes:
    """Both halves of the hash."""
    found = glimpse(data)
    return found.rows, found.columns


def bits(one: Hashes, other: Hashes) -> tuple[int, int]:
    """In how many bits `rows` differ, and both together."""
    rows = hamming(one[0], other[0])
    return rows, rows + hamming(one[1], other[1])


def is_near(one: Hashes, other: Hashes) -> bool:
    """Whether both have a hash, and within the limits."""
    rows, both = bits(one, other)
    return any(one) and any(other) and rows <= ROWS_LIMIT and both <= BOTH_LIMIT


def copies(files: list[bytes], turns: int, seed: int) -> Iterator[str]:
    """The rows of the table."""
    seen = [(hashes_of(data), grey(data)) for data in files]
    for kind, made in KINDS.items():
        dice = random.Random(f"{seed} {kind}")
        hit, sure, values = 0, 0, []
        for _ in range(turns):
            for data, (hashes, small) in zip(files, seen, strict=True):
                with Image.open(io.BytesIO(data)) as source:
                    other = encoded(made(source.convert("RGB"), dice), dice)
                values.append(correlation(small, grey(other)))
                is_hit = is_near(hashes, hashes_of(other))
                hit += is_hit
                sure += is_hit and values[-1] >= CORRELATION
        low = sorted(values)[len(values) // 100]
        yield f"| {kind} | {hit / len(values):.1%} | {sure / len(values):.1%} | {low:.2f} |"


def different(files: list[bytes]) -> str:
    """All photographs with one another."""
    seen = [(hashes_of(data), grey(data)) for data in files]
    pairs = [
        (bits(one[0], other[0])[1], correlation(one[1], other[1]), is_near(one[0], other[0]))
        for one, other in combinations(seen, 2)
    ]
    hit = [value for _, value, is_hit in pairs if is_hit]
    nearest, highest = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    return (
        f"{len(pairs)} pairs of different photographs: {len(hit)} near by hash,"
        f" {sum(value >= CORRELATION for value in hit)} confirmed; the nearest differ in {nearest} bits,"
        f" the highest correlation is {highest:.2f}"
    )


def drawn(count: int, fall: float, seed: int) -> str:
    """So many pictures of random phases, amplitude 1/f**fall, compared with one another."""
    dice = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(GREY_SIDE)[:, None], np.fft.rfftfreq(GREY_SIDE)[None])
    frequency[0, 0] = np.inf
    amplitude = frequency**-fall
    smalls: list[bytes] = []
    looks = []
    for number in range(count):
        waves = amplitude * np.exp(2j * np.pi * dice.random(frequency.shape))
        levels = np.fft.irfft2(waves, (GREY_SIDE, GREY_SIDE))
        image = Image.fromarray(np.clip(128 + 48 * levels / levels.std(), 0, 255).astype(np.uint8))
        rows = pack_rows(image.resize((9, 8), Image.Resampling.LANCZOS).tobytes())
        columns = pack_columns(image.resize((8, 9), Image.Resampling.LANCZOS).tobytes())
        if is_flat(rows, columns):
            rows = columns = 0
        looks.append((number, number.to_bytes(16, "big"), rows, columns))
        smalls.append(image.resize((COMPARED_SIDE, COMPARED_SIDE), Image.Resampling.LANCZOS).tobytes())
    search = near(pictures(looks))
    while True:
        try:
            next(search)
        except StopIteration as stop:
            found = list(stop.value)
            break
    sure = sum(correlation(smalls[one], smalls[other]) >= CORRELATION for one, other, _ in found)
    pairs = count * (count - 1) // 2
    return f"{pairs:.1e} pairs of drawn pictures, 1/f**{fall:g}: {len(found)} near by hash, {sure} confirmed"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--drawn", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    files = [path.read_bytes() for path in sorted(options.folder.rglob("*.jpg"))]
    print(f"{len(files)} photographs, {options.turns} copies of each kind\n")
    print("| copy, JPEG quality 50 to 90 | near by hash | confirmed | correlation, lowest 1 % |")
    print("| --- | ---: | ---: | ---: |")
    for row in copies(files, options.turns, options.seed):
        print(row, flush=True)
    print("\n" + different(files), flush=True)
    for fall in SPECTRA:
        print(drawn(options.drawn, fall, options.seed), flush=True)


if __name__ == "__main__":
    main()
