"""SBU Captions in the eight forms in which it goes round, drawn.

Nobody could look into the Kaggle archive before writing g3m, so it must recognise whichever form it
meets. Each form is one `sbucaptions.zip`, deflated as Kaggle's are. Record 0 has the real URL,
caption and user in every form.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from g3m.lab.archives import zip_entry
from g3m.lab.drawings import SBU_FIRST, Drawing, draw
from g3m.lab.img2dataset import Download, write_tar

GOLDEN_URL = "http://static.flickr.com/2723/4385058960_b0f291553e.jpg"
GOLDEN_CAPTION = "A wooden chair in the living room"
GOLDEN_USER = "47889917@N08"
FORMS = range(1, 9)
WHOLE_FORMS = (1, 8)  # made by programs that drop what they could not get
PERIOD = 8  # of every eight records one image is missing and one is empty, as dead links leave it
MISSING_PLACE, EMPTY_PLACE = 3, 6
KEYS_PER_FOLDER = 10_000
IMAGES_PER_FOLDER = 1_000


@dataclass(frozen=True, slots=True)
class _Pair:
    """One record; `image` is None where the file is missing, and empty where it has no bytes."""

    position: int
    url: str
    caption: str
    user: str
    drawing: Drawing
    image: bytes | None

    @property
    def name(self) -> str:
        """The last part of the URL, by which most forms name the image file."""
        return self.url.rpartition("/")[2]

    @property
    def key(self) -> str:
        """img2dataset's key, here the position in nine digits."""
        return f"{self.position:09d}"

    def download(self) -> Download:
        """The record as img2dataset saves it."""
        size = self.drawing.width, self.drawing.height
        return Download(self.key, self.url, self.caption, self.image or b"", *size)


def sbu(folder: Path, form: int, samples: int, seed: int = 0) -> Path:
    """Write form 1..8 of `samples` records as `folder/form-N/sbucaptions.zip` and return that path.

    1 img2dataset tars, 2 img2dataset folders, 3 JSON of parallel arrays with images by name, 4 the
    same with images by position (NNNN/MMM.jpg), 5 two text files, 6 JSON list with image names, 7
    JSON list with URLs only, 8 parquet. In 2 to 7 some images are missing or empty: see
    `surviving_pairs`.
    """
    if form not in FORMS:
        raise ValueError(f"SBU has forms 1 to 8, not {form}")
    path = folder / f"form-{form}" / "sbucaptions.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = [_pair(seed, form, position) for position in range(samples)]
    with zipfile.ZipFile(path, "w") as archive:
        _WRITERS[form](archive, pairs)
    return path


def surviving_pairs(form: int, samples: int) -> tuple[int, ...]:
    """The positions of the records whose image is there and has bytes: what an importer packs."""
    return tuple(
        position
        for position in range(samples)
        if form in WHOLE_FORMS or position % PERIOD not in (MISSING_PLACE, EMPTY_PLACE)
    )


def _pair(seed: int, form: int, position: int) -> _Pair:
    drawing = draw(seed, SBU_FIRST + position)
    image: bytes | None = drawing.jpeg
    if form not in WHOLE_FORMS and position % PERIOD == MISSING_PLACE:
        image = None
    if form not in WHOLE_FORMS and position % PERIOD == EMPTY_PLACE:
        image = b""
    if position == 0:
        return _Pair(position, GOLDEN_URL, GOLDEN_CAPTION, GOLDEN_USER, drawing, image)
    name = f"{4_385_058_960 + position}_{position:010x}.jpg"
    url = f"http://farm{1 + position % 4}.static.flickr.com/{2_000 + position % 900}/{name}"
    caption = drawing.captions[0].strip()
    if position % 10 == 4:  # readers that leave the encoding to the locale must be found out
        caption += " – déjà vu"
    return _Pair(position, url, caption, f"{47889917 + position}@N0{position % 10}", drawing, image)


def _put(archive: zipfile.ZipFile, name: str, content: bytes | None) -> None:
    """Add a deflated member; None adds nothing, like a download that failed."""
    if content is not None:
        archive.writestr(zip_entry(name, zipfile.ZIP_DEFLATED), content, compresslevel=1)


def _put_json(archive: zipfile.ZipFile, name: str, document: object) -> None:
    _put(archive, name, json.dumps(document).encode())


def _write_tars(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 1: two shards, each with its statistics, as img2dataset's webdataset output."""
    half = (len(pairs) + 1) // 2
    for shard, part in enumerate((pairs[:half], pairs[half:])):
        file = io.BytesIO()
        write_tar(file, (pair.download() for pair in part))
        _put(archive, f"{shard:05d}.tar", file.getvalue())
        counts = {
            "count": len(part),
            "successes": len(part),
            "failed_to_download": 0,
            "failed_to_resize": 0,
        }
        _put_json(archive, f"{shard:05d}_stats.json", counts)


def _write_triplets(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 2: img2dataset's files output; a missing image leaves its json and txt behind."""
    for pair in pairs:
        folder = f"{pair.position // KEYS_PER_FOLDER:05d}"
        for name, content in pair.download().members().items():
            if not (name.endswith(".jpg") and pair.image is None):
                _put(archive, f"{folder}/{name}", content)


def _put_arrays(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """The JSON of forms 3 and 4: one object of parallel arrays."""
    arrays = {
        "image_urls": [pair.url for pair in pairs],
        "user_ids": [pair.user for pair in pairs],
        "captions": [pair.caption for pair in pairs],
    }
    _put_json(archive, "sbu-captions-all.json", arrays)


def _write_arrays_and_names(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 3: the arrays, and images by the last part of their URL."""
    _put_arrays(archive, pairs)
    for pair in pairs:
        _put(archive, f"images/{pair.name}", pair.image)


def _write_arrays_and_positions(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Forms 3 and 4 together: the arrays, and position NNNN * 1000 + MMM at NNNN/MMM.jpg."""
    _put_arrays(archive, pairs)
    for pair in pairs:
        folder, place = divmod(pair.position, IMAGES_PER_FOLDER)
        _put(archive, f"{folder:04d}/{place:03d}.jpg", pair.image)


def _write_texts(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 5: line N of one file belongs to line N of the other, missing image or not."""
    for kind, lines in (
        ("urls", [pair.url for pair in pairs]),
        ("captions", [pair.caption for pair in pairs]),
    ):
        text = "".join(f"{line}\n" for line in lines)
        _put(archive, f"dataset/SBU_captioned_photo_dataset_{kind}.txt", text.encode())
    for pair in pairs:
        _put(archive, f"dataset/{pair.name}", pair.image)


def _write_named_records(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 6, LAVIS: a list of image name, caption in lower case, and URL."""
    records = [{"image": pair.name, "caption": pair.caption.lower(), "url": pair.url} for pair in pairs]
    _put_json(archive, "sbu.json", records)
    for pair in pairs:
        _put(archive, f"images/{pair.name}", pair.image)


def _write_url_records(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 7, BLIP: a list of URL and caption."""
    records = [{"url": pair.url, "caption": pair.caption} for pair in pairs]
    _put_json(archive, "ccs_filtered.json", records)
    for pair in pairs:
        _put(archive, f"images/{pair.name}", pair.image)


def _write_parquet(archive: zipfile.ZipFile, pairs: list[_Pair]) -> None:
    """Form 8: one table with the image bytes in it."""
    import pyarrow  # heavy and optional: only this form needs it
    import pyarrow.parquet

    columns = {
        "key": [pair.key for pair in pairs],
        "caption": [pair.caption for pair in pairs],
        "image": [pair.image for pair in pairs],
    }
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    _put(archive, "data/train-00000-of-00001.parquet", file.getvalue())


_WRITERS: dict[int, Callable[[zipfile.ZipFile, list[_Pair]], None]] = {
    1: _write_tars,
    2: _write_triplets,
    3: _write_arrays_and_names,
    4: _write_arrays_and_positions,
    5: _write_texts,
    6: _write_named_records,
    7: _write_url_records,
    8: _write_parquet,
}
