"""The contestants of bench/pack.py: what people write and run to get shards out of archives.

Each program gets FOLDER (the archive and its captions) and OUT (an empty folder) and leaves tars below OUT.
All give the same partition: samples by image id, the first shard with 2,998 samples and later ones with
2,999.
"""

from __future__ import annotations

_CAPTIONS = """
import io, json, os, sys, tarfile, zipfile
folder, out = sys.argv[1:]
document = json.load(open(folder + "/captions.json"))
texts = {}
for item in document["annotations"]:
    texts.setdefault(item["image_id"], []).append(item["caption"].strip())
images = sorted(document["images"], key=lambda item: item["id"])
"""

ZIPFILE_TARFILE = f"""{_CAPTIONS}
archive = zipfile.ZipFile(folder + "/val2017.zip")
tar = None
for n, image in enumerate(images):
    if tar is None or (n + 1) % 2999 == 0:
        if tar: tar.close(); os.fsync(file.fileno()); file.close()
        file = open(f"{{out}}/{{(n + 1) // 2999:05d}}.tar", "wb")
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
    key, text = image["file_name"][:-4], " ".join(texts[image["id"]])
    meta = json.dumps({{"path": image["file_name"], "cap": text, "split": "val2017"}}).encode()
    picture = archive.read("val2017/" + image["file_name"])
    for ext, data in (("jpg", picture), ("json", meta), ("txt", text.encode())):
        info = tarfile.TarInfo(f"{{key}}.{{ext}}"); info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
tar.close(); os.fsync(file.fileno()); file.close()
"""
"""The standard library, member by member; each shard is synced."""

_SHARD_WRITER = """
import webdataset
with webdataset.ShardWriter(f"{out}/%05d.tar", maxcount=2999, maxsize=1e12, verbose=0) as sink:
    for image in images:
        text = " ".join(texts[image["id"]])
        meta = {"path": image["file_name"], "cap": text, "split": "val2017"}
        data = read(image["file_name"])
        sink.write({"__key__": image["file_name"][:-4], "jpg": data, "json": meta, "txt": text})
"""

ZIPFILE_WEBDATASET = f"""{_CAPTIONS}
archive = zipfile.ZipFile(folder + "/val2017.zip")
read = lambda name: archive.read("val2017/" + name)
{_SHARD_WRITER}"""
"""webdataset's ShardWriter, fed by zipfile; it syncs nothing."""

UNZIP_WEBDATASET = f"""{_CAPTIONS}
read = lambda name: open(out + "/val2017/" + name, "rb").read()
{_SHARD_WRITER}"""
"""After `unzip`: the files again through ShardWriter."""

_SORT_OUT = """
import json, os, shutil, sys
def place(number, key, source, text, record):
    folder = os.path.join(out, "sorted", str((number + 1) // 2999).zfill(5))
    os.makedirs(folder, exist_ok=True)
    shutil.copy(source, os.path.join(folder, key + ".jpg"))
    with open(os.path.join(folder, key + ".txt"), "w") as file:
        file.write(text)
    with open(os.path.join(folder, key + ".json"), "w") as file:
        json.dump(record, file)
"""

SEED_COCO = f"""{_CAPTIONS}{_SORT_OUT}
from PIL import Image
try:
    import numpy
except ImportError:
    numpy = None
def tensor(path):
    # What torchvision's CocoCaptions and ToTensor do with a picture, without torch.
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
    if numpy is None:
        return rgb.tobytes()
    return numpy.ascontiguousarray(numpy.array(rgb).transpose(2, 0, 1)).astype("float32") / 255
for n, image in enumerate(images):
    source = os.path.join(out, "val2017", image["file_name"])
    tensor(source)
    text = " ".join(texts[image["id"]])
    record = {{"path": image["file_name"], "cap": text, "split": "val2017"}}
    place(n, image["file_name"][:-4], source, text, record)
"""
"""The old recipe's second step: every picture decoded to a tensor that nobody reads, then copied."""

SEED_OPEN_IMAGES = f"""{_SORT_OUT}
folder, out = sys.argv[1:]
with open(folder + "/narratives.jsonl") as lines:
    for n, line in enumerate(lines):
        record = json.loads(line)
        key = record["image_id"]
        place(n, key, os.path.join(out, "validation", key + ".jpg"), record["caption"], record)
"""
"""The same for Open Images, where nothing is decoded and the whole narrative is the json."""

TAR_EACH_FOLDER = 'cd "$0/sorted" && for d in *; do tar -cf "../$d.tar" -C "$d" . || exit 1; done'
"""The old recipe's third step; $0 is OUT."""

READ_ISAL = """
import sys
from isal import igzip
with igzip.open(sys.argv[1], "rb") as file:
    while file.read(2**20): pass
"""

READ_RAPIDGZIP = """
import sys, rapidgzip
with rapidgzip.open(sys.argv[1], parallelization=int(sys.argv[2])) as file:
    while file.read(2**22): pass
"""

TARFILE_STREAM = """
import io, json, os, sys, tarfile
folder, out = sys.argv[1:]
texts = {}
with open(folder + "/narratives.jsonl") as lines:
    for line in lines:
        record = json.loads(line)
        texts[record["image_id"]] = record["caption"]
tar, n = None, 0
for member in (source := tarfile.open(folder + "/validation.tar.gz", "r|gz")):
    if tar is None or (n + 1) % 2999 == 0:
        if tar: tar.close(); os.fsync(file.fileno()); file.close()
        file = open(f"{out}/{(n + 1) // 2999:05d}.tar", "wb")
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
    key = os.path.basename(member.name)[:-4]
    meta = json.dumps({"image_id": key, "caption": texts[key]}).encode()
    picture = source.extractfile(member).read()
    for ext, data in (("jpg", picture), ("json", meta), ("txt", texts[key].encode())):
        info = tarfile.TarInfo(f"{key}.{ext}"); info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    n += 1
tar.close(); os.fsync(file.fileno()); file.close()
"""
"""The standard library in the archive's own order: no spool, and another partition than the captions'."""

WITHOUT_SYNC = """
import os, sys
os.fsync = os.fdatasync = lambda file: None
sys.argv[0] = "g3m"
from g3m.ui.cli import main
main()
"""
"""g3m with every sync left out, only to see what they cost."""
