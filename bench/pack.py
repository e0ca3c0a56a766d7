"""Packing 5,000 JPEGs (about 800 MB) from a zip: g3m beside a plain copy and beside what people write.

    python bench/pack.py [--images 5000] [--times 3] [--folder DIR]

cp            the zip copied and synced: what the disk alone takes
g3m           `g3m get` on a recipe of COCO's form with --from: the archive is hashed, arranged, packed, every
              member's crc checked, shards synced and published
zipfile+tarfile   the standard library, member by member, synced; nothing hashed beyond zipfile's crc
webdataset    zipfile and webdataset.ShardWriter, which syncs nothing (skipped if it is not installed)

All write shards of the same partition. Runs are interleaved, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import sys
import tempfile
import zipfile
from importlib import metadata, util
from pathlib import Path
from typing import BinaryIO

from machine import Run, describe, empty, middle, run

SHARD_SAMPLES = 2999
KINDS = 40

STDLIB = """
import io, json, os, sys, tarfile, zipfile
zip_path, captions, out = sys.argv[1:]
document = json.load(open(captions))
texts = {}
for item in document["annotations"]:
    texts.setdefault(item["image_id"], []).append(item["caption"].strip())
archive = zipfile.ZipFile(zip_path)
tar = None
for n, image in enumerate(sorted(document["images"], key=lambda item: item["id"])):
    if tar is None or (n + 1) % 2999 == 0:
        if tar: tar.close(); os.fsync(file.fileno()); file.close()
        file = open(f"{out}/{(n + 1) // 2999:05d}.tar", "wb")
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
    key, text = image["file_name"][:-4], " ".join(texts[image["id"]])
    meta = json.dumps({"path": image["file_name"], "cap": text, "split": "val2017"}).encode()
    picture = archive.read("val2017/" + image["file_name"])
    for ext, data in (("jpg", picture), ("json", meta), ("txt", text.encode())):
        info = tarfile.TarInfo(f"{key}.{ext}"); info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
tar.close(); os.fsync(file.fileno()); file.close()
"""

WEBDATASET = """
import json, sys, zipfile, webdataset
zip_path, captions, out = sys.argv[1:]
document = json.load(open(captions))
texts = {}
for item in document["annotations"]:
    texts.setdefault(item["image_id"], []).append(item["caption"].strip())
archive = zipfile.ZipFile(zip_path)
with webdataset.ShardWriter(f"{out}/%05d.tar", maxcount=2999, maxsize=1e12, verbose=0) as sink:
    for image in sorted(document["images"], key=lambda item: item["id"]):
        text = " ".join(texts[image["id"]])
        meta = {"path": image["file_name"], "cap": text, "split": "val2017"}
        data = archive.read("val2017/" + image["file_name"])
        sink.write({"__key__": image["file_name"][:-4], "jpg": data, "json": meta, "txt": text})
"""


def make_source(folder: Path, images: int) -> None:
    """A zip of COCO's form with JPEGs of about 160 kB, its captions, and a recipe for both."""
    from PIL import Image

    numbers = random.Random(0)
    pictures = []
    for kind in range(KINDS):
        noise = (
            Image.frombytes("RGB", (640, 480), numbers.randbytes(640 * 480 * 3))
            .resize((320, 240))
            .resize((640, 480))
        )
        data = io.BytesIO()
        noise.save(data, "JPEG", quality=84 + kind % 10)
        pictures.append(data.getvalue())
    ids = sorted(numbers.sample(range(1, 600_000), images))
    order = ids[:]
    numbers.shuffle(order)
    with zipfile.ZipFile(folder / "val2017.zip", "w", zipfile.ZIP_STORED) as archive:
        for image_id in order:
            comment = b"\xff\xfe\x00\x0a" + b"%08d" % image_id
            picture = pictures[image_id % KINDS]
            archive.writestr(f"val2017/{image_id:012d}.jpg", picture[:2] + comment + picture[2:])
    document = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "license": 1, "flickr_url": ""} for n in order],
        "annotations": [
            {
                "id": 5 * n + k,
                "image_id": n,
                "caption": f"A drawn picture number {n}, told for the {k}. time. ",
            }
            for n in order
            for k in range(5)
        ],
    }
    (folder / "captions.json").write_text(json.dumps(document), encoding="utf-8")
    blocks = []
    for name in ("val2017.zip", "captions.json"):
        path = folder / name
        with open(path, "rb") as file:
            digest = sha256_of(file)
        blocks.append(
            f'[[assets]]\nname = "{name}"\nsize_bytes = {path.stat().st_size}\n'
            f'digests = ["sha256:{digest}"]\nplaces = ["https://example.invalid/{name}"]\n'
        )
    rule = '[samples]\nreader = "coco_captions"\nsplit = "val2017"\n'
    rule += 'images = "val2017.zip/val2017"\ncaptions = "captions.json"\n'
    head = 'format = 1\nname = "bench"\ntitle = "bench"\nfolder = "bench"\nlicence = "none"\n'
    (folder / "bench.toml").write_text("\n".join([head, *blocks, rule]), encoding="utf-8")


def sha256_of(file: BinaryIO) -> str:
    """The digest of a large file."""
    digest = hashlib.sha256()
    while data := file.read(2**20):
        digest.update(data)
    return digest.hexdigest()


def commands(folder: Path) -> dict[str, list[str]]:
    """The contestants; each writes below `folder/out`."""
    archive, captions, out = (str(folder / name) for name in ("val2017.zip", "captions.json", "out"))
    g3m = [sys.executable, "-m", "g3m", "get"]
    found = {
        "cp": ["sh", "-c", f"cp {archive} {out}/copy && sync {out}/copy"],
        "g3m": [*g3m, str(folder / "bench.toml"), "--from", str(folder), "--root", out, "-q", "-y"],
        "zipfile+tarfile": [sys.executable, "-c", STDLIB, archive, captions, out],
    }
    if util.find_spec("webdataset"):
        found["webdataset"] = [sys.executable, "-c", WEBDATASET, archive, captions, out]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to work (default: a temporary folder)"
    )
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_source(options.make, options.images)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        # In a process of its own: a child's peak memory counts what its parent held before.
        run([sys.executable, __file__, "--make", str(folder), "--images", str(options.images)])
        size = (folder / "val2017.zip").stat().st_size
        contestants = commands(folder)
        runs: dict[str, list[Run]] = {name: [] for name in contestants}
        for _ in range(options.times):
            for name, command in contestants.items():
                empty(folder / "out")
                runs[name].append(run(command))
        report(runs, size, options.images, folder)


def report(runs: dict[str, list[Run]], size: int, images: int, folder: Path) -> None:
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("g3m", "webdataset") if _installed(name)
    )
    print(f"{images} JPEGs, {size / 1e6:.0f} MB, median of {len(runs['cp'])} runs; {versions}")
    print(describe(folder))
    print("\n| what | wall s | CPU s | peak MB | MB/s | wall, times cp |\n|---|--:|--:|--:|--:|--:|")
    floor = middle([each.wall_s for each in runs["cp"]])
    for name, several in runs.items():
        wall = middle([each.wall_s for each in several])
        cpu = middle([each.cpu_s for each in several])
        peak = max(each.peak_bytes for each in several)
        speed = size / 1e6 / wall
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak / 1e6:.0f} | {speed:.0f} | {wall / floor:.2f} |")


def _installed(name: str) -> bool:
    return util.find_spec(name) is not None


if __name__ == "__main__":
    main()
