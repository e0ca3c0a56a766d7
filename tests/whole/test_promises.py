"""What is promised about resources: little memory, nothing unpacked, nothing heavy imported."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.whole.disk import check_all_whole
from tests.whole.sources import coco_document, coco_recipe, tiny_jpeg, zip_folder

IMAGES = 1500
IMAGE_BYTES = 150_000
MEMORY_LIMIT_KB = 100_000
"""The promise is 300 MB. It takes 38; a whole shard held in memory would stay below 300 here, but not below this."""

# Every file that is opened for writing is recorded by an audit hook: nothing can slip through between two looks.
PACK = """
    import json, os, sys

    root, recipe, source = sys.argv[1:4]
    written = set()

    def see(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, os.PathLike)) and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
                written.add(os.path.relpath(os.fspath(path), root))
        elif event == "os.mkdir":
            written.add(os.path.relpath(os.fspath(arguments[0]), root) + "/")

    sys.addaudithook(see)
    import g3m

    made = g3m.get([recipe], root=root, source=[source], offline=True, jobs=4).manifests["mine"]
    # Not ru_maxrss: Linux carries that of the parent across exec, and pytest is larger than what is measured.
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    heavy = sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[4].split()))
    print(json.dumps({"samples": made.samples, "peak": peak, "heavy": heavy, "written": sorted(written)}))
"""
HEAVY = "PIL numpy torch ray pyarrow datasets webdataset boto3 click rich sqlite3"

ALLOWED = re.compile(
    r"\.g3m/(parts/mine-0000\d\.tar\.[0-9a-f-]+\.making"
    r"|receipts/(assets|mine)/\.[\w.]+\.tmp"
    r"|plan/(\.[\w.]+|mine\.\d+)\.tmp"
    r"|\.\.?lock\.[\w.]+\.tmp)"
    r"|mine/mine/\.(manifest\.json|(rejected|findings)\.jsonl|index\.bin|sizes\.json|_info\.json|wids-meta\.json"
    r"|SHA256SUMS|README\.md)\.[\w.]+\.tmp"
    r"|(\./|\.g3m/(parts/|plan/|receipts/((assets|mine)/)?)?|mine/(mine/)?)"
)
"""Files that may be made below the root, each by its own way of a temporary name; folders end with a slash."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A root with 1,500 pictures of 150 kB, packed by a process that watched itself, and what it saw."""
    folder = tmp_path_factory.mktemp("promises")
    source = folder / "source"
    source.mkdir()
    noise = random.Random(0).randbytes(IMAGE_BYTES + IMAGES)
    with zipfile.ZipFile(source / "val2017.zip", "w", zipfile.ZIP_STORED) as archive:
        for number in range(IMAGES):
            picture = tiny_jpeg(number)[:-2] + noise[number : number + IMAGE_BYTES] + b"\xff\xd9"
            archive.writestr(f"val2017/{number:012d}.jpg", picture)
    document = json.dumps(coco_document({number: ["a picture", "of noise"] for number in range(IMAGES)}))
    inner = "annotations/captions_val2017.json"
    annotations = zip_folder(source / "annotations.zip", {inner: document.encode()})
    recipe = coco_recipe(folder / "mine.toml", "val2017", source / "val2017.zip", annotations)
    root = folder / "data"
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            textwrap.dedent(PACK),
            str(root),
            str(recipe),
            str(source),
            HEAVY,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return root, answer


def test_packing_needs_little_memory(packed: tuple[Path, dict[str, Any]]) -> None:
    """225 MB of pictures are packed by a process whose memory never reaches 100 MB."""
    _, answer = packed
    assert answer["samples"] == IMAGES
    assert answer["peak"] < MEMORY_LIMIT_KB


def test_packing_unpacks_nothing(packed: tuple[Path, dict[str, Any]]) -> None:
    """Below the root appear shards being made, receipts, plan and small files, and no picture of its own."""
    root, answer = packed
    inside = [name for name in answer["written"] if not name.startswith("..")]
    assert [name for name in inside if not ALLOWED.fullmatch(name)] == []
    assert any(name.endswith(".making") for name in inside)
    assert [name for name in answer["written"] if name.startswith("..") and "/dev/null" not in name] == []
    assert check_all_whole(root) == 1
    assert not [path for path in root.rglob("*") if path.suffix in (".jpg", ".txt", ".zip")]


def test_packing_imports_nothing_heavy(packed: tuple[Path, dict[str, Any]]) -> None:
    """A process that packs has imported neither Pillow nor any other large package, nor the command line's."""
    _, answer = packed
    assert answer["heavy"] == []


def test_importing_g3m_imports_nothing(tmp_path: Path) -> None:
    """`import g3m` brings in no package but the standard library and one module of its own."""
    script = "import sys, g3m; print(sorted(m for m in sys.modules if m.startswith('g3m') or m in sys.argv[1].split()))"
    command = [sys.executable, "-I", "-W", "error", "-c", script, f"{HEAVY} pycurl certifi isal platformdirs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("['g3m']\n", "")
    assert list(tmp_path.iterdir()) == []
