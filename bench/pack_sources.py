"""What there is to pack, drawn by a fixed seed: a zip of COCO's form, a tar.gz of Open Images' form, recipes.

The pictures are a few dozen drawings of noise, each copy with a comment of its own: no two files are alike.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

KINDS = 40
ORDERS = ("shuffled", "sorted")
"""How the members of the zip lie; the shards are by image id, so `sorted` is the shards' own order."""

TRACE_POINTS = 450
"""Points of the mouse in a narrative: a line of the real file has 27 kB for the most part because of them."""


def pictures(width: int, height: int) -> list[bytes]:
    """JPEGs of noise in sizes that differ by their quality."""
    from PIL import Image

    numbers = random.Random(0)
    made = []
    for kind in range(KINDS):
        noise = Image.frombytes("RGB", (width, height), numbers.randbytes(width * height * 3))
        noise = noise.resize((width // 2, height // 2)).resize((width, height))
        data = io.BytesIO()
        noise.save(data, "JPEG", quality=84 + kind % 10)
        made.append(data.getvalue())
    return made


def marked(picture: bytes, number: int) -> bytes:
    """The picture with a comment in it, so that it is the only one of its bytes."""
    return picture[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % number + picture[2:]


def make_zip(folder: Path, images: int, orders: Iterable[str] = ORDERS) -> None:
    """`ORDER/val2017.zip`, `ORDER/captions.json` and `ORDER/bench.toml`: JPEGs of about 140 kB, stored."""
    kinds = pictures(640, 480)
    numbers = random.Random(0)
    ids = sorted(numbers.sample(range(1, max(600_000, 5 * images)), images))
    for order in orders:
        place = folder / order
        place.mkdir(parents=True, exist_ok=True)
        lie = ids[:]
        if order == "shuffled":
            numbers.shuffle(lie)
        with zipfile.ZipFile(place / "val2017.zip", "w", zipfile.ZIP_STORED) as archive:
            for image_id in lie:
                archive.writestr(f"val2017/{image_id:012d}.jpg", marked(kinds[image_id % KINDS], image_id))
        (place / "captions.json").write_text(json.dumps(_coco_captions(lie)), encoding="utf-8")
        rule = '[samples]\nreader = "coco_captions"\nsplit = "val2017"\n'
        rule += 'images = "val2017.zip/val2017"\ncaptions = "captions.json"\n'
        write_recipe(place, ("val2017.zip", "captions.json"), rule)


def _coco_captions(ids: list[int]) -> dict[str, object]:
    return {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "license": 1, "flickr_url": ""} for n in ids],
        "annotations": [
            {
                "id": 5 * n + k,
                "image_id": n,
                "caption": f"A drawn picture number {n}, told for the {k}. time. ",
            }
            for n in ids
            for k in range(5)
        ],
    }


def make_tar_gz(folder: Path, images: int) -> None:
    """`gzip/validation.tar.gz`, its narratives, `gzip/bench.toml`: JPEGs of about 290 kB, gzip's level 6."""
    place = folder / "gzip"
    place.mkdir(parents=True, exist_ok=True)
    kinds = pictures(896, 720)
    numbers = random.Random(1)
    names = [f"{numbers.getrandbits(64):016x}" for _ in range(images)]
    # The program, because its blocks are those that people's archives have.
    with (
        open(place / "validation.tar.gz", "wb") as file,
        subprocess.Popen(["gzip", "-n", "-6"], stdin=subprocess.PIPE, stdout=file) as packer,
    ):
        with tarfile.open(fileobj=packer.stdin, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            for number, name in enumerate(names):
                picture = marked(kinds[number % KINDS], number)
                member = tarfile.TarInfo(f"validation/{name}.jpg")
                member.size = len(picture)
                tar.addfile(member, io.BytesIO(picture))
        packer.stdin.close()
    numbers.shuffle(names)
    lines = (json.dumps(line) + "\n" for line in _narratives(names, numbers))
    with open(place / "narratives.jsonl", "w", encoding="utf-8") as text:
        text.writelines(lines)
    rule = '[samples]\nreader = "localized_narratives"\n'
    rule += 'images = "validation.tar.gz/validation"\ncaptions = "narratives.jsonl"\n'
    write_recipe(place, ("validation.tar.gz", "narratives.jsonl"), rule)


def _narratives(names: list[str], numbers: random.Random) -> Iterator[dict[str, object]]:
    for name in names:
        points = [
            {"x": round(numbers.random(), 4), "y": round(numbers.random(), 4), "t": round(t / 50, 3)}
            for t in range(TRACE_POINTS)
        ]
        words = f"In this image I can see a drawing of noise, the number of which is {name}.".split()
        yield {
            "dataset_id": "open_images_val",
            "image_id": name,
            "annotator_id": 7,
            "caption": " ".join(words),
            "timed_caption": [
                {"utterance": word, "start_time": place / 3, "end_time": (place + 1) / 3}
                for place, word in enumerate(words)
            ],
            "traces": [points],
            "voice_recording": f"open_images_validation/{name}.ogg",
        }


def write_recipe(folder: Path, names: Iterable[str], rule: str) -> None:
    """A recipe that pins the files of a folder; its address leads nowhere, so nothing can be fetched."""
    blocks = []
    for name in names:
        path = folder / name
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256") if sys.version_info >= (3, 11) else _sha256(file)
        blocks.append(
            f'[[assets]]\nname = "{name}"\nsize_bytes = {path.stat().st_size}\n'
            f'digests = ["sha256:{digest.hexdigest()}"]\nplaces = ["https://example.invalid/{name}"]\n'
        )
    head = 'format = 1\nname = "bench"\ntitle = "bench"\nfolder = "bench"\nlicence = "none"\n'
    (folder / "bench.toml").write_text("\n".join([head, *blocks, rule]), encoding="utf-8")


def _sha256(file: io.BufferedReader) -> hashlib._Hash:
    digest = hashlib.sha256()
    while data := file.read(2**20):
        digest.update(data)
    return digest


def place_assets(folder: Path, root: Path, *, link: bool = False) -> None:
    """Put a recipe's assets below a root as `g3m get` leaves them when it has fetched and checked them."""
    import os
    import shutil

    from g3m.core.plan import asset_id
    from g3m.core.receipt import AssetReceipt
    from g3m.runners.run import make_session
    from g3m.steps.find import whole_path, write_receipt
    from g3m.steps.resolve import resolve

    session = make_session({"root": str(root)}, {})
    session.store.prepare()
    for asset in resolve([str(folder / "bench.toml")], session).assets.values():
        path = whole_path(session, asset)
        (os.link if link else shutil.copyfile)(folder / asset.name, path)
        receipt = AssetReceipt(
            id=asset_id(asset),
            name=asset.name,
            size_bytes=path.stat().st_size,
            digests=asset.digests,
            proof="recipe",
            path="",
        )
        write_receipt(session, receipt)


def main() -> None:
    """zip|zip-shuffled|gzip FOLDER IMAGES, or place|link FOLDER ROOT; run so that no memory is kept."""
    what, folder, rest = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if what == "zip":
        make_zip(folder, int(rest))
    elif what == "zip-shuffled":
        make_zip(folder, int(rest), ORDERS[:1])
    elif what == "gzip":
        make_tar_gz(folder, int(rest))
    else:
        place_assets(folder, Path(rest), link=what == "link")


if __name__ == "__main__":
    main()
