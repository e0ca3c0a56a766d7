"""Gathering into a bucket: the same shards as on a disk, over faults, kills and machines that share nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.bucket_host import BUCKET, Relay, Request, keys
from tests.pictures_host import Asked, PicturesHost, picture, pictures_host
from tests.runners.lists import rows_of, run, write_list

import g3m
from g3m.adapters.objects import Objects, open_objects
from g3m.core.errors import PartialError, Refused, Throttled
from g3m.core.gathering import Columns, gathering_for
from g3m.runners.base import Summary
from g3m.runners.gather import gather_in, plan_in
from g3m.runners.run import make_session

SAME = (".tar", "index.bin", "sizes.json", "SHA256SUMS", "rejected.jsonl", "wids-meta.json", "_info.json")


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


@dataclass
class Place:
    """A prefix of the bucket, and how machines gather into it."""

    address: str
    relay: Relay
    folder: Path

    @property
    def objects(self) -> Objects:
        return open_objects(self.address, keys(self.relay.target, self.folder))

    def contents(self) -> dict[str, bytes]:
        """Every object below the prefix."""
        objects = self.objects
        return {item.name: objects.get_bytes(item.name) for item in objects.list()}

    def gather(self, machine: str, *lists: Path | str, again: bool = False, **options: object) -> Summary:
        """Gather on a machine with a disk of its own."""
        variables = keys(self.relay.url, self.folder)
        root = str(self.folder / machine)
        session = make_session({"allow_private": True, "jobs": 1, "root": root, **options}, variables)
        wish = gathering_for(Columns(), session.settings, 4)
        plan, session = plan_in([str(text) for text in lists], self.address, wish, session)
        return gather_in(plan, session, [], retry_failed=again)

    def local(self, machine: str) -> set[str]:
        """What a machine still has of shards and tables."""
        found = (self.folder / machine).rglob("*")
        return {path.name for path in found if path.name.endswith((".tar", ".parquet", ".making"))}


@pytest.fixture
def place(relay: Relay, tmp_path: Path) -> Place:
    return Place(f"s3://{BUCKET}/{tmp_path.name}/out", relay, tmp_path)


@pytest.fixture
def source(host: PicturesHost, tmp_path: Path) -> Path:
    """Ten rows, three tasks: all but one give a picture."""
    moods = ["good", "good", "missing", *["good"] * 7]
    return write_list(tmp_path / "list.jsonl", rows_of(host, *moods))


def same(contents: dict[str, bytes], folder: Path) -> None:
    """The objects that depend on nothing but rows and pictures are the files of a folder, byte for byte."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.endswith(SAME)}
    assert {name: data for name, data in contents.items() if name.endswith(SAME)} == files
    assert {name for name in contents if "/" not in name} >= {"manifest.json", "00000.parquet", "README.md"}


def test_the_same_as_on_a_disk(place: Place, source: Path, relay: Relay) -> None:
    """The bucket gets what a folder would, each object by one PUT, the manifest last; no shard stays here."""
    run(source, place.folder / "disk" / "out")
    summary = place.gather("one", source)
    assert summary.manifests["out"].samples == 9
    contents = place.contents()
    same(contents, place.folder / "disk" / "out")
    puts = [request.name for request in relay.seen if request.method == "PUT"]
    assert puts[-1].endswith("manifest.json")
    assert max(Counter(puts).values()) == 1
    assert place.local("one") == set()
    assert b"nothing-to-hide" not in b"".join(
        path.read_bytes() for path in (place.folder / "one").rglob("*") if path.is_file()
    )


def test_again_nothing_is_done(place: Place, source: Path, host: PicturesHost, relay: Relay) -> None:
    """A finished dataset is known as finished, also on a machine that never saw it."""
    place.gather("one", source)
    asked, puts = sum(host.asked.values()), relay.count("PUT")
    for machine in ("one", "two"):
        summary = place.gather(machine, source)
        assert summary.finished == 0
        assert summary.manifests["out"].samples == 9
    assert (sum(host.asked.values()), relay.count("PUT")) == (asked, puts)


def test_faults_on_the_way(place: Place, source: Path, relay: Relay) -> None:
    """Every object's first PUT is answered 503, broken in the middle or answered into the void; all arrives once."""
    run(source, place.folder / "disk" / "out")
    faults = {"00000.tar": 503, "00001.tar": "reset", "00002.tar": "lost"}
    spoilt: set[str] = set()

    def spoil(request: Request) -> str | int | None:
        name = request.name.rpartition("/")[2]
        if request.method == "GET" and "list" not in spoilt:
            spoilt.add("list")
            return 503
        if request.method != "PUT" or name in spoilt:
            return None
        spoilt.add(name)
        return faults.get(name, 503)

    relay.spoil = spoil
    assert place.gather("one", source).manifests["out"].samples == 9
    same(place.contents(), place.folder / "disk" / "out")
    assert {"list", "manifest.json", "00000.tar", "00001.tar", "00002.tar", "00002.tar.json"} <= spoilt


def test_a_task_whose_upload_fails_is_done_by_the_next_run(place: Place, source: Path, relay: Relay) -> None:
    """A shard that the store never takes fails its task alone, and there is no manifest until a later run."""
    relay.spoil = lambda request: 503 if request.name.endswith("00001.tar") else None
    with pytest.raises((PartialError, Throttled)):
        place.gather("one", source)
    contents = place.contents()
    assert "manifest.json" not in contents
    assert {name for name in contents if name.endswith(".tar")} == {"00000.tar", "00002.tar"}
    relay.spoil = lambda request: None
    assert place.gather("two", source).manifests["out"].samples == 9


def test_refused(place: Place, source: Path, relay: Relay) -> None:
    """Keys that may not read the bucket end the run before any picture is asked for."""
    relay.spoil, relay.error_code = lambda request: 403, "AccessDenied"
    with pytest.raises(Refused, match="s3://"):
        place.gather("one", source)


def test_parts_without_a_shared_disk(place: Place, source: Path, host: PicturesHost) -> None:
    """Two parts on two machines; the one that is done last publishes, and no row is asked for twice."""
    run(source, place.folder / "disk" / "out")
    host.asked.clear()
    assert place.gather("one", source, part="0/2").manifests == {}
    assert "manifest.json" not in place.contents()
    assert place.gather("two", source, part="1/2").manifests["out"].samples == 9
    same(place.contents(), place.folder / "disk" / "out")
    assert {count for path, count in host.asked.items() if path.endswith(".jpg")} == {1}


def test_lists_in_a_bucket(place: Place, source: Path, relay: Relay) -> None:
    """Lists may lie in a bucket, too: in a folder of it."""
    run(source, place.folder / "disk" / "out")
    above = f"s3://{BUCKET}/{place.folder.name}/lists"
    open_objects(above, keys(relay.target, place.folder)).put_file("list.jsonl", source)
    assert place.gather("one", above).manifests["out"].samples == 9
    same(place.contents(), place.folder / "disk" / "out")


def test_a_retry_on_another_machine(place: Place, host: PicturesHost, tmp_path: Path) -> None:
    """Rows that failed are asked for again by a machine that has neither lists nor tables."""
    source = write_list(tmp_path / "list.jsonl", rows_of(host, "good", "busy", "good", "good", "good"))
    assert place.gather("one", source).manifests["out"].samples == 4

    async def good(asked: Asked) -> None:
        await asked.answer(picture(1))

    host.moods["busy"] = good
    first = place.contents()
    summary = place.gather("two", again=True)
    assert summary.manifests["out"].samples == 5
    contents = place.contents()
    assert all(contents[name] == first[name] for name in first if name.endswith(".tar"))
    assert [name for name in contents if name.endswith(".tar")] == ["00000.tar", "00001.tar", "00002.tar"]
    assert place.gather("three", again=True).finished == 0


def test_the_loader_reads_it(
    place: Place, source: Path, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was gathered into a public bucket is a dataset by its address."""
    place.gather("one", source)
    run(source, place.folder / "disk" / "out")
    monkeypatch.setenv("AWS_ENDPOINT_URL", relay.target)
    monkeypatch.setenv("G3M_CACHE", str(place.folder / "cache"))
    with g3m.dataset(place.address) as remote, g3m.dataset(str(place.folder / "disk" / "out")) as local:
        assert len(remote) == len(local) == 9
        assert [(one.key, one.text, bytes(one.image)) for one in remote] == [
            (one.key, one.text, bytes(one.image)) for one in local
        ]


DRIVER = """
import sys
from pathlib import Path
from tests.runners.test_gather_bucket import Place
from tests.bucket_host import Relay
address, url, folder, source = sys.argv[1:]
Place(address, Relay(url, url=url), Path(folder)).gather("killed", source)
"""


@pytest.mark.parametrize("when", ["00001.tar", "00001.tar.json", "manifest.json"])
def test_a_killed_machine(place: Place, source: Path, relay: Relay, host: PicturesHost, when: str) -> None:
    """Killed in the middle of a PUT, a machine leaves nothing of it; another one does what is left, and only that."""
    run(source, place.folder / "disk" / "out")
    host.asked.clear()
    reached: list[Request] = []

    def spoil(request: Request) -> str | None:
        if request.method == "PUT" and request.name.endswith(when):
            reached.append(request)
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            return "reset"
        return None

    relay.spoil = spoil
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, place.address, relay.url, str(place.folder), str(source)]
    )
    deadline_s = time.monotonic() + 120
    while not reached and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    relay.spoil = lambda request: None
    contents = place.contents()
    assert when not in {name.rpartition("/")[2] for name in contents}
    done = {name for name in contents if name.endswith(".tar.json")}
    before = Counter(host.asked)
    summary = place.gather("two", source)
    assert summary.manifests["out"].samples == 9
    same(place.contents(), place.folder / "disk" / "out")
    rows = {path: count for path, count in (Counter(host.asked) - before).items() if path.endswith(".jpg")}
    sizes = {"00000": 4, "00001": 4, "00002": 2}
    left = [rows for name, rows in sizes.items() if f".g3m/receipts/out/{name}.tar.json" not in done]
    assert sum(rows.values()) == sum(left)
