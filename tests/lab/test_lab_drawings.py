"""The drawn pictures: repeatable, different, and truly described."""

from __future__ import annotations

import io
import re

from PIL import Image

from g3m.lab.drawings import COLOURS, Drawing, draw

MANY = [draw(0, index) for index in range(300)]
RELATION = re.compile(r"an? (\w+) (?:\w+) (left of|above) an? (\w+) (?:\w+)")


def _picture(drawing: Drawing) -> Image.Image:
    return Image.open(io.BytesIO(drawing.jpeg))


def _centre(picture: Image.Image, colour: str) -> tuple[float, float]:
    """The mean place of the pixels that are nearest to that colour."""
    small = picture.convert("RGB").resize((40, 40), Image.Resampling.NEAREST)
    pixels = small.tobytes()
    places = []
    for position in range(40 * 40):
        pixel = pixels[position * 3 : position * 3 + 3]
        distances = {
            name: sum((a - b) ** 2 for a, b in zip(pixel, rgb, strict=True)) for name, rgb in COLOURS.items()
        }
        if min(distances, key=lambda name: distances[name]) == colour:
            places.append((position % 40, position // 40))
    assert places, f"there is nothing {colour} in the picture"
    return (
        sum(x for x, _ in places) / len(places),
        sum(y for _, y in places) / len(places),
    )


def test_the_same_numbers_draw_the_same_picture() -> None:
    """What is pinned to a drawing stays valid: bytes and captions depend on the arguments."""
    assert [draw(0, index) for index in range(20)] == MANY[:20]


def test_other_numbers_draw_other_pictures() -> None:
    """No two pictures of a series are the same file, and another seed is another series."""
    assert len({drawing.jpeg for drawing in MANY}) == len(MANY)
    assert draw(1, 0) != draw(0, 0)


def test_a_picture_has_the_size_it_says() -> None:
    """Width and height are the JPEG's own, and can be asked for."""
    assert all(_picture(one).size == (one.width, one.height) for one in MANY[:40])
    assert _picture(draw(0, 3, 64, 48)).size == (64, 48)
    assert len({(one.width, one.height) for one in MANY}) >= 6


def test_pictures_weigh_as_much_as_small_photographs() -> None:
    """Files lie between 4 and 20 kB: a demo is small, and a shard is more than headers."""
    assert all(4_000 < len(one.jpeg) < 20_000 for one in MANY)


def test_few_pictures_are_grey() -> None:
    """As in the real sets some JPEGs have one channel, and their captions name no colour."""
    grey = [one for one in MANY if _picture(one).mode == "L"]
    assert 0 < len(grey) < 0.1 * len(MANY)
    words = {word for one in grey for text in one.captions for word in text.lower().split()}
    assert not words & {"red", "green", "blue", "yellow", "purple", "orange", "black", "white"}


def test_captions_vary_as_annotators_do() -> None:
    """Five captions each, with and without capitals, full stops, blanks and newlines behind."""
    assert all(len(one.captions) == 5 and all(map(str.strip, one.captions)) for one in MANY)
    captions = [text for one in MANY for text in one.captions]
    assert any(text[0].islower() for text in captions)
    assert any(text.isupper() for text in captions)
    assert any(text.endswith(" ") for text in captions)
    assert any(text.endswith("\n") for text in captions)
    assert any(not text.strip().endswith(".") for text in captions)


def test_captions_are_true_of_the_pixels() -> None:
    """Where a caption says `left of` or `above`, the coloured pixels lie so."""
    checked = 0
    for drawing in MANY[:60]:
        for caption in drawing.captions:
            relation = RELATION.match(caption.lower())
            if relation is None:
                continue
            first, where, second = relation.groups()
            axis = 0 if where == "left of" else 1
            picture = _picture(drawing)
            assert _centre(picture, first)[axis] < _centre(picture, second)[axis], caption
            checked += 1
    assert checked > 20
