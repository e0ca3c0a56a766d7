"""runners/ray.py on a real cluster of processes: a head without cores and two nodes, all on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from tests.bucket_host import BUCKET, keys, relay_to, s3_server
from tests.pictures_host import pictures_host
from tests.runners.lists import rows_of, write_list
from tests.runners.lists import run as run_here
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe

import g3m
from g3m.adapters.objects import open_objects
from g3m.adapters.session import Session
from g3m.core.errors import Interrupted, NotVerified, SettingsError, Unreachable, UsageError
from g3m.core.events import Event, Noted, Progressed, TaskFailed, TaskFinished, TaskStarted
from g3m.core.gathering import Columns, gathering_for
from g3m.core.plan import Plan
from g3m.runners.base import Summary
from g3m.runners.gather import gather, gather_in
from g3m.runners.gather import plan_in as gather_plan
from g3m.runners.pack import cut_at, pack_in, plan_in
from g3m.runners.run import Report, make_session, verify_in
from g3m.steps.examine import Examined, pieces
from g3m.steps.pack import read_shard_receipt
from g3m.ui.cli import cli

pytestmark = [
    # What Ray itself does not close when it disconnects.
    pytest.mark.filterwarnings("ignore::ResourceWarning:ray"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:ray"),
]

SHARDS, SAMPLES = 6, 6
STORE = {"object_store_memory": 80_000_000, "node_ip_address": "127.0.0.2"}
"""Not 127.0.0.1: whoever connects to that is sent to the address of the network card."""
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 6,
    "health_check_timeout_ms": 60_000,
}
"""A node whose process has ended refuses six times in three seconds; one that is slow to answer is not dead."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs no tasks, and one node of two cores; more are added by who kills them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        before = engine_processes()
        made = Cluster()
        try:
            made.add_node(num_cpus=0, include_dashboard=False, _system_config=HEALTH, **STORE)
            made.add_node(num_cpus=2, **STORE)
            made.connect()
            yield made
        finally:
            importlib.import_module("ray").shutdown()
            made.shutdown()
            deadline_s = time.monotonic() + 30
            while (left := engine_processes() - before) and time.monotonic() < deadline_s:
                time.sleep(0.05)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert not left, "the cluster's processes must end with it"


def engine_processes() -> set[int]:
    """The processes of Ray below this one."""
    found, above = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            number = int(folder.name)
            above[number] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found[number] = (folder / "cmdline").read_bytes()
    own = {os.getpid()}
    for _ in range(8):
        own |= {number for number, parent in above.items() if parent in own}
    return {number for number in own - {os.getpid()} if b"ray" in found.get(number, b"").lower()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ready shards of drawn pictures."""
    folder = tmp_path_factory.mktemp("ready")
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as archive:
            for place in range(SAMPLES):
                file = io.BytesIO()
                Image.effect_noise((96, 64), 40 + place).convert("RGB").save(file, "JPEG")
                for extension, data in (("jpg", file.getvalue()), ("txt", f"{shard} {place}".encode())):
                    member = tarfile.TarInfo(f"{shard}_{place}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return folder


class Job:
    """One `g3m pack` on the cluster, and all that was told of it."""

    def __init__(self, source: Path, to: Path, **options: object) -> None:
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda _: None
        session = make_session({"root": str(to), "image_size": 48, **options}, {})
        self.to = to
        self.plan: Plan
        self.session: Session
        self.plan, self.session = plan_in([str(source)], to, cut_at(0, ""), session)

    def run(self) -> Summary:
        return pack_in(self.plan, self.session, [self._take])

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def packed(self, kind: type[Event] = TaskFinished) -> list[str]:
        return [event.task for event in self.of(kind) if event.kind == "pack"]

    def files(self) -> dict[str, str]:
        """Digests of all that a reader sees."""
        found = sorted(path for path in self.to.rglob("*") if path.is_file() and ".g3m" not in path.parts)
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def receipts(self) -> int:
        dataset = self.plan.datasets[0]
        names = [f"{shard:05d}.tar" for shard in range(SHARDS)]
        return sum(read_shard_receipt(dataset, name, self.session) is not None for name in names)

    def leftovers(self) -> list[str]:
        return [path.name for path in self.to.rglob("*") if path.suffix in (".making", ".tmp")]


@pytest.fixture(scope="module")
def here(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What this machine makes of the source by itself, in a folder of the same name."""
    job = Job(source, tmp_path_factory.mktemp("local") / "mine")
    job.run()
    return job.files()


@pytest.fixture
def job(cluster: Any, source: Path, tmp_path: Path) -> Job:
    return Job(source, tmp_path / "mine", runner="ray", address=cluster.address)


class Hold:
    """Tasks on the cluster say who they are and wait behind their first report, until they are let go."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, from_shard: int = 0) -> None:
        module = importlib.import_module("g3m.runners.ray")
        self._gate, self._pids, work = folder / "gate", folder / "pids", module._work
        self._pids.mkdir()
        self._gate.touch()
        monkeypatch.setattr(module, "_work", held(work, str(self._gate), str(self._pids), from_shard))

    def let_go(self) -> None:
        self._gate.unlink()

    def pid(self, task: str) -> int:
        return int((self._pids / task.replace("/", "_")).read_text())


def held(work: Any, gate: str, pids: str, from_shard: int) -> Any:
    """Pickled by value, because it is made in a function: workers need not find the tests."""

    def waiting(errand: Any, order: Any, rung: Any) -> Any:
        import os
        import time

        with open(os.path.join(pids, order.task.id.replace("/", "_")), "w") as file:
            file.write(str(os.getpid()))
        for batch in work(errand, order, rung):
            yield batch
            while int(order.task.shard[:5]) >= from_shard and os.path.exists(gate):
                time.sleep(0.02)

    return waiting


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hold:
    return Hold(tmp_path, monkeypatch)


def test_the_cluster_makes_the_same_bytes(job: Job, here: dict[str, str]) -> None:
    """Shards, index, manifest: equal to those of one machine; every task is told of once, in order."""
    summary = job.run()
    assert job.files() == here
    assert summary.samples == SHARDS * SAMPLES
    assert sorted(job.packed(TaskStarted)) == sorted(job.packed()) == sorted(set(job.packed()))
    assert len(job.packed()) == SHARDS
    for name in job.packed():
        own = [event for event in job.events if event.task == name]
        assert isinstance(own[0], TaskStarted)
        assert isinstance(own[-1], TaskFinished)
    assert not job.leftovers()


def test_again_does_nothing(job: Job) -> None:
    """A second run finds the manifest and does not even ask for the cluster."""
    job.run()
    job.events.clear()
    job.run()
    assert not job.events


def test_a_node_dies(cluster: Any, job: Job, hold: Hold, here: dict[str, str]) -> None:
    """With its tasks in the middle: they are handed out again at once, and every shard is there once."""
    node = cluster.add_node(num_cpus=2, **STORE)

    def kill(event: Event) -> None:
        if len(job.packed(TaskStarted)) == 4 and isinstance(event, TaskStarted) and event.kind == "pack":
            cluster.remove_node(node, allow_graceful=False)
            # Its workers outlive it for a moment, in which such a small task would be done.
            pids = [hold.pid(task) for task in job.packed(TaskStarted)]
            comes_true(lambda: sum(map(is_running, pids)) <= 2)
            hold.let_go()

    job.on_event = kill
    summary = job.run()
    lost = [event for event in job.of(Noted) if "handed out again" in event.text]
    assert len(lost) == 2, "two cores, two tasks"
    assert job.files() == here
    assert sorted(job.packed()) == sorted(set(job.packed()))
    assert summary.samples == SHARDS * SAMPLES
    assert not job.of(TaskFailed)
    assert not job.leftovers()


def comes_true(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, for a minute at most."""
    deadline_s = time.monotonic() + 60
    while not (is_true := condition()) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return is_true


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended; its parent may not have heard of the end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_is_killed(job: Job, hold: Hold, here: dict[str, str]) -> None:
    """What the system's out-of-memory killer does costs one task its beginning, and nothing else."""

    def kill(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.kind == "pack" and len(job.packed(TaskStarted)) == 2:
            os.kill(hold.pid(event.task), signal.SIGKILL)
            hold.let_go()

    job.on_event = kill
    job.run()
    assert len([event for event in job.of(Noted) if "handed out again" in event.text]) == 1
    assert job.files() == here
    assert len(job.packed()) == SHARDS


def test_a_receipt_counts_and_not_the_last_report(
    job: Job, here: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies behind its receipt has done its task: it is told as done, and not done again."""
    module = importlib.import_module("g3m.runners.ray")
    monkeypatch.setattr(module, "_work", mute(module._work))
    summary = job.run()
    assert job.files() == here
    assert sorted(job.packed()) == sorted(set(job.packed()))
    assert len(job.packed()) == SHARDS
    assert summary.samples == SHARDS * SAMPLES
    assert not [event for event in job.of(Noted) if "handed out" in event.text]


def mute(work: Any) -> Any:
    """Ends the worker in place of its last report."""

    def dying(errand: Any, order: Any, rung: Any) -> Any:
        import os

        for batch in work(errand, order, rung):
            if batch[-1] is None:
                os._exit(1)
            yield batch

    return dying


def test_a_task_that_kills_its_workers(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is handed out a bounded number of times, then it has failed; the others are done, and a run ends it."""
    module = importlib.import_module("g3m.runners.ray")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_work", deadly(module._work))
        patch.setattr(module, "LOSSES", 1)
        with pytest.raises(Unreachable, match=r"pack/mine/00003.tar: its worker was lost"):
            job.run()
    assert job.receipts() == SHARDS - 1
    assert len(job.of(TaskFailed)) == 2, "once, and once more at the end"
    job.events.clear()
    job.run()
    assert job.packed() == ["pack/mine/00003.tar"]
    assert not job.leftovers()


def deadly(work: Any) -> Any:
    def dying(errand: Any, order: Any, rung: Any) -> Any:
        import os

        for batch in work(errand, order, rung):
            if order.task.shard == "00003.tar":
                os._exit(1)
            yield batch

    return dying


def test_gathering_spreads(cluster: Any, tmp_path: Path) -> None:
    """Rows of a list, four tasks: the same shards as from one machine, and a host sees its limit divided."""
    with pictures_host() as host:
        rows = [{"url": host.url(f"good/{number}.jpg"), "caption": str(number)} for number in range(40)]
        pairs = tmp_path / "pairs.jsonl"
        pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
        common: dict[str, Any] = {"task_rows": 10, "allow_private": True, "per_host": 8}
        one = gather(pairs, tmp_path / "one" / "mine", **common).manifests["mine"]
        host.most_at_once = 0
        many = gather(pairs, tmp_path / "many" / "mine", runner="ray", **common).manifests["mine"]
        assert host.most_at_once <= 8
    assert [shard.sha256 for shard in one.shards] == [shard.sha256 for shard in many.shards]
    assert sum(shard.samples for shard in many.shards) == 40


def test_stopped_in_good_order(job: Job, hold: Hold, here: dict[str, str]) -> None:
    """A request to stop reaches the workers; what is done is kept, and the next run goes on."""

    def stop(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.kind == "pack" and not job.session.stop.is_set():
            job.session.stop.set()
            hold.let_go()

    job.on_event = stop
    with pytest.raises(Interrupted):
        job.run()
    assert not job.leftovers()
    assert not job.of(TaskFailed)
    assert job.receipts() < SHARDS
    job.on_event = lambda _: None
    job.session.stop.clear()
    job.run()
    assert job.files() == here


DRIVER = """
import json, sys
from pathlib import Path
from g3m.core.events import to_dict
from tests.runners.test_ray import Hold, Job
import pytest
source, to, address, folder = sys.argv[1:]
if __name__ == "__main__":
    Hold(Path(folder), pytest.MonkeyPatch(), from_shard=3)
    job = Job(Path(source), Path(to), runner="ray", address=address)
    job.on_event = lambda event: print(json.dumps(to_dict(event)), flush=True)
    job.run()
"""


def test_the_run_itself_is_killed(
    cluster: Any, source: Path, job: Job, tmp_path: Path, here: dict[str, str]
) -> None:
    """Its workers end with it; the next run does what has no receipt, and nothing twice."""
    held_folder = tmp_path / "held"
    held_folder.mkdir()
    command = [sys.executable, "-c", DRIVER, str(source), str(job.to), cluster.address, str(held_folder)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    done: set[str] = set()
    with driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "TaskFinished" and event["kind"] == "pack":
                done.add(event["task"])
            if len(done) == 3:
                driver.kill()
                break
    (held_folder / "gate").unlink()
    job.run()
    assert sorted([*done, *job.packed()]) == [f"pack/mine/{number:05d}.tar" for number in range(SHARDS)]
    assert job.files() == here


def test_get_spreads(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Hold) -> None:
    """A recipe over archives: fetched and arranged here, packed there, published here; the same bytes."""
    hold.let_go()
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 3)
    recipe, archive = drawn(tmp_path)
    one = make(recipe, archive, root=tmp_path / "one" / "data", image_size=4)
    many = make(recipe, archive, root=tmp_path / "many" / "data", image_size=4, runner="ray")
    assert len(one.manifest.shards) == 5
    assert files_of(one.folder) == files_of(many.folder)
    done = [event for event in many.events if isinstance(event, TaskFinished)]
    assert all(hold.pid(event.task) != os.getpid() for event in done if event.kind == "pack")
    kinds = Counter(event.kind for event in done)
    assert kinds == {"fetch": 1, "arrange": 1, "pack": 5, "publish": 1}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def drawn(folder: Path) -> tuple[Path, Path]:
    """A recipe and its archive: twelve pictures, some equal, some grey, one cut."""
    files: dict[str, bytes] = {}
    for number in range(12):
        file = io.BytesIO()
        mode = "L" if number % 5 == 1 else "RGB"
        Image.effect_noise((24, 16), number % 7 + 1).convert(mode).save(file, "JPEG")
        files[f"k{number:02d}.jpg"] = file.getvalue()
        files[f"k{number:02d}.txt"] = b"words"
    files["k11.jpg"] = files["k05.jpg"] = files["k00.jpg"]
    files["k09.jpg"] = files["k09.jpg"][:-40]
    archive = zip_of(folder / "source" / "heap.zip", files)
    return my_recipe(
        folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name}
    ), archive


def test_gathering_spreads_into_a_bucket(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Hold
) -> None:
    """Workers put every object there once, the manifest last, and what lies there is what a disk would hold."""
    hold.let_go()
    with s3_server(tmp_path) as server, relay_to(server) as relay, pictures_host() as host:
        for name in [
            name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")
        ]:
            monkeypatch.delenv(name)
        module = importlib.import_module("g3m.runners.ray")
        monkeypatch.setattr(module, "_work", with_variables(module._work, keys(relay.url, tmp_path)))
        source = write_list(tmp_path / "list.jsonl", rows_of(host, *["good"] * 3, "missing", *["good"] * 8))
        disk = tmp_path / "disk" / "out"
        assert run_here(source, disk).manifest.samples == 11
        address = f"s3://{BUCKET}/{tmp_path.name}/out"
        options: dict[str, Any] = {"allow_private": True, "runner": "ray", "root": str(tmp_path / "root")}
        session = make_session(options, keys(relay.url, tmp_path))
        wish = gathering_for(Columns(), session.settings, 4)
        events: list[Event] = []
        summary = gather_in(*gather_plan([str(source)], address, wish, session), [events.append])
        objects = open_objects(address, keys(server, tmp_path))
        contents = {item.name: objects.get_bytes(item.name) for item in objects.list()}
        puts = [request.name for request in relay.seen if request.method == "PUT"]
    assert summary.samples == 11
    files = {path.name: path.read_bytes() for path in disk.iterdir() if path.name.endswith((".tar", ".bin"))}
    assert len(files) == 4
    assert {name: contents.get(name) for name in files} == files
    assert {name for name in contents if name.endswith(".tar")} == {
        name for name in files if name != "index.bin"
    }
    assert puts[-1].endswith("manifest.json")
    assert max(Counter(puts).values()) == 1
    packed = [event.task for event in events if isinstance(event, TaskFinished) and event.kind == "pack"]
    assert sorted(packed) == [f"pack/out/{number:05d}.tar" for number in range(3)]
    assert all(hold.pid(task) != os.getpid() for task in packed)
    assert not [path for path in (tmp_path / "root").rglob("*") if path.suffix == ".tar"]


def with_variables(work: Any, variables: dict[str, str]) -> Any:
    """As if each node had been started with these variables."""

    def working(errand: Any, order: Any, rung: Any) -> Any:
        import os

        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        os.environ.update(variables)
        yield from work(errand, order, rung)

    return working


@pytest.fixture
def standing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Twelve samples in seven shards."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
    return make(*drawn(tmp_path))


@dataclass
class Verified:
    """One verification, and all that came of it."""

    report: Report
    events: list[Event]
    ledger: bytes

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Noted)]


def verified(
    root: Path, depth: str, *, on_event: Callable[[Event, Session], None] | None = None, **options: object
) -> Verified:
    session = make_session({"root": str(root), **options}, {})
    events: list[Event] = []

    def take(event: Event) -> None:
        events.append(event)
        if on_event is not None:
            on_event(event, session)

    structure, deep = depth == "structure", depth == "deep"
    report = verify_in([], session, [take], structure=structure, deep=deep, repair=False)
    return Verified(report, events, Path(report.path).read_bytes() if report.path else b"")


@pytest.mark.parametrize("is_flipped", [False, True])
def test_verifying_spreads(
    cluster: Any, standing: Made, is_flipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every depth the report, the file of findings and what is told are those of one machine."""
    shards = Shards(tmp_path, monkeypatch, "nothing")
    if is_flipped:
        spoil(standing.folder / "00003.tar", 700)
        (standing.folder / "00001.tar").unlink()
    for depth in ("digests", "structure", "deep"):
        here = verified(standing.root, depth)
        there = verified(standing.root, depth, runner="ray")
        assert there.report == here.report
        assert there.ledger == here.ledger
        assert there.texts == here.texts
        assert not (is_flipped and there.report.ok)
        assert shards.begun() == set(range(7)), "all of them away from here"
        shards.clear()
        ticks = [event for event in there.events if isinstance(event, Progressed)]
        assert ticks[-1].done_bytes == ticks[-1].total_bytes == standing.manifest.size_bytes
        assert [tick.done_bytes for tick in ticks] == sorted(tick.done_bytes for tick in ticks)
    assert there.report.counts["heap"]["duplicate_image"] == (1 if is_flipped else 2)
    assert there.report.looked == {"heap": 10 if is_flipped else 12}
    twin = json.loads(there.ledger.splitlines()[-1])
    assert (twin["shard"], twin["key"], twin["detail"]) == (
        "00006.tar",
        "k11",
        "the same as k00 in 00000.tar",
    )


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_the_command_verifies_on_the_cluster(
    cluster: Any, standing: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`g3m verify --runner ray` ends as without it, also where the root is named from here."""
    spoil(standing.folder / "00002.tar", 150)
    monkeypatch.chdir(standing.root.parent)
    results = []
    for more in ([], ["--runner", "ray"]):
        result = CliRunner().invoke(cli, ["verify", "--root", "data", "--deep", "--json", *more])
        assert isinstance(result.exception, NotVerified)
        lines = result.stdout.splitlines()
        results.append((str(result.exception), lines[-1], Path("data/.g3m/verified.jsonl").read_bytes()))
    assert results[0] == results[1]
    assert b"data/mine/heap/00002.tar: not a sound tar" in results[0][2]


class Shards:
    """What workers do before they examine a shard: each leaves its process number, then something happens."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
        module = importlib.import_module("g3m.runners.ray_verify")
        self._folder = folder / "shards"
        self._folder.mkdir()
        monkeypatch.setattr(module, "_examine", disturbed(module._examine, str(self._folder), what))

    def let_go(self) -> None:
        (self._folder / "gate").touch()

    def begun(self) -> set[int]:
        return {int(path.name) for path in self._folder.glob("[0-9]*")}

    def clear(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()

    def pid(self, number: int) -> int:
        return int((self._folder / str(number)).read_text())


def disturbed(examine: Any, folder: str, what: str) -> Any:
    """Pickled by value, because it is made in a function: workers need not find the tests."""

    def disturbing(piece: Any, *rest: Any) -> Any:
        import os
        import time

        mark, gate = os.path.join(folder, str(piece.number)), os.path.join(folder, "gate")
        is_first = not os.path.exists(mark)
        with open(mark + ".new", "w") as file:
            file.write(str(os.getpid()))
        os.replace(mark + ".new", mark)
        if piece.number == 2 and (what == "always dies" or (what == "dies once" and is_first)):
            os._exit(1)
        while piece.number == 0 and what == "waits" and not os.path.exists(gate):
            time.sleep(0.02)
        return examine(piece, *rest)

    return disturbing


def test_findings_wait_for_their_turn(
    cluster: Any, standing: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first shard is done last of those in hand: the report is the same, and nobody runs far ahead."""
    monkeypatch.setattr("g3m.runners.ray_verify.AHEAD", 1)
    here = verified(standing.root, "structure")
    shards, ahead = Shards(tmp_path, monkeypatch, "waits"), []

    def let_go() -> None:
        ahead.append(shards.begun())
        shards.let_go()

    later = threading.Timer(1, let_go)  # meanwhile another one would begin

    def wait(event: Event, _: Session) -> None:
        done = isinstance(event, Progressed) and event.done_bytes
        if done == sum(shard.size_bytes for shard in standing.manifest.shards[1:4]):
            later.start()

    there = verified(standing.root, "structure", runner="ray", on_event=wait)
    later.join()
    assert there.report == here.report
    assert there.ledger == here.ledger
    assert ahead == [{0, 1, 2, 3}], "two cores: two at work, two that wait"


def test_a_worker_dies_while_verifying(
    cluster: Any, standing: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its shard is handed out again; one that always kills its worker ends the verification, without a file."""
    here = verified(standing.root, "structure")
    with monkeypatch.context() as patch:
        Shards(tmp_path, patch, "dies once")
        there = verified(standing.root, "structure", runner="ray")
    assert there.report == here.report
    assert there.ledger == here.ledger
    again = [text for text in there.texts if "handed out again" in text]
    assert [text for text in there.texts if text not in again] == here.texts
    assert len(again) == 1
    assert again[0].startswith("00002.tar: its worker was lost")
    monkeypatch.setattr("g3m.runners.ray_verify.LOSSES", 1)
    (tmp_path / "more").mkdir()
    Shards(tmp_path / "more", monkeypatch, "always dies")
    with pytest.raises(Unreachable, match=r"heap/00002.tar: its worker was lost"):
        verified(standing.root, "structure", runner="ray")
    assert Path(here.report.path).read_bytes() == here.ledger, "what the last whole one found stays"


def test_a_verification_is_stopped(
    cluster: Any, standing: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to stop is heard though a worker is in the middle of a shard, and that worker ends."""
    shards = Shards(tmp_path, monkeypatch, "waits")

    def stop(event: Event, session: Session) -> None:
        if isinstance(event, Progressed):  # of another shard: the first one waits
            assert comes_true(lambda: 0 in shards.begun())
            session.stop.set()

    with pytest.raises(Interrupted):
        verified(standing.root, "structure", runner="ray", on_event=stop)
    assert comes_true(lambda: not is_running(shards.pid(0)))


def test_a_node_that_cannot_verify(standing: Made, tmp_path: Path) -> None:
    """Another version of g3m, or no shared disk: said as such, and not as missing shards."""
    examine = importlib.import_module("g3m.runners.ray_verify")._examine
    piece = next(pieces(standing.folder, standing.manifest))
    good = examine(piece, "structure", 1, g3m.__version__)
    assert isinstance(good, Examined)
    assert (good.looked, good.damage) == (1, [])
    other = examine(piece, "structure", 1, "0.0.1")
    assert isinstance(other, UsageError)
    assert "0.0.1 where the run began" in other.message
    afar = examine(replace(piece, folder=tmp_path / "afar"), "structure", 1, g3m.__version__)
    assert isinstance(afar, UsageError)
    assert "afar is not there on" in afar.message


def test_secrets_on_the_command_line_are_refused(standing: Made) -> None:
    """Ray keeps the command line of a verification, too."""
    session = make_session({"root": str(standing.root), "runner": "ray", "peer": ["http://u:p@h:1"]}, {})
    origins = {**session.settings.origins, "peer": "command line"}
    session = replace(session, settings=replace(session.settings, origins=origins))
    with pytest.raises(SettingsError, match="peer: may hold a secret"):
        verify_in([], session, [], deep=False, repair=False)


class NoRay:
    """In the place of the package, where no cluster may be asked for."""

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: object) -> None:
        raise AssertionError("somebody listens there")

    def shutdown(self) -> None:
        pass


def test_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said at once, and not after the minute for which Ray tries."""
    module = importlib.import_module("g3m.runners.ray")
    monkeypatch.setattr(module, "load_ray", NoRay)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*silent.getsockname())
        with pytest.raises(Unreachable, match=f"{address}: no Ray cluster"), module.connected(address):
            pass
        silent.listen()
        with pytest.raises(AssertionError, match="somebody listens"), module.connected(address):
            pass
    with pytest.raises(Unreachable), module.connected("127.0.0.1:99999"):
        pass


def test_a_cluster_without_cores_is_told(cluster: Any, standing: Made, source: Path, tmp_path: Path) -> None:
    """Whoever asks for more than any node has is told why nothing begins, once."""
    ray = importlib.import_module("ray")
    module = importlib.import_module("g3m.runners.ray")
    assert module.waiting_note(ray, 2) == ""
    assert "has 3 cores for a task, the most is 2" in module.waiting_note(ray, 3)

    def stop(event: Event, session: Session) -> None:
        if isinstance(event, Noted) and event.text.startswith("no node"):
            session.stop.set()

    with pytest.raises(Interrupted):
        verified(standing.root, "deep", runner="ray", jobs=64, on_event=stop)
    job = Job(source, tmp_path / "mine", runner="ray", jobs=64)
    job.on_event = lambda event: stop(event, job.session)
    with pytest.raises(Interrupted):
        job.run()
    told = [event.text for event in job.of(Noted) if event.text.startswith("no node")]
    assert told == [module.waiting_note(ray, 64)]
