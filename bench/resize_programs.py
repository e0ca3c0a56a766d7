"""What people write to make the pictures of WebDataset tars smaller.

Each runs as `python -c PROGRAM SOURCE OUT SIDE JOBS`. All read with tarfile, keep the other members, write
one tar for each, quality 95, and sync it as g3m does.
"""

from __future__ import annotations

_FRAME = """
import io, multiprocessing, os, sys, tarfile
source, out, side, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def work(name):
    with tarfile.open(f"{source}/{name}") as old, open(f"{out}/{name}", "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as new:
            for member in old:
                data = old.extractfile(member).read()
                if member.name.endswith(".jpg"):
                    data = resized(data)
                entry = tarfile.TarInfo(member.name)
                entry.size = len(data)
                new.addfile(entry, io.BytesIO(data))
        file.flush()
        os.fsync(file.fileno())

if __name__ == "__main__":
    names = sorted(name for name in os.listdir(source) if name.endswith(".tar"))
    if jobs == 1:
        for name in names:
            work(name)
    else:
        with multiprocessing.Pool(jobs) as pool:
            pool.map(work, names, chunksize=1)
"""

PILLOW = (
    """
from PIL import Image

def resized(data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if min(image.size) <= side:
        return data
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=95)
    return written.getvalue()
"""
    + _FRAME
)

# The package's class, taken from its file: the package itself imports a tracker, pandas and more.
IMG2DATASET = """
import importlib.util, os.path
found = importlib.util.find_spec("img2dataset")
path = os.path.join(os.path.dirname(found.origin), "resizer.py")
spec = importlib.util.spec_from_file_location("resizer", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def resized(data):
    made, *_, problem = resizer(io.BytesIO(data))
    assert problem is None, problem
    return made
""" + _FRAME.replace(
    "def work(name):",
    'resizer = module.Resizer(side, "keep_ratio", True)\n\ndef work(name):',
    1,
)

IMG2DATASET_LANCZOS = IMG2DATASET.replace(
    '"keep_ratio", True)', '"keep_ratio", True, downscale_interpolation="lanczos")'
)
