"""Open Images validation with Localized Narratives, drawn."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

from g3m.lab.drawings import OPEN_IMAGES_FIRST, Drawing, draw

ARCHIVE_MTIME_S = 1_531_000_000


@dataclass(frozen=True, slots=True)
class OpenImages:
    """The archive of images and the narratives that caption them."""

    images: Path
    narratives: Path


def open_images(folder: Path, images: int, repeats: int, seed: int = 0) -> OpenImages:
    """Write `validation.tar.gz` and `open_images_validation_localized_narratives.jsonl`.

    `repeats` of the images have two narratives, by turns close together and far apart in the file;
    the third record has no traces. The archive's order is not the narratives' order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(f"open images {seed}")
    pictures = {
        f"{generator.getrandbits(64):016x}": draw(seed, OPEN_IMAGES_FIRST + position)
        for position in range(images)
    }
    archive = folder / "validation.tar.gz"
    _write_open_images_archive(archive, pictures)
    order = _narrative_order(generator, list(pictures), repeats)
    narratives = folder / "open_images_validation_localized_narratives.jsonl"
    with narratives.open("w", encoding="utf-8", newline="\n") as lines:
        for position, image_id in enumerate(order):
            record = _narrative(generator, image_id, pictures[image_id])
            if position == 2:
                del record["traces"]
            lines.write(json.dumps(record) + "\n")
    return OpenImages(archive, narratives)


def _write_open_images_archive(path: Path, pictures: dict[str, Drawing]) -> None:
    """Write the pictures sorted by id in GNU format; the gzip header holds no time and no name."""
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        top = tarfile.TarInfo("validation")
        top.type, top.mode, top.mtime = tarfile.DIRTYPE, 0o755, ARCHIVE_MTIME_S
        archive.addfile(top)
        for image_id, drawing in sorted(pictures.items()):
            member = tarfile.TarInfo(f"validation/{image_id}.jpg")
            member.size, member.mtime = len(drawing.jpeg), ARCHIVE_MTIME_S
            archive.addfile(member, io.BytesIO(drawing.jpeg))


def _narrative_order(generator: random.Random, image_ids: list[str], repeats: int) -> list[str]:
    """The images shuffled, some twice: by turns right behind the first mention and at the end."""
    order = generator.sample(image_ids, len(image_ids))
    for turn, image_id in enumerate(order[: min(repeats, len(order))]):
        where = order.index(image_id)
        order.insert(where + 1 if turn % 2 == 0 else len(order), image_id)
    return order


def _narrative(generator: random.Random, image_id: str, drawing: Drawing) -> dict[str, object]:
    """One narrative: what a person said of the image, word by word, and where the mouse was."""
    sentences = generator.sample([caption.strip().rstrip(".") for caption in drawing.captions], 3)
    sentences = [
        "In this image we can see a drawing",
        *(text[0].upper() + text[1:] for text in sentences),
    ]
    caption = " ".join(f"{sentence}." for sentence in sentences)
    utterances = []
    time_s = 0.0
    for word in caption.split():
        spoken_s = round(generator.uniform(0.1, 0.6), 1)
        utterance = {
            "utterance": word,
            "start_time": round(time_s, 1),
            "end_time": round(time_s + spoken_s, 1),
        }
        utterances.append(utterance)
        time_s += spoken_s
    annotator_id = generator.randrange(200)
    return {
        "dataset_id": "open_images_validation",
        "image_id": image_id,
        "annotator_id": annotator_id,
        "caption": caption,
        "timed_caption": utterances,
        "traces": [_trace(generator, time_s) for _ in range(generator.randint(1, 3))],
        "voice_recording": f"open_images_validation/{image_id}_{annotator_id}.ogg",
    }


def _trace(generator: random.Random, until_s: float) -> list[dict[str, float]]:
    """One mouse trace; x and y may lie a little outside 0..1, as the real ones do."""
    count = generator.randint(8, 20)
    return [
        {
            "x": round(generator.uniform(-0.01, 1.01), 4),
            "y": round(generator.uniform(-0.01, 1.01), 4),
            "t": round(until_s * step / count, 3),
        }
        for step in range(count)
    ]
