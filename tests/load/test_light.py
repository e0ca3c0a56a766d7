"""Loading in a training environment: what it must not ask for, because `pip install --no-deps g3m` leaves it out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.load.folders import published

from g3m.lab.drawings import draw

FETCHING = ("certifi", "click", "indexed_gzip", "isal", "platformdirs", "pycurl", "rich")
"""What only fetching, packing and the commands need."""

PROGRAM = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FETCHING}:
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Refuse())
import g3m
from g3m.compat.nxtp import build_dataloader

with g3m.dataset("g3m", sys.argv[1]) as data:
    for decode in ("near", "fast", "exact"):
        with g3m.loader(data, 4, image_size=32, decode=decode, workers=2) as loader:
            print([tuple(images.shape) for images, _, _ in loader])
"""


def test_loading_needs_no_package_of_fetching(tmp_path: Path) -> None:
    """Three datasets by their group's name, decoded in each way, with pycurl, click and others not there."""
    picture = {"jpg": draw(0, 0, width=40, height=48).jpeg, "txt": b"a drawing"}
    for name, folder in (("cc3m", "cc3m/cc3m"), ("sbu", "sbu/sbu"), ("coco", "coco/coco_train")):
        published(tmp_path, folder, name, [(f"k{number}", picture) for number in range(3)])
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [str([(4, 3, 32, 32)] * 2)] * 3
