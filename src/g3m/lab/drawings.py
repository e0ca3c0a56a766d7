"""Pictures drawn from a number, with captions that are true of them.

A test that follows a sample from its source to a shard needs pictures that are all different,
small, free of anyone's rights and the same on every run; a person watching the demo wants captions
that can be checked by eye.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw

COLOURS = {
    "red": (208, 44, 48),
    "green": (52, 148, 72),
    "blue": (44, 84, 184),
    "yellow": (236, 204, 60),
    "purple": (124, 64, 156),
    "orange": (236, 132, 44),
    "white": (240, 240, 236),
    "black": (28, 28, 32),
}
SHAPES = ("circle", "square", "triangle", "diamond")
NUMBERS = ("no", "one", "two", "three")
SIZES = (
    (320, 240),
    (240, 320),
    (320, 213),
    (256, 256),
    (400, 300),
    (300, 400),
    (360, 270),
    (427, 320),
)
GREY_SHARE = 0.04
JPEG_QUALITY = 85
# COCO's captions end so, too: about one in eight with a blank, one in three hundred with a newline.
CAPTION_ENDINGS = ("", " ", "\n")
CAPTION_ENDING_WEIGHTS = (84, 12, 4)

# Where each source's pictures begin in a series, so that no two sources share one.
COCO_TRAIN_FIRST = 0
COCO_VALID_FIRST = 100_000
OPEN_IMAGES_FIRST = 200_000
CC3M_TRAIN_FIRST = 300_000
CC3M_VALID_FIRST = 400_000
SBU_FIRST = 500_000
WEB_FIRST = 600_000


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture: JPEG bytes, five true captions as a source spells them, size in pixels."""

    jpeg: bytes
    captions: tuple[str, ...]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is to be seen: the shapes from left to right (or from top to bottom) on one background.

    `names` are shapes with their colours, or without in a grey picture, where a colour would be a
    lie.
    """

    names: tuple[str, ...]
    background: str
    upright: bool


def draw(seed: int, index: int, width: int | None = None, height: int | None = None) -> Drawing:
    """Return picture `index` of series `seed`; the same arguments give the same bytes, always."""
    generator = random.Random(seed * 1_000_003 + index)
    usual_width, usual_height = generator.choice(SIZES)
    width, height = width or usual_width, height or usual_height
    is_grey = generator.random() < GREY_SHARE
    background, *colours = generator.sample(sorted(COLOURS), 4)
    if is_grey:  # only these stay apart without colour
        background, colours = "white", ["black", "blue", "purple"]
    shapes = generator.sample(SHAPES, generator.randint(1, 3))
    upright = generator.random() < 0.4
    picture = _background(generator, COLOURS[background], width, height)
    _draw_shapes(picture, shapes, colours, upright)
    file = BytesIO()
    (picture.convert("L") if is_grey else picture).save(file, "JPEG", quality=JPEG_QUALITY)
    names = (
        shapes if is_grey else [f"{colour} {shape}" for colour, shape in zip(colours, shapes, strict=False)]
    )
    scene = _Scene(tuple(names), "plain" if is_grey else background, upright)
    return Drawing(file.getvalue(), _captions(generator, scene), width, height)


def _background(
    generator: random.Random, colour: tuple[int, int, int], width: int, height: int
) -> Image.Image:
    """A coloured field with some grain, so that the JPEG weighs as much as a small photograph."""
    grain_size = (max(1, width // 3), max(1, height // 3))
    grain = Image.frombytes("L", grain_size, generator.randbytes(grain_size[0] * grain_size[1]))
    rough = grain.resize((width, height), Image.Resampling.BILINEAR).convert("RGB")
    return Image.blend(Image.new("RGB", (width, height), colour), rough, 0.10)


def _draw_shapes(picture: Image.Image, shapes: list[str], colours: list[str], upright: bool) -> None:
    """Put the shapes into equal cells, side by side or (`upright`) one under the other."""
    pen = ImageDraw.Draw(picture)
    cell_width = picture.width / (1 if upright else len(shapes))
    cell_height = picture.height / (len(shapes) if upright else 1)
    radius = 0.4 * min(cell_width, cell_height)
    for position, (shape, colour) in enumerate(zip(shapes, colours, strict=False)):
        x = cell_width * (0.5 if upright else position + 0.5)
        y = cell_height * (position + 0.5 if upright else 0.5)
        left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
        fill = COLOURS[colour]
        if shape == "circle":
            pen.ellipse((left, top, right, bottom), fill=fill)
        elif shape == "square":
            pen.rectangle((left, top, right, bottom), fill=fill)
        elif shape == "triangle":
            pen.polygon([(x, top), (right, bottom), (left, bottom)], fill=fill)
        else:
            pen.polygon([(x, top), (right, y), (x, bottom), (left, y)], fill=fill)


def _captions(generator: random.Random, scene: _Scene) -> tuple[str, ...]:
    """Five true sentences about the scene, spelled as differently as five people would."""
    backdrop = _a(f"{scene.background} background")
    named = [_a(name) for name in scene.names]
    before, after = ("above", "below") if scene.upright else ("left of", "right of")
    if len(named) == 1:
        sentences = [
            f"{named[0]} on {backdrop}",
            f"{named[0]} in the middle of the picture",
            f"there is a single {scene.names[0]} here",
            f"a picture of {named[0]}",
            f"one {scene.names[0]} drawn on {backdrop}",
        ]
    else:
        sentences = [
            f"{named[0]} {before} {named[1]}",
            f"{named[-1]} {after} {named[-2]} on {backdrop}",
            f"there are {NUMBERS[len(named)]} shapes on {backdrop}",
            f"a picture of {', '.join(named[:-1])} and {named[-1]}",
            f"{named[0]} next to {named[1]}",
        ]
    generator.shuffle(sentences)
    return tuple(_spelled(generator, sentence) for sentence in sentences)


def _spelled(generator: random.Random, sentence: str) -> str:
    """Vary case, full stop and what follows it, as annotators do."""
    style = generator.choices(("Written", "plain", "Capital", "SHOUTED"), (60, 25, 12, 3))[0]
    if style in ("Written", "Capital"):
        sentence = sentence[0].upper() + sentence[1:]
    if style == "SHOUTED":
        sentence = sentence.upper()
    if style == "Written":
        sentence += "."
    return sentence + generator.choices(CAPTION_ENDINGS, CAPTION_ENDING_WEIGHTS)[0]


def _a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
