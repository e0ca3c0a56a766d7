"""Several commands on one root: whole runs, also where no lease and no lock works, and all others beside them."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.machine.conftest import ALL, NAMED, Place, check_ends_whole, ended
from tests.whole.disk import flip, tree

from g3m.lab.mischief import Trickle

BYTES_PER_S = 1_000_000
BROKEN = "openimages_v7_valid/00001.tar"
DROPPED = "cc3m_valid"


@pytest.mark.parametrize("conditions", ["", "no_lease"])
@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("seed", range(5 if ALL else 1))
def test_runs_at_once_make_what_one_makes(
    seed: int, count: int, conditions: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """With a lease one goes on; without any that works all try: nothing is lost, doubled, mixed or left behind."""
    place.world.origin.mischief("*", Trickle(BYTES_PER_S * (1 + seed)), times=None)
    with ExitStack() as stack:
        line = ("get", "all", "--yes", "--root", str(tmp_path / "root"))
        processes = [stack.enter_context(place.start(*line, conditions=conditions)) for _ in range(count)]
        runs = [ended(process) for process in processes]
    codes = [run.returncode for run in runs]
    assert all(code in NAMED for code in codes), codes
    if not conditions:
        assert 0 in codes, [run.stderr for run in runs]
        assert set(codes) <= {0, 1}, [run.stderr for run in runs]
    place.world.origin.be_honest()
    check_ends_whole(place, tmp_path / "root", tree(undisturbed))


def _finished(place: Place, root: Path) -> None:
    """Everything made, repaired, and rewritten without what was dropped."""
    for line in (("get", "all", "--yes"), ("verify", "--repair"), ("drop", "--rewrite"), ("index",)):
        done = place.run(*line, "--root", str(root))
        assert done.returncode == 0, (line, done.stdout, done.stderr)


@pytest.mark.parametrize("conditions", ["", "no_lease"])
def test_every_command_beside_a_run(conditions: str, place: Place, undisturbed: Path, tmp_path: Path) -> None:
    """Repair, index, export, drop, view and share while a run writes: all end by name, and so does the work."""
    root, begin, keys = tmp_path / "root", tmp_path / "begin", tmp_path / "keys.txt"
    done = place.run("get", "eval", "--yes", "--root", str(begin))
    assert done.returncode == 0, done.stderr
    with sqlite3_of(place, undisturbed) as catalog:
        (key,) = catalog.execute("SELECT key FROM samples WHERE dataset = ? LIMIT 1", [DROPPED]).fetchone()
    keys.write_text(f"{key}\n")
    drop = ("drop", DROPPED, "--keys", str(keys))
    shutil.copytree(begin, tmp_path / "expected")
    assert place.run(*drop, "--root", str(tmp_path / "expected")).returncode == 0
    _finished(place, tmp_path / "expected")

    shutil.copytree(begin, root)
    flip(next(root.rglob(BROKEN)), 3000)
    place.world.origin.mischief("*", Trickle(BYTES_PER_S / 3), times=None)
    lines = [
        ("verify", "--repair"),
        ("index",),
        drop,
        ("export", "wids", "eval", "--to", str(tmp_path / "exported")),
        ("index", "--force"),
        ("drop", "--rewrite"),
        ("status",),
        ("list",),
    ]
    with ExitStack() as stack:

        def begun(*line: str) -> object:
            return stack.enter_context(place.start(*line, "--root", str(root), conditions=conditions))

        servers = [begun("view", "--port", "0"), begun("share", "--host", "127.0.0.1", "--port", "0")]
        for server in servers:
            server.stdout.readline()
        runs = {line: begun(*line) for line in [("get", "all", "--yes"), *lines]}
        codes = {line: ended(process).returncode for line, process in runs.items()}
        for server in servers:
            assert server.poll() is None
            server.send_signal(signal.SIGTERM)
            assert ended(server).returncode in (0, 143)
    assert set(codes.values()) <= {0, 1, 3, 6, 7}, codes
    place.world.origin.be_honest()
    assert place.run(*drop, "--root", str(root)).returncode == 0
    _finished(place, root)
    assert tree(root) == tree(tmp_path / "expected")


def sqlite3_of(place: Place, root: Path) -> closing[sqlite3.Connection]:
    """The catalog of a root."""
    if not (path := root / ".g3m" / "g3m.sqlite").exists():
        assert place.run("index", "--root", str(root)).returncode == 0
    return closing(sqlite3.connect(path))


@pytest.mark.parametrize("conditions", ["", "no_lease"])
@pytest.mark.parametrize("seed", range(5 if ALL else 1))
def test_many_who_drop_at_one_moment(
    seed: int, conditions: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """Whoever was told that his samples are dropped finds them in the record, whether the lease works or not."""
    root = tmp_path / "root"
    shutil.copytree(undisturbed, root)
    with sqlite3_of(place, undisturbed) as catalog:
        keys = [
            row[0] for row in catalog.execute("SELECT key FROM samples WHERE dataset = ? LIMIT 8", [DROPPED])
        ]
    with ExitStack() as stack:
        processes = []
        for number, key in enumerate(keys):
            (tmp_path / f"{number}.txt").write_text(f"{key}\n")
            line = ("drop", DROPPED, "--keys", str(tmp_path / f"{number}.txt"), "--root", str(root))
            processes.append(stack.enter_context(place.start(*line, conditions=conditions)))
        codes = [ended(process).returncode for process in processes]
    record = (root / "cc3m" / DROPPED / "dropped.jsonl").read_text()
    dropped = {json.loads(line).get("key") for line in record.splitlines()}
    lost = [key for key, code in zip(keys, codes, strict=True) if code == 0 and key not in dropped]
    assert lost == [], (codes, record)
    assert set(codes) <= {0, 1}, codes
    assert sorted(path.name for path in (root / "cc3m" / DROPPED).glob(".*")) == []


def _catalog(root: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(root / ".g3m" / "g3m.sqlite")) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = opened.execute(
            "SELECT dataset, shard, number, key, caption, width, height, words FROM samples"
        )
        found = sorted(rows.fetchall())
        words = opened.execute("SELECT count(*) FROM found WHERE found MATCH 'a*'").fetchone()
        bins = opened.execute("SELECT chart, bin, sum(samples) FROM tally GROUP BY chart, bin ORDER BY 1, 2")
        return [*found, words, *bins.fetchall()]


@pytest.mark.parametrize("conditions", ["", "no_locks"])
@pytest.mark.parametrize("seed", range(5 if ALL else 1))
def test_catalogs_made_at_one_moment(
    seed: int, conditions: str, place: Place, undisturbed: Path, tmp_path: Path
) -> None:
    """With locks all make it, forced or not; where locks lie they end by name, and --force makes it again."""
    with sqlite3_of(place, undisturbed):
        expected = _catalog(undisturbed)
    root = tmp_path / "root"
    shutil.copytree(undisturbed, root)
    if seed % 2 == 0:
        (root / ".g3m" / "g3m.sqlite").unlink()
    lines = [("index",), ("index", "--force"), ("index",), ("index", "--force")][: 4 if ALL else 3]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(place.start(*line, "--root", str(root), conditions=conditions))
            for line in lines
        ]
        runs = [ended(process) for process in processes]
    codes = [run.returncode for run in runs]
    if conditions:
        assert set(codes) <= {0, 1, 2, 6}, [run.stderr for run in runs]
        done = place.run("index", "--force", "--root", str(root))
        assert done.returncode == 0, done.stderr
    else:
        assert set(codes) == {0}, [run.stderr for run in runs]
    assert _catalog(root) == expected
