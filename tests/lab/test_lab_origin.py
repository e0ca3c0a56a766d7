"""The origin as a whole: the demo's addresses, the record, parallel clients, leaving no trace."""

from __future__ import annotations

import gc
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from g3m.adapters.recipes import builtin_files, read_recipe, read_toml
from g3m.lab.mischief import Stall, Trickle
from g3m.lab.origin import Origin
from g3m.lab.world import CC3M_REPOSITORY, KAGGLE_KEY, KAGGLE_USERNAME, World

Fetch = Callable[..., Any]


def _lab_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("g3m-lab")]


def _open_sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for descriptor in range(512):
        with suppress(OSError):
            count += stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    return count


def test_closing_leaves_no_thread_and_no_socket(blob: Path) -> None:
    """Idle, stalled and trickling connections all end at once when the origin closes."""
    gc.collect()
    sockets, others = _open_sockets(), _lab_threads()
    with Origin() as origin, requests.Session() as session:
        origin.mount("/files", blob.parent)
        url = f"{origin.url}/files/blob.bin"
        assert session.get(url, timeout=30).status_code == 200
        origin.mischief("*", Stall(after_bytes=5, for_s=600))
        origin.mischief("*", Trickle(bytes_per_s=1))
        waiting = [session.get(url, stream=True, timeout=30) for _ in range(2)]
        assert len(_lab_threads()) >= len(others) + 4
        origin.__exit__(None, None, None)
        assert _lab_threads() == others
        for answer in waiting:
            answer.close()
    assert _open_sockets() == sockets


def test_an_origin_has_no_address_before_and_after(blob: Path) -> None:
    """Things may be set up early, but a URL exists only while somebody listens."""
    origin = Origin()
    origin.mount("/files", blob.parent)
    with pytest.raises(RuntimeError):
        _ = origin.url
    with origin:
        url = origin.url
        assert requests.get(f"{url}/files/blob.bin", timeout=30).status_code == 200
        with pytest.raises(RuntimeError):
            origin.__enter__()
    with pytest.raises(RuntimeError):
        _ = origin.storage_url
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=30)


def test_a_taken_port_is_an_error_without_remains() -> None:
    """If the site cannot listen, nothing is left open."""
    with Origin() as origin:
        port = int(origin.url.rpartition(":")[2])
        with pytest.raises(OSError), Origin(port):
            pass


def test_parallel_ranges_make_the_file(origin: Origin, address: str, blob: Path) -> None:
    """Many connections at once are served right, and each is in the record with its bytes."""
    ranges = [f"bytes={first}-{first + 4999}" for first in range(0, 300_000, 5_000)]

    def part(asked: str) -> bytes:
        return requests.get(address, headers={"Range": asked}, timeout=30).content

    with ThreadPoolExecutor(16) as pool:
        assert b"".join(pool.map(part, ranges)) == blob.read_bytes()
    assert sorted(one.headers["range"] for one in origin.requests) == sorted(ranges)
    assert {one.sent_bytes for one in origin.requests} == {5_000}


def test_the_record_knows_what_was_sent_when_the_client_does(
    origin: Origin, address: str, fetch: Fetch
) -> None:
    """A client that has read the last byte finds it counted: tests need not wait."""
    for _ in range(50):
        fetch(address)
        assert origin.requests[-1].sent_bytes == 300_000
    origin.forget_requests()
    assert origin.requests == []


def test_a_client_that_leaves_is_not_counted_to_the_end(origin: Origin, tmp_path: Path) -> None:
    """What a lost connection did not take is not in the record, and nobody is disturbed by it."""
    (tmp_path / "large").write_bytes(bytes(40_000_000))
    origin.mount("/large", tmp_path / "large")
    with requests.get(f"{origin.url}/large", stream=True, timeout=30) as answer:
        answer.raw.read(10)
    deadline_s = time.monotonic() + 5
    while len(_lab_threads()) > 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert 10 <= origin.requests[-1].sent_bytes < 40_000_000


def test_the_world_is_served_at_familiar_paths(tmp_path: Path) -> None:
    """Every drawn source is fetched from where its real one lies, with the credentials it needs."""
    with World(tmp_path, samples=6) as world:
        drawn, url = world.sources, world.origin.url
        mirrors = {rule["prefix"]: rule["places"][0] for rule in world.options["mirrors"]}
        for prefix, rest, path in (
            ("https://s3.amazonaws.com/", "images.cocodataset.org/zips/train2017.zip", drawn.coco.train),
            ("http://images.cocodataset.org/", "zips/val2017.zip", drawn.coco.valid),
            (
                "https://s3.amazonaws.com/",
                "images.cocodataset.org/annotations/annotations_trainval2017.zip",
                drawn.coco.annotations,
            ),
            (
                "https://open-images-dataset.s3.amazonaws.com/",
                "tar/validation.tar.gz",
                drawn.open_images.images,
            ),
            (
                "https://storage.googleapis.com/",
                "localized-narratives/annotations/open_images_validation_localized_narratives.jsonl",
                drawn.open_images.narratives,
            ),
        ):
            assert requests.get(mirrors[prefix] + rest, timeout=30).content == path.read_bytes()
        shard = f"{url}/datasets/{CC3M_REPOSITORY}/resolve/main/cc3m-train-0000.tar"
        assert requests.get(shard, timeout=30).content == drawn.cc3m.train[0].read_bytes()
        kaggle = f"{url}/api/v1/datasets/download/akashnuka/sbucaptions"
        answer = requests.get(kaggle, auth=(KAGGLE_USERNAME, KAGGLE_KEY), timeout=30)
        assert answer.content == drawn.sbu.read_bytes()


def test_the_recipes_of_a_world_differ_from_the_real_ones_in_figures_only(tmp_path: Path) -> None:
    """Places, readers and folders of a drawn recipe are those of the built-in one."""
    World(tmp_path, samples=4)
    for path in builtin_files():
        if path.name == "groups.toml":
            continue
        real, drawn = read_recipe(path), read_recipe(tmp_path / "recipes" / path.name)
        assert [asset.places for asset in drawn.assets] == [asset.places for asset in real.assets]
        assert (drawn.folder, drawn.samples.reader) == (real.folder, real.samples.reader)
        assert drawn.listing == real.listing


def test_the_module_serves_a_folder_by_hand(tmp_path: Path) -> None:
    """`python -m g3m.lab FOLDER` writes a config that works, and Ctrl-C ends it in good order."""
    command = [sys.executable, "-m", "g3m.lab", str(tmp_path), "--samples", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = ""
            while "Ctrl-C" not in printed:
                line = process.stdout.readline()
                assert line, f"it ended early: {printed}"
                printed += line
            assert "KAGGLE_KEY=" in printed
            place = read_toml(tmp_path / "g3m.toml")["mirrors"][0]["places"][0]
            answer = requests.get(f"{place}images.cocodataset.org/zips/val2017.zip", timeout=30)
            assert answer.content[:2] == b"PK"
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
