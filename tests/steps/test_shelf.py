"""steps/shelf.py: what a task made is in the bucket once and right, whoever else writes there and whatever breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.bucket_host import (
    BUCKET,
    Relay,
    Request,
    keys,
    make_bucket,
    relay_to,
    s3_server,
    without_variables,
)

from g3m.adapters.objects import Objects, open_objects
from g3m.adapters.ports import Shelf
from g3m.adapters.session import Session
from g3m.core.errors import Interrupted, Missing, Replaced, Throttled, UsageError
from g3m.runners.run import make_session
from g3m.steps import shelf as module
from g3m.steps.shelf import fetch_lists, shelved, stubborn

SHARD = random.Random(3).randbytes(400_000)
RECEIPT = ".g3m/receipts/mine/00000.tar.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server."""
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def relay(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay before it; no variable of the machine plays a part."""
    without_variables(monkeypatch)
    with relay_to(server) as relay:
        yield relay


@dataclass
class Clock:
    """A clock that goes only when somebody waits."""

    now_s: float = 0.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Machine:
    """A machine with a disk of its own, and its shelf."""

    session: Session
    clock: Clock = field(default_factory=Clock)

    @property
    def shelf(self) -> Shelf:
        assert self.session.shelf is not None
        return self.session.shelf

    @property
    def root(self) -> Path:
        return self.session.store.root

    def make(self, shard: bytes = SHARD, table: bytes = b"table") -> dict[str, Path]:
        """What a task leaves: its shard in the making, a table and an index."""
        self.session.store.prepare()
        files = {
            "00000.tar": self.session.store.part("x.making"),
            "00000.parquet": self.session.store.part("table.making"),
            ".g3m/receipts/mine/00000.tar.index": self.root / ".g3m/receipts/mine/00000.tar.index",
        }
        for path, content in zip(files.values(), (shard, table, b"index of " + table), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return files

    def deliver(self, shard: bytes = SHARD, table: bytes = b"table") -> str:
        text = json.dumps({"size": len(shard), "by": table.decode()})
        return self.shelf.deliver(self.make(shard, table), RECEIPT, text)

    def write_receipt(self, text: str) -> Path:
        path = self.root / RECEIPT
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


Start = Callable[[str], Machine]


@pytest.fixture
def start(relay: Relay, tmp_path: Path) -> Start:
    """Starts machines that share nothing but the bucket."""

    def started(name: str) -> Machine:
        session = make_session({"root": str(tmp_path / name)}, keys(relay.url, tmp_path))
        clock = Clock()
        session = replace(session, monotonic=clock.now, sleep=clock.sleep, jitter=lambda: 1.0)
        return Machine(shelved(f"s3://{BUCKET}/{tmp_path.name}/mine", session), clock)

    return started


@pytest.fixture
def objects(relay: Relay, tmp_path: Path) -> Objects:
    """The bucket as somebody else sees it."""
    return open_objects(f"s3://{BUCKET}/{tmp_path.name}/mine", keys(relay.target, tmp_path))


def test_everything_by_one_put_the_receipt_last(start: Start, relay: Relay, objects: Objects) -> None:
    """Four PUTs in order and one look; the receipt names size and tag of the others."""
    machine = start("one")
    text = machine.deliver()
    assert [request.name.rpartition("/mine/")[2].rpartition("/")[2] or "-" for request in relay.seen] == [
        "00000.tar",
        "00000.parquet",
        "00000.tar.index",
        "00000.tar",
        "00000.tar.json",
    ]
    assert [request.method for request in relay.seen] == ["PUT", "PUT", "PUT", "HEAD", "PUT"]
    body = json.loads(objects.get_bytes(RECEIPT))
    assert body == json.loads(text)
    assert body["size"] == len(SHARD)
    assert body["objects"] == {
        item.name: [item.size_bytes, item.tag] for item in objects.list() if item.name != RECEIPT
    }
    assert objects.get_bytes("00000.tar") == SHARD
    assert machine.shelf.size_bytes("00000.tar") == len(SHARD)
    assert machine.shelf.size_bytes("00001.tar") is None
    assert repr(machine.shelf) == f"<g3m shelf at {machine.shelf.address}>"


def test_busy_reset_and_lost_answers(start: Start, relay: Relay, objects: Objects) -> None:
    """After a 503, a reset within the body and an answer that never came, all is there once, without a long wait."""
    machine = start("one")
    faults = iter([503, "reset", "lost"])

    def spoil(request: Request) -> str | int | None:
        at_head = not request.body and request.name.endswith("00000.tar")
        return next(faults, None) if request.method == "PUT" and at_head else None

    relay.spoil = spoil
    text = machine.deliver()
    assert objects.get_bytes("00000.tar") == SHARD
    assert json.loads(objects.get_bytes(RECEIPT)) == json.loads(text)
    assert relay.count("PUT", "00000.tar") == 4  # the last is refused: what it would write is there
    assert relay.count("PUT", RECEIPT) == 1
    assert machine.clock.now_s < module.OTHER_WAIT_S


def test_a_store_that_stays_busy(start: Start, relay: Relay, objects: Objects) -> None:
    """It is asked a bounded number of times, and there is no receipt."""
    machine = start("one")
    relay.spoil = lambda request: 503 if request.name.endswith(".parquet") else None
    with pytest.raises(Throttled):
        machine.deliver()
    assert relay.count("PUT", ".parquet") == module.PATIENCE.throttled_attempts
    assert objects.look(RECEIPT) is None


def test_a_stop_ends_the_waiting(start: Start, relay: Relay) -> None:
    """Whoever asks to stop does not wait for a busy store."""
    machine = start("one")
    relay.spoil = lambda request: machine.session.stop.set() or 503
    with pytest.raises(Interrupted):
        machine.deliver()
    assert len(relay.seen) == 1


def test_what_a_killed_run_left_is_replaced(start: Start, objects: Objects) -> None:
    """A shard without a receipt is written over: at once if it was listed, else after waiting for its maker."""
    for name, pulls in (("listed", True), ("unlisted", False)):
        objects.put_bytes("00000.tar", b"left by a killed run " + name.encode())
        objects.remove(RECEIPT)
        machine = start(name)
        if pulls:
            machine.shelf.pull("mine")
        machine.deliver(SHARD, name.encode())
        assert objects.get_bytes("00000.tar") == SHARD
        assert json.loads(objects.get_bytes(RECEIPT))["by"] == name
        assert (machine.clock.now_s >= module.OTHER_WAIT_S) is not pulls


def test_the_second_machine_takes_the_receipt_of_the_first(start: Start, objects: Objects) -> None:
    """Of two machines that make one task, the first one's objects stand, and both have its receipt."""
    first, second = start("one"), start("two")
    theirs = first.deliver(SHARD, b"first")
    assert second.deliver(SHARD[::-1], b"second") == theirs
    assert objects.get_bytes("00000.tar") == SHARD
    assert objects.get_bytes("00000.parquet") == b"first"
    assert second.shelf.size_bytes("00000.parquet") == len(b"first")
    assert second.shelf.fetch(".g3m/receipts/mine/00000.tar.index").read_bytes() == b"index of first"


def test_the_first_machine_may_be_slow(start: Start, relay: Relay, objects: Objects) -> None:
    """Where a shard is there and its receipt is on the way, it is waited for."""
    first, second = start("one"), start("two")
    answers: list[str] = []

    def spoil(request: Request) -> None:
        # The first machine has put its shard; the second comes in between.
        if request.method == "PUT" and request.name.endswith(".parquet") and not answers:
            answers.append("")
            relay.spoil = lambda request: finish(request)
            answers[0] = second.deliver(SHARD[::-1], b"second")

    def finish(request: Request) -> None:
        if request.method == "GET" and relay.count("GET", ".json") == 3:
            tag = objects.look("00000.tar")
            assert tag is not None
            body = {"by": "first", "objects": {"00000.tar": [len(SHARD), tag.tag]}}
            objects.put_bytes(RECEIPT, json.dumps(body).encode())

    relay.spoil = spoil
    first.deliver(SHARD, b"first")
    assert json.loads(answers[0])["by"] == "first"
    assert objects.get_bytes("00000.tar") == SHARD
    assert 0 < second.clock.now_s < module.OTHER_WAIT_S


def test_a_store_without_conditions(start: Start, relay: Relay, objects: Objects) -> None:
    """A store that refuses conditions is asked without them from then on."""
    machine = start("one")
    relay.error_code = "NotImplemented"
    relay.spoil = lambda request: 501 if "if-none-match" in request.headers else None
    machine.deliver()
    machine.deliver(SHARD[::-1])
    assert objects.get_bytes("00000.tar") == SHARD[::-1]
    assert sum("if-none-match" in request.headers for request in relay.seen) == 1


def test_a_store_that_ignores_conditions(start: Start, relay: Relay, objects: Objects) -> None:
    """Whose shard was written over sees it before its receipt, and takes that of the other."""
    first, second = start("one"), start("two")
    relay.drop_conditions = True
    theirs: list[str] = []

    def spoil(request: Request) -> None:
        if request.method == "PUT" and request.name.endswith(".index") and not theirs:
            theirs.append("")
            theirs[0] = second.deliver(SHARD[::-1], b"second")

    relay.spoil = spoil
    assert first.deliver(SHARD, b"first") == theirs[0]
    assert objects.get_bytes("00000.tar") == SHARD[::-1]
    assert json.loads(objects.get_bytes(RECEIPT))["by"] == "second"


def test_machines_that_never_agree(start: Start, relay: Relay, objects: Objects) -> None:
    """A shard that is written again and again by others is an error in the end, not an endless loop."""
    machine = start("one")

    def spoil(request: Request) -> None:
        if request.method == "HEAD" and request.name.endswith("00000.tar"):
            objects.put_bytes("00000.tar", random.randbytes(9))

    relay.spoil = spoil
    with pytest.raises(Replaced):
        machine.deliver()
    assert objects.look(RECEIPT) is None


def test_pull_brings_what_others_did(start: Start, relay: Relay, objects: Objects) -> None:
    """Receipts, plans and the manifest come; shards and tables do not; a second pull fetches nothing."""
    text = start("one").deliver()
    objects.put_bytes(".g3m/plan/mine.samples", b"lines")
    objects.put_bytes(".g3m/plan/other.samples", b"of another")
    objects.put_bytes("manifest.json", b"{}")
    machine = start("two")
    machine.shelf.pull("mine")
    assert (machine.root / RECEIPT).read_text() == text
    found = {path.relative_to(machine.root).as_posix() for path in machine.root.rglob("*") if path.is_file()}
    assert found == {RECEIPT, ".g3m/plan/mine.samples", "manifest.json"}
    before = relay.count("GET", ".json")
    machine.shelf.pull("mine")
    assert relay.count("GET", ".json") == before
    machine.shelf.pull("")
    assert (machine.root / ".g3m/plan/other.samples").read_bytes() == b"of another"


@pytest.mark.parametrize("name", ["00000.tar", "00000.parquet", ".g3m/receipts/mine/00000.tar.index"])
@pytest.mark.parametrize("change", ["other bytes", "gone"])
def test_a_receipt_counts_with_its_objects_only(
    start: Start, objects: Objects, name: str, change: str
) -> None:
    """A receipt whose shard, table or index is not the one that it names is dropped, here and elsewhere."""
    first, second = start("one"), start("two")
    first.write_receipt(first.deliver())
    size = first.shelf.size_bytes(name)
    assert size is not None
    if change == "gone":
        objects.remove(name)
    else:
        objects.put_bytes(name, bytes(size))
    for machine in (first, second):
        machine.shelf.pull("mine")
        assert not (machine.root / RECEIPT).exists()


def test_receipts_that_the_bucket_has_not(start: Start, objects: Objects) -> None:
    """What was believed here and is not in the bucket any more is dropped; so is what is no receipt of a shelf."""
    machine = start("one")
    path = machine.write_receipt(machine.deliver())
    manifest = machine.root / "manifest.json"
    manifest.write_text("{}")
    objects.remove(RECEIPT)
    machine.shelf.pull("mine")
    assert not path.exists()
    assert not manifest.exists()
    for text in (b"{}", b"no json", b'{"objects": []}', b'{"objects": {"00000.tar": 3}}', b'{"objects": {}}'):
        objects.put_bytes(RECEIPT, text)
        machine.shelf.pull("mine")
        assert not path.exists()


@pytest.mark.parametrize("who", ["a thread", "a process"])
def test_a_receipt_that_is_written_during_a_pull_stays(start: Start, relay: Relay, who: str) -> None:
    """Others on this machine may deliver while the bucket is listed: what they wrote is not taken for old."""
    machine = start("one")
    other = machine
    if who == "a process":  # with the same folder, and a shelf of its own
        other = Machine(shelved(machine.shelf.address, machine.session, machine.root))
    listed: list[Request] = []

    def answered(request: Request) -> None:
        if request.method == "GET" and not listed:
            listed.append(request)
            machine.write_receipt(other.deliver())

    relay.answered = answered
    machine.shelf.pull("mine")
    assert (machine.root / RECEIPT).is_file()
    assert other.shelf.size_bytes("00000.tar") == len(SHARD)
    machine.shelf.pull("mine")
    assert (machine.root / RECEIPT).is_file()


def test_an_index_is_that_of_the_receipt(start: Start) -> None:
    """Where another machine's receipt replaces ours, our index goes, and its own is fetched when it is needed."""
    first, second = start("one"), start("two")
    first.write_receipt(first.deliver(SHARD, b"older"))
    second.shelf.pull("mine")
    second.deliver(SHARD[::-1], b"newer")
    first.shelf.pull("mine")
    index = first.root / ".g3m/receipts/mine/00000.tar.index"
    assert not index.exists()
    assert first.shelf.fetch(".g3m/receipts/mine/00000.tar.index").read_bytes() == b"index of newer"
    with pytest.raises(Missing):
        first.shelf.fetch("00009.tar")


def test_place_keeps_the_order(start: Start, relay: Relay) -> None:
    """Small files are put in the order given, so that the last one says that all are there."""
    machine = start("one")
    machine.root.mkdir(parents=True)
    for name in ("b", "a", "c"):
        (machine.root / name).write_text(name)
    machine.shelf.place(["b", "a", "c"])
    assert [request.name[-1] for request in relay.seen if request.method == "PUT"] == ["b", "a", "c"]
    assert machine.shelf.size_bytes("a") == 1


def test_the_folder_of_a_shelf(relay: Relay, tmp_path: Path) -> None:
    """Each address has a folder of its own below the root, called as the dataset; or it is told."""
    session = make_session({"root": str(tmp_path / "root")}, keys(relay.url, tmp_path))
    one, two = (shelved(f"s3://{BUCKET}/{name}/mine", session).store.root for name in "ab")
    assert one != two
    assert one.name == two.name == "mine"
    assert one.is_relative_to(tmp_path / "root" / ".g3m" / "shelf")
    assert shelved(f"s3://{BUCKET}", session).store.root.name == BUCKET
    assert shelved(f"s3://{BUCKET}/a", session, tmp_path / "here").store.root == tmp_path / "here"
    assert relay.seen == []
    with pytest.raises(UsageError):
        shelved("s3://", session)


def test_lists_of_a_bucket(start: Start, relay: Relay, tmp_path: Path) -> None:
    """A folder's lists come by name, or the one that is named; what is here stays until it changes there."""
    machine = start("one")
    above = f"s3://{BUCKET}/{tmp_path.name}-lists"
    lists = open_objects(above, keys(relay.target, tmp_path))
    for name in ("b.jsonl", "a.csv.gz", "deep/c.parquet", "README.md", "_SUCCESS", ".hidden/d.csv"):
        lists.put_bytes(name, name.encode())
    paths = fetch_lists(f"{above}/", machine.session)
    assert [path.read_text() for path in paths] == ["a.csv.gz", "b.jsonl", "deep/c.parquet"]
    assert all(path.is_relative_to(machine.session.store.work) for path in paths)
    before = relay.count("GET", ".jsonl")
    assert fetch_lists(above, machine.session) == paths
    assert relay.count("GET", ".jsonl") == before
    lists.put_bytes("b.jsonl", b"changed")
    assert fetch_lists(above, machine.session)[1].read_text() == "changed"
    [single] = fetch_lists(f"{above}/b.jsonl", machine.session)
    assert single.read_text() == "changed"
    for none in (f"{above}/nothing", f"{above}/deep/c.csv"):
        with pytest.raises(Missing, match="no list"):
            fetch_lists(none, machine.session)


def test_lists_of_an_empty_bucket(start: Start, relay: Relay) -> None:
    """A bucket without lists is an error that says what is looked for."""
    make_bucket(relay.target, "hollow")
    with pytest.raises(Missing) as error:
        fetch_lists("s3://hollow", start("one").session)
    assert "parquet" in error.value.hint[0]


def test_what_cannot_get_better_is_not_tried_again(start: Start) -> None:
    """Only what time may heal is asked for again."""
    asked: list[int] = []

    def missing() -> None:
        asked.append(1)
        raise Missing("not there")

    with pytest.raises(Missing):
        stubborn(missing, start("one").session)
    assert asked == [1]
