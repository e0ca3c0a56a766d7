"""runners/ray.py on a real cluster of processes: a head without cores and two nodes, all on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.pictures_host import pictures_host

from g3m.adapters.session import Session
from g3m.core.errors import Interrupted, Unreachable
from g3m.core.events import Event, Noted, TaskFailed, TaskFinished, TaskStarted
from g3m.core.plan import Plan
from g3m.runners.base import Summary
from g3m.runners.gather import gather
from g3m.runners.pack import cut_at, pack_in, plan_in
from g3m.runners.run import make_session
from g3m.steps.pack import read_shard_receipt

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
}


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
