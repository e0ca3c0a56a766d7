"""`g3m gather` and lists of URLs in `g3m get`: the whole story through the command, and what people read of it."""

from __future__ import annotations

import json
import os
import re
import socket
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pictures_host import PicturesHost, picture, pictures_host
from tests.ui.conftest import SAMPLES, Desk, plain

from g3m.adapters.tables import has_parquet
from g3m.core.events import RowsMeasured, RunStarted, TasksAdded, TaskStarted, to_dict
from g3m.core.gathering import READER
from g3m.core.outcomes import REASONS
from g3m.core.receipt import Arrangement, PlannedShard, ShardReceipt, to_json
from g3m.core.shard import ShardSummary
from g3m.core.tally import Snapshot, fold
from g3m.core.treatment import CLASSES
from g3m.steps.outcome import names_beside
from g3m.ui.gather import REASONS_SHOWN, reason_lines
from g3m.ui.logs import json_line, reasons_text, status_text
from g3m.ui.terminal import lines
from g3m.ui.words import Speaker
from g3m.ui.words_gather import CHINESE, meaning_of

ROWS = 30
TABLE = names_beside("00000.tar")[0 if has_parquet() else 1]
Snap = Callable[[str, str], None]


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


@pytest.fixture
def listed(desk: Desk, host: PicturesHost) -> Desk:
    """A desk with a list of thirty rows, of which four are no good."""
    rows: list[dict[str, Any]] = [
        {"url": host.url(f"good/{number}.jpg"), "caption": f"picture {number}", "score": number / 10}
        for number in range(ROWS)
    ]
    rows[3]["url"] = host.url("missing/3.jpg")
    rows[7]["url"] = "file:///etc/passwd"
    rows[12]["url"] = host.url("html/12.jpg")
    rows[21]["url"] = host.url("sometimes/21.jpg")
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (desk.cwd / "pairs.jsonl").write_text(text, encoding="utf-8")
    return desk


def refuse(host: PicturesHost) -> None:
    """From now on `sometimes/` is not there for the moment."""

    async def busy(asked: Any) -> None:
        await asked.answer(b"later", status="500 Internal Server Error")

    host.moods["sometimes"] = busy


def relent(host: PicturesHost) -> None:
    """From now on `sometimes/` has its picture."""

    async def good(asked: Any) -> None:
        await asked.answer(picture(asked.number), "Content-Type: image/jpeg")

    host.moods["sometimes"] = good


def gather(desk: Desk, *more: str) -> Any:
    return desk.run("gather", "--to", "mine", "--task-rows", "10", "--allow-private", *more)


def manifest(desk: Desk, folder: str = "mine") -> dict[str, Any]:
    body: dict[str, Any] = json.loads((desk.cwd / folder / "manifest.json").read_text(encoding="utf-8"))
    return body


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


# --- the whole story ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_list_becomes_a_dataset(listed: Desk, host: PicturesHost, snapshot: Snap, lang: str) -> None:
    """Shards with the very bytes, a table of every row, and a report that says why rows became no samples."""
    refuse(host)
    ran = gather(listed, "pairs.jsonl", "--keep-column", "score", "--lang", lang)
    assert ran.code == 0
    snapshot(f"gather-{lang}", re.sub(r"\d+\.\d kB", "SIZE", plain(ran.out, listed)))
    body = manifest(listed)
    assert (body["samples"], body["seen"], body["form"]) == (26, ROWS, READER)
    assert body["rejected"] == {"bad_url": 1, "http_404": 1, "http_500": 1, "not_an_image": 1}
    held = members(listed.cwd / "mine" / "00001.tar")
    assert held["000015.jpg"] == picture(15)
    assert held["000015.txt"] == b"picture 15"
    assert json.loads(held["000015.json"])["score"] == 1.5
    assert (listed.cwd / "mine" / TABLE).is_file()


def test_the_same_line_again_does_nothing(listed: Desk, host: PicturesHost) -> None:
    """A finished list is not asked for again, and the report is shown all the same."""
    refuse(host)
    assert gather(listed, "pairs.jsonl").code == 0
    host.asked.clear()
    ran = gather(listed, "pairs.jsonl")
    assert ran.code == 0
    assert ran.out.startswith("Everything is here already")
    assert "86.7%" in ran.out
    assert not host.asked


def test_failed_rows_are_asked_for_again(listed: Desk, host: PicturesHost) -> None:
    """The line that the report names asks for the one row that may succeed, and for no other."""
    refuse(host)
    line = gather(listed, "pairs.jsonl").out.strip().splitlines()[-1].split()
    assert line[1:] == [
        "gather",
        "--to",
        "mine",
        "--task-rows",
        "10",
        "--allow-private",
        "pairs.jsonl",
        "--retry-failed",
    ]
    relent(host)
    host.asked.clear()
    ran = listed.run(*line[1:])
    assert ran.code == 0
    assert [path for path in host.asked if path != "robots.txt"] == ["sometimes/21.jpg"]
    assert manifest(listed)["samples"] == 27
    assert "--retry-failed" not in ran.out
    assert listed.run("verify", "--root", "mine", "--deep").code == 0


def test_no_list_is_needed_to_ask_again(listed: Desk, host: PicturesHost) -> None:
    """Where a dataset stands, its folder says which rows there are."""
    refuse(host)
    gather(listed, "pairs.jsonl")
    (listed.cwd / "pairs.jsonl").unlink()
    relent(host)
    assert gather(listed, "--retry-failed").code == 0
    assert manifest(listed)["samples"] == 27


def test_the_end_as_json(listed: Desk, host: PicturesHost) -> None:
    """Events, then one line for the dataset: rows, samples, reasons, and how many may succeed."""
    refuse(host)
    ran = gather(listed, "pairs.jsonl", "--json")
    *events, end = ran.documents
    assert any(event.get("event") == "RowsMeasured" for event in events)
    assert (end["rows"], end["samples"], end["may_succeed"]) == (ROWS, 26, 1)
    assert end["rejected"]["http_404"] == 1
    assert gather(listed, "pairs.jsonl", "-q").out == ""


def test_parts_make_one_dataset(listed: Desk, host: PicturesHost) -> None:
    """As in an array of jobs: the first part says so and publishes nothing, the last one does."""
    refuse(host)
    first = gather(listed, "pairs.jsonl", "--part", "0/2")
    assert (first.code, first.out) == (0, "Part 0/2 is done; the dataset is published by the last part.\n")
    shown = listed.run("status", "--root", "mine").out
    assert "mine: 20 of 30 rows asked for" in shown
    last = gather(listed, "pairs.jsonl", "--part", "1/2")
    assert last.code == 0
    assert manifest(listed)["samples"] == 26
    assert host.asked["good/1.jpg"] == 1
    assert (
        "mine: 30 of 30 rows asked for, 86.7% of them became samples"
        in listed.run("status", "--root", "mine").out
    )


def test_private_addresses_are_refused_unless_allowed(listed: Desk, host: PicturesHost) -> None:
    """Without --allow-private nothing is asked on this machine, nothing is published, and the code is 3."""
    ran = listed.run("gather", "pairs.jsonl", "--to", "mine")
    assert ran.code == 3
    assert "29 private_address" in ran.err
    assert not host.asked
    (listed.cwd / "g3m.toml").write_text("allow_private = true\n", encoding="utf-8")
    ran = listed.run("gather", "pairs.jsonl", "--to", "mine2")
    assert ran.code == 2
    assert "allow_private" in ran.err
    assert not host.asked


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--to", "mine"), 2, "name a list"),
        (("pairs.jsonl",), 2, "--to"),
        (("pairs.jsonl", "--to", "mine", "--url", "link"), 7, "no column 'link'"),
        (("nothing.csv", "--to", "mine"), None, "nothing.csv"),
        (("--retry-failed", "--to", "nowhere"), None, "nowhere"),
        (("pairs.jsonl", "--to", "mine", "--part", "5/3"), None, "5/3"),
        (("pairs.jsonl", "--to", "mine", "--task-rows", "0"), 2, "task-rows"),
    ],
)
def test_what_cannot_be_gathered(
    listed: Desk, arguments: tuple[str, ...], code: int | None, words: str
) -> None:
    """A missing list, column, place or part is said in one message, and no shard is written."""
    ran = listed.run("gather", *arguments)
    assert ran.code == code if code is not None else ran.code in (1, 2, 6)
    assert words in ran.err
    assert not list(listed.cwd.glob("**/*.tar"))


# --- datasets of lists in g3m get -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("sbu", "--source", "urls"), ("laion115m",)])
def test_datasets_that_are_lists(desk: Desk, arguments: tuple[str, ...]) -> None:
    """SBU's list in two files in a .tar.gz, and BLIP's one array, are fetched, laid out and gathered."""
    name = arguments[0]
    ran = desk.run("get", *arguments, "--allow-private", "-y")
    assert ran.code == 0, ran.err
    assert "403" in ran.err or name != "sbu"  # the terms say what is left of the links
    assert f"of {SAMPLES + 2} rows 80.0% became samples" in ran.out
    body = manifest(desk, f"g3m-data/{name}/{name}")
    assert (body["samples"], body["form"]) == (SAMPLES, READER)
    assert body["rejected"] == {"bad_url": 1, "http_404": 1}
    assert desk.run("verify", "--deep").code == 0


def test_each_source_shows_its_terms(desk: Desk) -> None:
    """Who has read Kaggle's terms has not read those of the links, and the other way round; each is shown once."""
    assert "Kaggle's terms of use" in " ".join(desk.run("get", "sbu", "-y").err.split())
    ran = desk.run("get", "sbu", "--source", "urls", "-y", "--allow-private")
    assert "its own address" in " ".join(ran.err.split())
    assert (ran.code, "Terms of sbu" in desk.run("get", "sbu", "-y").err) == (2, False)


def test_another_source_is_another_dataset(desk: Desk) -> None:
    """What stands of one source is never mixed with another; `info` and `plan` know both."""
    assert "--source urls" in desk.run("info", "sbu").out
    assert desk.run("info", "sbu", "--source", "urls").out.startswith(
        "sbu: SBU Captioned Photo Dataset (drawn) (--source urls)"
    )
    planned = desk.run("plan", "sbu", "--source", "urls", "--json").documents[0]["plan"]["datasets"][0]
    assert planned["packing"] == "gathered"
    assert planned["assets"][0]["name"] == "SBUCaptionedPhotoDataset.tar.gz"
    assert "each picture comes from its own URL" in desk.run("plan", "sbu", "--source", "urls").out
    ran = desk.run("get", "sbu", "--source", "url")
    assert ran.code == 2 or "did you mean 'urls'" in ran.err


def test_only_lists_have_rows_to_ask_for_again(desk: Desk) -> None:
    """--retry-failed for an archive is refused, with the source that was probably meant."""
    ran = desk.run("get", "sbu", "--retry-failed", "-y")
    assert ran.code != 0
    assert "not made of a list of URLs" in ran.err
    assert "--source urls" in ran.err


# --- what people read -----------------------------------------------------------------------------------------------


def test_every_reason_has_its_meaning_in_both_languages() -> None:
    """All codes of rows and classes of pictures, the answers of hosts, and none for what nobody knows."""
    for code in (*REASONS, *CLASSES, "http_404", "http_418", "http_503"):
        english, chinese = meaning_of(code)
        assert english
        assert chinese
        assert english != chinese
    assert set(CHINESE) == {*REASONS, *CLASSES}
    assert meaning_of("http_503") == meaning_of("http_599") != meaning_of("http_302")
    assert meaning_of("what") == meaning_of("http_x") == ("", "")


def test_the_biggest_reasons_come_first_and_the_rest_is_summed() -> None:
    """At most twelve lines and one for the others; equal counts in the order of the alphabet."""
    few = list(reason_lines({"tls": 2, "http_404": 1200, "robots": 2}, Speaker("en")))
    assert [line.split()[1] for line in few] == ["http_404", "robots", "tls"]
    assert few[0].split()[0] == "1,200"
    many = {f"http_{status}": status for status in range(400, 420)}
    shown = list(reason_lines(many, Speaker("en")))
    assert len(shown) == REASONS_SHOWN + 1
    assert shown[-1].split()[0] == f"{sum(range(400, 408)):,}"
    assert shown[-1].endswith("for 8 other reasons")
    assert list(reason_lines({}, Speaker("en"))) == []


def at_work() -> Snapshot:
    """Two tasks of a list of a thousand rows, five hundred of them done at fifty a second."""
    state = Snapshot()
    events = [
        RunStarted(datasets=("mine",), tasks=2, total_bytes=0),
        TasksAdded(task="arrange/mine", count=2, rows=1000),
        TaskStarted(task="pack/mine/00000.tar", kind="pack", dataset="mine"),
        TaskStarted(task="pack/mine/00001.tar", kind="pack", dataset="mine"),
        *(
            RowsMeasured(
                task=f"pack/mine/0000{task}.tar",
                done=25 * second,
                total=500,
                good=20 * second,
                reasons={"http_404": 3 * second, "timeout": 2 * second},
            )
            for second in range(11)
            for task in (0, 1)
        ),
    ]
    for number, event in enumerate(events):
        state = fold(state, event, max(number - 4, 0) // 2)
    return state


def test_a_bar_of_rows() -> None:
    """Share, rows, success, speed and time left; then the reasons, and a line for each task."""
    shown = lines(at_work(), 160)
    assert shown[0] == (
        "████████████░░░░░░░░░░░░  50%  0/4 tasks  500 of 1,000 rows  80.0% good  50 rows/s  10 s left"
    )
    assert shown[1] == "  left out http_404 60, timeout 40"
    assert shown[2] == "  pack     mine/00000.tar                 250 of 500 rows  80.0% good"
    assert len(shown) == 4


def test_a_heartbeat_of_rows() -> None:
    """The dated lines say the same."""
    assert status_text(at_work()) == (
        "0/4 tasks  500 of 1,000 rows  80.0% good  50 rows/s  10 s left  http_404 60, timeout 40"
    )


def test_only_the_biggest_reasons_are_named_on_the_way() -> None:
    """Of a hundred reasons four, and how many more there are."""
    rows = at_work().rows
    assert reasons_text(rows, 1) == "http_404 60, and 1 more"
    assert reasons_text(rows.plus(rows)) == "http_404 120, timeout 80"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_status_of_a_list_under_way(desk: Desk, snapshot: Snap, lang: str) -> None:
    """Rows of finished tasks by their receipts, of those at work by their last tick; reasons of the finished."""
    work = desk.root / ".g3m"
    receipts = work / "receipts" / "mine"
    receipts.mkdir(parents=True)
    shards = tuple(PlannedShard(name=f"0000{n}.tar", offset_bytes=0, samples=100) for n in range(5))
    arranged = Arrangement(
        identity="x", sources={}, shards=shards, list_size_bytes=1, rejected=(), form=READER
    )
    (receipts / "arrange.json").write_text(to_json(arranged), encoding="utf-8")
    shard = ShardSummary(name="00000.tar", size_bytes=9, samples=90, sha256="0" * 64)
    done = ShardReceipt(identity="x", shard=shard, reasons={"http_404": 7, "tls": 3})
    (receipts / "00000.tar.json").write_text(to_json(done), encoding="utf-8")
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "token": "x"}
    (work / "lock.1-of-2").write_text(json.dumps(holder), encoding="utf-8")
    tick = RowsMeasured(task="pack/mine/00001.tar", done=50, total=100, good=30, reasons={"timeout": 20})
    (work / "events.jsonl").write_text(json_line(to_dict(tick)), encoding="utf-8")
    ran = desk.run("status", "--lang", lang)
    assert (ran.code, ran.err) == (0, "")
    text = ran.out.replace(str(os.getpid()), "PID").replace(socket.gethostname(), "HOST")
    snapshot(f"status-gathering-{lang}", text)
    (row,) = desk.run("status", "--json").documents[0]["datasets"]
    assert row["rows"] == {"done": 150, "good": 120, "total": 500}
