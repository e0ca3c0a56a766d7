"""ui/report.py: what people read, kept as snapshots: tests/ui/snapshots, rewritten by G3M_UPDATE_SNAPSHOTS=1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ui.conftest import Desk, plain

from g3m.adapters.disk import Free, Store
from g3m.adapters.session import Session
from g3m.core.plan import asset_id
from g3m.runners.run import make_session
from g3m.steps.find import part_path
from g3m.steps.resolve import resolve
from g3m.ui import figures, report, state
from g3m.ui.words import Speaker

Snapshot = Callable[[str, str], None]
BUILT_IN = ("cc3m", "sbu", "coco", "cc3m_valid", "coco_valid", "openimages_v7_valid", "laion115m")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The built-in recipes, no network, an empty root on a disk of a terabyte."""
    monkeypatch.setattr(Store, "free", lambda _: Free(10**12, 10**7))
    monkeypatch.chdir(tmp_path)
    return make_session({"root": "g3m-data", "offline": True}, {})


def text(lines: object) -> str:
    return "".join(f"{line}\n" for line in lines)  # type: ignore[attr-defined]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_list(empty: Session, snapshot: Snapshot, lang: str) -> None:
    """`g3m list` of the built-in recipes below an empty root."""
    snapshot(f"list-{lang}", text(report.list_lines(empty, Speaker(lang))))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_plan(empty: Session, snapshot: Snapshot, lang: str) -> None:
    """`g3m plan all` where the hub cannot be asked: estimates are marked, sums are said, nothing is written."""
    notes: list[str] = []
    plan = resolve(["all"], empty, estimate=True, note=notes.append)
    snapshot(f"plan-{lang}", text(report.plan_lines(plan, empty, Speaker(lang))))
    assert len(notes) == 2
    assert not empty.store.root.exists()


@pytest.mark.parametrize("name", BUILT_IN)
def test_info(empty: Session, snapshot: Snapshot, name: str) -> None:
    """`g3m info` of every built-in recipe."""
    snapshot(f"info-{name}", text(report.info_lines(empty.recipes.get(name), empty, Speaker("en"))))


def test_info_in_chinese(empty: Session, snapshot: Snapshot) -> None:
    """In Chinese the terms are the recipe's Chinese ones."""
    snapshot(
        "info-coco_valid-zh", text(report.info_lines(empty.recipes.get("coco_valid"), empty, Speaker("zh")))
    )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_status_and_verify_of_a_finished_root(done_desk: Desk, snapshot: Snapshot, lang: str) -> None:
    """`g3m status` and `g3m verify` where everything is done."""
    snapshot(f"status-{lang}", _timeless(plain(done_desk.run("status", "--lang", lang).out, done_desk)))
    snapshot(f"verify-{lang}", plain(done_desk.run("verify", "--deep", "--lang", lang).out, done_desk))


def _timeless(shown: str) -> str:
    """Without how long the run took."""
    head, mark, _ = shown.rpartition(", ")
    return f"{head}{mark}SECONDS\n"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_verify_of_a_damaged_root(done_desk: Desk, snapshot: Snapshot, lang: str) -> None:
    """`g3m verify` where a shard is cut, one is gone and one is too many."""
    root = done_desk.root
    (root / "coco" / "coco_valid" / "00000.tar").write_bytes(b"x" * 10)
    (root / "sbu" / "sbu" / "00000.tar").unlink()
    (root / "cc3m" / "cc3m" / "old.tar").write_bytes(b"")
    ran = done_desk.run("verify", "--lang", lang)
    assert ran.code == 7
    errors = ran.err[ran.err.rindex("\n", 0, ran.err.index("G3M-E740")) + 1 :]
    shown = plain(ran.out + errors, done_desk)
    size = json.loads((root / "coco" / "coco_valid" / "manifest.json").read_text(encoding="utf-8"))[
        "size_bytes"
    ]
    snapshot(f"verify-damaged-{lang}", shown.replace(str(size), "SIZE"))


def test_the_snapshots_are_those_that_are_compared(request: pytest.FixtureRequest) -> None:
    """No snapshot is kept that no test compares any more."""
    kept = {path.stem for path in (Path(__file__).parent / "snapshots").iterdir()}
    both = {
        f"{name}-{lang}"
        for name in (
            *("list", "plan", "status", "status-at-work", "status-gathering", "verify", "verify-damaged"),
            *("doctor-network", "gather"),
        )
        for lang in ("en", "zh")
    }
    assert kept == both | {f"info-{name}" for name in BUILT_IN} | {"info-coco_valid-zh"}


@given(st.data(), st.integers(1, 4))
def test_a_table_is_straight(data: st.DataObject, columns: int) -> None:
    """Every column begins in the same place in all lines, and no cell is lost."""
    cell = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
    row = st.tuples(*[cell] * columns)
    head, rows = data.draw(row), data.draw(st.lists(row, max_size=5))
    right = data.draw(st.sets(st.integers(0, columns - 1)))
    lines = list(figures.table(head, rows, right=tuple(right)))
    assert len(lines) == len(rows) + 1
    widths = [max(len(one[n]) for one in (head, *rows)) for n in range(columns)]
    for line, cells in zip(lines, (head, *rows), strict=True):
        assert line == line.rstrip()
        start = 0
        for number, (width, word) in enumerate(zip(widths, cells, strict=True)):
            part = line[start : start + width].ljust(width)
            assert part == (word.rjust(width) if number in right else word.ljust(width))
            start += width + 2


def test_a_plan_counts_shared_files_once(done_desk: Desk) -> None:
    """coco and coco_valid share the annotations: the sum has them once, and what is done is not left to fetch."""
    body = done_desk.run("plan", "coco", "coco_valid", "--json").documents[0]["plan"]
    assets = {asset["id"]: asset["size_bytes"] for dataset in body["datasets"] for asset in dataset["assets"]}
    assert len(assets) == 3
    shown = done_desk.run("plan", "coco", "coco_valid").out
    total = sum(assets.values())
    assert f"total: {total / 1000:.1f} kB to fetch, 0 B of it not here yet" in shown
    assert shown.count("done") == 2


def test_a_plan_says_what_is_missing_on_the_disk(empty: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is too small the plan says by how much."""
    monkeypatch.setattr(Store, "free", lambda _: Free(10**9, None))
    plan = resolve(["coco_valid"], empty)
    (dataset,) = plan.datasets
    lacking = (dataset.peak_bytes or 0) - 10**9
    shown = text(report.plan_lines(plan, empty, Speaker("en")))
    assert (
        f"not enough: {lacking / 10**9:.1f} GB are missing" in shown or f"{lacking / 10**6:.1f} MB" in shown
    )
    assert "inodes" not in shown


def test_a_plan_knows_a_begun_download(empty: Session) -> None:
    """Bytes that a journal claims are here, and are not left to fetch."""
    plan = resolve(["coco_valid"], empty)
    asset = plan.datasets[0].asset("val2017.zip")
    empty.store.prepare()
    from g3m.adapters.parts import Part

    part = Part(part_path(empty, asset), asset.digests, asset.size_bytes)
    part.restore()
    part.begin("host", "", asset.size_bytes)
    part.write(0, 0, [b"x" * 600_000], "host")
    part.flush()
    part.close()
    shown = text(report.plan_lines(plan, empty, Speaker("en")))
    total = sum(one.size_bytes or 0 for one in plan.datasets[0].assets)
    assert "600.0 kB" in shown.splitlines()[1]
    assert f"{(total - 600_000) / 10**9:.1f} GB of it not here yet" in shown
    assert asset_id(asset) in part_path(empty, asset).name


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ""),
        (b"", ""),
        (b"one\n", "one"),
        (b"one\ntwo", "two"),
        (b"x" * 9000 + b"\nlast\n", "last"),
        (b"\xff\n", "\ufffd"),
    ],
)
def test_the_last_line_of_a_log(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """The last line, however long the log is; nothing where there is none."""
    path = tmp_path / "g3m.log"
    if content is not None:
        path.write_bytes(content)
    assert state.last_line(path) == expected


def test_status_of_a_begun_dataset(done_desk: Desk) -> None:
    """Shards done of shards planned, samples so far, and the parts on their way."""
    root = done_desk.root
    for path in root.glob("coco/coco_valid/*"):
        if path.suffix != ".tar":
            path.unlink()
    (root / ".g3m" / "parts" / "0123456789abcdef-val2017.zip.part").write_bytes(b"x" * 1234)
    shown = done_desk.run("status").out
    row = next(line.split() for line in shown.splitlines() if line.startswith("coco_valid"))
    assert row == ["coco_valid", "begun", "1", "of", "1", "8"]
    assert "val2017.zip: 1.2 kB" in shown
    (root / ".g3m" / "receipts" / "coco_valid" / "arrange.json").write_text("{", encoding="utf-8")
    body = done_desk.run("status", "--json").documents[0]
    assert next(row for row in body["datasets"] if row["name"] == "coco_valid")["planned_shards"] is None
