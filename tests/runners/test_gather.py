"""Lists of URLs become a dataset: what is packed, what is said of every row, and how it goes on."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.pictures_host import Asked, PicturesHost, picture, pictures_host, size_of
from tests.runners.lists import rows_of, run, same_files, write_list

import g3m
from g3m.adapters.tables import read_parquet
from g3m.adapters.turns import Turns
from g3m.core.errors import (
    Interrupted,
    NoSpace,
    OtherOptions,
    SettingsError,
    TooManyRejected,
    UnknownDataset,
    Unreachable,
    UsageError,
)
from g3m.core.events import Event, RowsMeasured, TaskFailed, TaskFinished, TasksAdded
from g3m.core.gathering import Columns, Row, gathering_for
from g3m.runners.gather import gather_in, plan_in
from g3m.runners.run import make_session, verify_in
from g3m.steps.outcome import Outcome, RowTable


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


def drawn(kind: str, size: tuple[int, int] = (60, 40)) -> bytes:
    written = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(written, kind)
    return written.getvalue()


def serve(host: PicturesHost, **bodies: bytes) -> None:
    """Moods of a test's own, each with one body."""
    for name, body in bodies.items():

        async def answer(asked: Asked, body: bytes = body) -> None:
            await asked.answer(body)

        host.moods[name] = answer


def test_rows_become_samples_in_their_order_with_the_bytes_that_came(
    host: PicturesHost, tmp_path: Path
) -> None:
    """Keys say shard and place, pictures keep their bytes, json and txt say what the row said."""
    source = write_list(tmp_path / "list.jsonl", rows_of(host, *["good"] * 6))
    made = run(source, tmp_path / "out")
    assert list(made.samples) == ["000000", "000001", "000002", "000003", "000010", "000011"]
    assert [list(files) for files in made.samples.values()] == [["jpg", "json", "txt"]] * 6
    for number, (key, files) in enumerate(made.samples.items()):
        meta = json.loads(files["json"])
        assert files["jpg"] == picture(number)
        assert files["txt"].decode() == meta["caption"] == f"row {number}"
        assert (meta["key"], meta["row"], meta["status"]) == (key, number, "success")
        assert meta["sha256"] == hashlib.sha256(picture(number)).hexdigest()
        assert (meta["width"], meta["height"]) == size_of(number)
        assert (meta["original_width"], meta["original_height"]) == size_of(number)
    made.check_counts()


def test_every_row_has_a_reason_or_a_sample(host: PicturesHost, tmp_path: Path) -> None:
    """Whatever a server does, the row ends with its code, and the counts agree everywhere."""
    moods = ["good", "missing", "html", "empty", "cut", "noai", "short", "busy", "forbidden", "good"]
    made = run(write_list(tmp_path / "list.jsonl", rows_of(host, *moods)), tmp_path / "out")
    wanted = ["", "http_404", "not_an_image", "empty", "partial", "opt_out", "no_end", "http_503"]
    assert made.reasons == [*wanted, "http_403", ""]
    made.check_counts()
    page = made.table("00000")[2]
    assert page["status"] == "failed_to_resize" and page["error_message"] == "not_an_image"
    assert made.table("00000")[1]["status"] == "failed_to_download"
    assert (made.folder / "rejected.jsonl").read_text() == ""
    assert "00000.parquet" in (made.folder / "README.md").read_text()


def test_the_extension_is_that_of_the_bytes(host: PicturesHost, tmp_path: Path) -> None:
    """A PNG behind a URL that ends in .jpg is a .png in the shard, and index, verify and readers find it."""
    serve(host, png=drawn("PNG"), webp=drawn("WEBP"), gif=drawn("GIF"), bmp=drawn("BMP"), tiff=drawn("TIFF"))
    moods = ["png", "webp", "good", "gif", "bmp", "tiff"]
    made = run(write_list(tmp_path / "list.jsonl", rows_of(host, *moods)), tmp_path / "out")
    assert [next(iter(files)) for files in made.samples.values()] == [
        "png",
        "webp",
        "jpg",
        "gif",
        "bmp",
        "tiff",
    ]
    session = make_session({"root": str(made.folder)}, {})
    for depth in ({"structure": True, "deep": False}, {"deep": True}):
        report = verify_in([], session, [], repair=False, **depth)
        assert report.ok, report.findings
        assert report.looked == {"out": 6}
    data = g3m.dataset(made.folder)
    assert len(data) == 6
    exported = g3m.export("webdataset", ["out"], root=made.folder)
    assert exported.datasets == {"out": 6}


def test_without_captions_there_is_no_text(host: PicturesHost, tmp_path: Path) -> None:
    """A list of URLs alone gives pictures and json: an empty text would be a caption that nobody wrote."""
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{host.url(f'good/{n}.jpg')}\n" for n in range(3)))
    made = run(source, tmp_path / "out", columns=Columns(caption=""))
    assert [list(files) for files in made.samples.values()] == [["jpg", "json"]] * 3
    assert made.metas[0]["caption"] is None
    assert len(g3m.dataset(made.folder)) == 3
    made.check_counts()


def test_a_row_without_a_usable_caption_is_not_asked_for(host: PicturesHost, tmp_path: Path) -> None:
    """Where captions are wanted, a row without one costs no request."""
    rows = rows_of(host, "good", "good", "good")
    rows[0]["caption"], rows[1]["caption"] = "  ", "x" * 70_000
    made = run(write_list(tmp_path / "list.jsonl", rows), tmp_path / "out")
    assert made.reasons == ["no_caption", "caption_too_long", ""]
    assert host.asked["good/0.jpg"] == host.asked["good/1.jpg"] == 0
    made.check_counts()


def test_captions_that_are_no_utf8_are_mended(host: PicturesHost, tmp_path: Path) -> None:
    """A lone surrogate becomes U+FFFD in text, json and table, and is counted."""
    rows = rows_of(host, "good")
    rows[0]["caption"] = "half \ud83d of it"
    made = run(write_list(tmp_path / "list.jsonl", rows), tmp_path / "out")
    assert made.samples["000000"]["txt"].decode() == "half \ufffd of it"
    assert made.metas[0]["caption"] == made.table("00000")[0]["caption"] == "half \ufffd of it"
    assert made.manifest.findings is not None
    assert made.manifest.findings["caption_not_utf8"] == {"fixed": 1}


def test_bytes_that_the_list_does_not_state_are_rejected(host: PicturesHost, tmp_path: Path) -> None:
    """Who controls a server cannot slip other pictures under a list with digests; what is kept is flagged."""
    rows = rows_of(host, "good", "good", "good", "good")
    digest = hashlib.sha256(picture(0)).hexdigest()
    for row, stated in zip(rows, (digest.upper(), digest, "", "nonsense"), strict=True):
        row["sha256"] = stated
    source = write_list(tmp_path / "list.jsonl", rows)
    columns = Columns(sha256="sha256")
    made = run(source, tmp_path / "out", columns=columns)
    assert made.reasons == ["", "hash_mismatch", "", "hash_mismatch"]
    table = made.table("00000")
    assert table[1]["sha256"] == hashlib.sha256(picture(1)).hexdigest()
    assert table[1]["expected_sha256"] == digest and table[2]["expected_sha256"] is None
    made.check_counts()
    kept = run(source, tmp_path / "kept", columns=columns, hash_mismatch="keep")
    assert kept.reasons == [""] * 4
    flagged = ["hash_mismatch" in meta["found"] for meta in kept.metas]
    assert flagged == [False, True, False, True]
    assert kept.manifest.findings is not None
    assert kept.manifest.findings["hash_mismatch"] == {"kept": 2}


def test_kept_columns_go_into_json_and_table(host: PicturesHost, tmp_path: Path) -> None:
    """Numbers stay numbers, what is odd becomes text, and a name of ours is never overwritten."""
    rows = rows_of(host, "good", "missing", "good")
    for number, row in enumerate(rows):
        row |= {"similarity": number / 2, "width": 7, "tags": ["a", number], "odd": number or "none"}
    keep = ("similarity", "width", "tags", "odd")
    made = run(write_list(tmp_path / "l.jsonl", rows), tmp_path / "out", columns=Columns(keep=keep))
    table = made.table("00000")
    assert [row["similarity"] for row in table] == [0.0, 0.5, 1.0]
    assert [row["list_width"] for row in table] == [7, 7, 7]
    assert [row["tags"] for row in table] == ['["a", 0]', '["a", 1]', '["a", 2]']
    assert [row["odd"] for row in table] == ["none", "1", "2"]
    assert (made.metas[1]["tags"], made.metas[1]["width"]) == ('["a", 2]', size_of(2)[0])


def test_small_and_narrow_pictures_are_left_out(host: PicturesHost, tmp_path: Path) -> None:
    """Filters go by the header: nothing is decoded for them."""
    serve(host, small=drawn("JPEG", (30, 300)), narrow=drawn("JPEG", (400, 80)))
    made = run(
        write_list(tmp_path / "l.jsonl", rows_of(host, "small", "narrow", "good")),
        tmp_path / "out",
        min_side=40,
        max_aspect=4.0,
    )
    assert made.reasons == ["too_small", "aspect", ""]
    assert made.table("00000")[0]["original_width"] == 30 and made.table("00000")[0]["width"] is None
    made.check_counts()


def test_pictures_are_made_smaller_beside_the_network(host: PicturesHost, tmp_path: Path) -> None:
    """The json has both sizes, the digest is that of what came, and what is small enough keeps its bytes."""
    made = run(
        write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 12, "short", "html")),
        tmp_path / "out",
        task_rows=20,
        image_size=100,
        resize="keep_ratio",
    )
    assert made.reasons == [""] * 12 + ["no_end", "not_an_image"]
    for number, (meta, files) in enumerate(zip(made.metas, made.samples.values(), strict=True)):
        assert (meta["original_width"], meta["original_height"]) == size_of(number)
        with Image.open(io.BytesIO(files["jpg"])) as image:
            assert image.size == (meta["width"], meta["height"])
        assert min(meta["width"], meta["height"]) == min(100, *size_of(number))
        assert meta["sha256"] == hashlib.sha256(picture(number)).hexdigest()
        assert (files["jpg"] == picture(number)) == (min(size_of(number)) <= 100)
    made.check_counts()


def test_equal_pictures_of_a_task_are_left_out_on_request(host: PicturesHost, tmp_path: Path) -> None:
    """The first in the order of the rows stays, whichever came first."""
    serve(host, same=drawn("JPEG"))
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "same", "good", "same", "same", "same"))
    made = run(source, tmp_path / "out", policy=["duplicate_image=reject"])
    assert made.reasons == ["", "", "duplicate_image", "duplicate_image", ""]
    made.check_counts()


def test_equal_pictures_of_a_dataset_are_listed_for_exclusion(host: PicturesHost, tmp_path: Path) -> None:
    """`duplicates.txt` names later copies over all shards, and the reader takes it."""
    serve(host, same=drawn("JPEG"))
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "same", "good", "good", "same", "good", "same"))
    made = run(source, tmp_path / "out")
    path = made.folder / "duplicates.txt"
    assert path.read_text() == "out/000003\nout/000011\n"
    assert len(g3m.dataset(made.folder, exclude=path)) == 4


def test_the_same_answers_give_the_same_bytes(host: PicturesHost, tmp_path: Path) -> None:
    """Two runs, one with everything in disorder and no memory to wait in, differ in no file."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["slow", "good", "good", "missing"] * 5))
    one = run(source, tmp_path / "a" / "out", task_rows=20)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("g3m.adapters.turns.Turns.__init__.__defaults__", (0,))
        host.slow_s = 0.1
        other = run(source, tmp_path / "b" / "out", task_rows=20, requests=3, jobs=2)
    assert same_files(one.folder, other.folder) == []


def test_a_finished_run_is_done_at_once(host: PicturesHost, tmp_path: Path) -> None:
    """The second run of the same line asks nobody and changes nothing."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 9))
    made = run(source, tmp_path / "out")
    asked = host.asked.total()
    before = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    again = run(source, tmp_path / "out")
    assert (again.finished, again.events, host.asked.total()) == (0, [], asked)
    assert {path: path.stat().st_mtime_ns for path in made.folder.iterdir()} == before


def test_another_list_or_other_options_are_not_mixed_in(host: PicturesHost, tmp_path: Path) -> None:
    """OtherOptions, and not a byte is changed."""
    made = run(write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 5)), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in made.folder.iterdir() if path.is_file()}
    other = write_list(tmp_path / "other.jsonl", rows_of(host, *["good"] * 6))
    for source, options in ((other, {}), (tmp_path / "l.jsonl", {"min_side": 10})):
        with pytest.raises(OtherOptions):
            run(source, tmp_path / "out", **options)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(OtherOptions):
        run(tmp_path / "l.jsonl", tmp_path / "full")
    assert {path.name: path.read_bytes() for path in made.folder.iterdir() if path.is_file()} == before


def test_an_empty_result_fails_and_so_does_too_little(host: PicturesHost, tmp_path: Path) -> None:
    """Lists rot, so any success is enough unless the user says otherwise; none at all never is."""
    missing = write_list(tmp_path / "m.jsonl", rows_of(host, *["missing"] * 3))
    with pytest.raises(TooManyRejected, match=r"3 of 3 .*3 http_404"):
        run(missing, tmp_path / "none")
    with pytest.raises(TooManyRejected) as caught:
        run(missing, tmp_path / "private", allow_private=False)
    assert all("--allow-private" in words for words in caught.value.hint)
    half = write_list(tmp_path / "h.jsonl", rows_of(host, "good", "missing"))
    with pytest.raises(TooManyRejected, match=r"1 of 2"):
        run(half, tmp_path / "half", max_rejected=0.4)
    assert run(half, tmp_path / "half2").manifest.samples == 1


def test_a_dead_network_marks_nothing_as_failed(tmp_path: Path) -> None:
    """No receipt is written, tasks are not all tried in vain, and the next run brings everything."""
    addresses = [f"127.0.0.{number}" for number in range(1, 101)]
    with pictures_host(addresses) as host:
        rows = [
            {"url": host.url(f"good/{number}.jpg", at=addresses[number % 100]), "caption": f"row {number}"}
            for number in range(2400)
        ]

        async def refuse(asked: Asked) -> None:
            asked.reset()

        host.moods["good"] = refuse
        source = write_list(tmp_path / "l.jsonl", rows)
        events: list[Event] = []
        with pytest.raises(Unreachable):
            run(source, tmp_path / "out", task_rows=60, events=events, ignore_robots_txt=True)
        assert not list((tmp_path / "out").glob("*.tar"))
        assert not list((tmp_path / "out" / ".g3m" / "receipts" / "out").glob("*.tar.json"))
        failed = [event for event in events if isinstance(event, TaskFailed)]
        assert 0 < len(failed) <= 20  # of 40: those in a row until it is noticed, and those begun by then
        del host.moods["good"]
        assert run(source, tmp_path / "out", task_rows=60).manifest.samples == 2400


def test_offline_asks_nobody(host: PicturesHost, tmp_path: Path) -> None:
    """--offline means that no URL of a list is asked for."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good"))
    with pytest.raises(Unreachable, match="offline"):
        run(source, tmp_path / "out", offline=True)
    assert host.asked.total() == 0


def test_what_is_told_while_it_runs(host: PicturesHost, tmp_path: Path) -> None:
    """Rows and reasons so far, the sums at the end of each task, and how many rows there are."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good", "missing", "good", "html", "good"))
    events = run(source, tmp_path / "out").events
    added = next(event for event in events if isinstance(event, TasksAdded))
    assert (added.count, added.rows) == (2, 5)
    ticks = [e for e in events if isinstance(e, RowsMeasured) and e.task.endswith("00000.tar")]
    assert (ticks[-1].done, ticks[-1].total, ticks[-1].good) == (4, 4, 2)
    assert ticks[-1].reasons == {"http_404": 1, "not_an_image": 1}
    done = [e for e in events if isinstance(e, TaskFinished) and e.kind == "pack"]
    assert sum(e.samples for e in done) == 3
    assert {"http_404": 1, "not_an_image": 1} in [e.rejected for e in done]


def test_without_pyarrow_the_table_is_lines(
    host: PicturesHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows in JSON, and a retry reads them as well."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name))
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good", "busy", "good"))
    made = run(source, tmp_path / "out")
    assert not list(made.folder.glob("*.parquet"))
    assert [row["reason"] for row in made.table("00000")] == ["", "http_503", ""]
    made.check_counts()
    host.moods["busy"] = lambda asked: asked.answer(picture(1))
    again = run(source, tmp_path / "out", retry_failed=True)
    assert again.manifest.samples == 3
    again.check_counts()


def test_rows_that_may_succeed_are_asked_for_again(host: PicturesHost, tmp_path: Path) -> None:
    """They become shards behind the others, which stay as they are; every row counts once, by its last outcome."""
    moods = ["good", "busy", "missing", "cut", "good", "busy", "good"]
    rows = rows_of(host, *moods)
    for number, row in enumerate(rows):
        row["id"] = number * 10
    source = write_list(tmp_path / "l.jsonl", rows)
    columns = Columns(keep=("id",))
    made = run(source, tmp_path / "out", columns=columns)
    before = {path: path.read_bytes() for path in made.folder.glob("0*")}
    host.moods["busy"] = lambda asked: asked.answer(picture(asked.number))
    again = run(None, tmp_path / "out", retry_failed=True)
    assert again.reasons == ["", "", "http_404", "partial", "", "", ""]
    assert {path: path.read_bytes() for path in before} == before
    assert again.table("00002")[0]["id"] == 10 and again.table("00002")[0]["caption"] == "row 1"
    assert again.samples["000020"]["jpg"] == picture(1)
    assert again.receipt("00002")["again"] == {"http_503": 2, "partial": 1}
    again.check_counts()
    assert verify_in([], make_session({"root": str(made.folder)}, {}), [], deep=False, repair=False).ok
    third = run(source, tmp_path / "out", columns=columns, retry_failed=True)
    assert third.receipt("00003")["again"] == {"partial": 1}
    third.check_counts()
    asked = host.asked["missing/2.jpg"]
    host.moods["cut"] = lambda asked: asked.answer(picture(asked.number))
    last = run(source, tmp_path / "out", columns=columns, retry_failed=True)
    assert last.manifest.rejected == {"http_404": 1} and asked == host.asked["missing/2.jpg"]
    last.check_counts()
    none = run(source, tmp_path / "out", columns=columns, retry_failed=True)
    assert none.finished == 0 and none.manifest == last.manifest


def test_a_shard_made_anew_leaves_alone_what_a_retry_has(host: PicturesHost, tmp_path: Path) -> None:
    """Rows that a retry has brought are not asked for by the shard that they once failed in, nor counted twice."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good", "busy", "cut", "good"))
    run(source, tmp_path / "out")
    host.moods["busy"] = lambda asked: asked.answer(picture(asked.number))
    run(None, tmp_path / "out", retry_failed=True)
    host.moods["cut"] = lambda asked: asked.answer(picture(asked.number))
    whole = run(None, tmp_path / "out", retry_failed=True)
    before = {path.name: path.read_bytes() for path in whole.folder.glob("*.tar")}
    asked = dict(host.asked)
    for name in before:
        (whole.folder / name).unlink()
    made = run(source, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in made.folder.glob("*.tar")} == before
    assert made.manifest.samples == 4 and made.manifest.rejected == {}
    made.check_counts()
    again = {path: count - asked.get(path, 0) for path, count in host.asked.items() if "robots" not in path}
    assert set(again.values()) == {1}, "each picture was asked for once more"


def test_a_shard_made_anew_after_a_retry_is_asked_for_again(host: PicturesHost, tmp_path: Path) -> None:
    """What it brought once, and not this time, no retry ever had: the next one has it."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good", "busy", "good", "missing", "good"))
    run(source, tmp_path / "out")
    run(None, tmp_path / "out", retry_failed=True)
    (tmp_path / "out" / "00000.tar").unlink()
    host.moods["good"] = lambda asked: asked.answer(b"", status="503 Service Unavailable")
    worse = run(source, tmp_path / "out")
    assert worse.manifest.rejected == {"http_404": 1, "http_503": 3}
    host.moods["good"] = host.moods["busy"] = lambda asked: asked.answer(picture(asked.number))
    whole = run(None, tmp_path / "out", retry_failed=True)
    assert whole.manifest.samples == 4 and whole.manifest.rejected == {"http_404": 1}
    whole.check_counts()
    assert run(None, tmp_path / "out", retry_failed=True).finished == 0


def test_a_retry_is_not_planned_by_parts(host: PicturesHost, tmp_path: Path) -> None:
    """Parts that start together would plan several retries; the error says what to do instead."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good", "busy"))
    run(source, tmp_path / "out")
    with pytest.raises(SettingsError, match="one process"):
        g3m.gather(source, tmp_path / "out", retry_failed=True, part="0/2", allow_private=True, task_rows=4)


def test_an_address_with_a_secret_is_not_taken_for_a_list(tmp_path: Path) -> None:
    """A plan is kept and travels: a signed address has no place in it, and is not shown either."""
    signed = "https://lists.example.org/pairs.jsonl?X-Amz-Signature=abc123"
    with pytest.raises(UsageError) as caught:
        g3m.gather(signed, tmp_path / "out")
    assert "abc123" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_retry_is_finished_by_any_next_run(
    host: PicturesHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was planned stays planned: the dataset counts as unfinished until its rows were asked for again."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "good", "busy", "busy", "good", "busy"))
    run(source, tmp_path / "out")
    host.moods["busy"] = lambda asked: asked.answer(picture(asked.number))
    with monkeypatch.context() as patched:
        patched.setattr("g3m.runners.gather.drive_shared", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            run(source, tmp_path / "out", retry_failed=True)
    made = run(source, tmp_path / "out")
    assert made.manifest.rejected == {} and made.manifest.samples == 5
    made.check_counts()


def test_nothing_can_be_tried_again_where_nothing_was_gathered(tmp_path: Path) -> None:
    """Without lists and without a plan there is nothing to do, and the error says so."""
    with pytest.raises(UnknownDataset):
        run(None, tmp_path / "out", retry_failed=True)


def test_a_broken_shard_is_made_again(host: PicturesHost, tmp_path: Path) -> None:
    """A shard that is gone is gathered anew by the same line; the others are left alone."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 9))
    made = run(source, tmp_path / "out")
    kept = (made.folder / "00001.tar").stat().st_mtime_ns
    before = {path.name: path.read_bytes() for path in made.folder.glob("*.tar")}
    (made.folder / "00000.tar").unlink()
    run(source, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in made.folder.glob("*.tar")} == before
    assert (made.folder / "00001.tar").stat().st_mtime_ns == kept


def test_a_request_to_stop_is_heard_in_the_middle(
    host: PicturesHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while servers hang: nothing half made stands, and the next run finishes the rest."""
    monkeypatch.setattr("g3m.adapters.crowd.tail_allowance_s", lambda *_: 600.0)
    # No task begins with a row that hangs: a host that is asked for the first time is asked for one row alone.
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 5, *["hang"] * 2))
    session = make_session({"allow_private": True, "jobs": 1, "url_timeout_s": 600.0}, {})
    plan, session = plan_in(
        [str(source)], tmp_path / "out", gathering_for(Columns(), session.settings, 4), session
    )

    def stop(event: Event) -> None:
        if isinstance(event, TaskFinished) and event.output.endswith("00000.tar"):
            session.stop.set()

    with pytest.raises(Interrupted):
        gather_in(plan, session, [stop])
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["00000.tar"]
    assert list((tmp_path / "out" / ".g3m" / "parts").iterdir()) == []
    host.moods["hang"] = lambda asked: asked.answer(picture(asked.number))
    made = run(source, tmp_path / "out")
    assert made.manifest.samples == 7
    assert host.asked["good/0.jpg"] == 1
    made.check_counts()


def test_a_full_disk_ends_the_run_and_loses_nothing(
    host: PicturesHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NoSpace from the table or the shard: no receipt, no half file, and the next run goes on."""
    source = write_list(tmp_path / "l.jsonl", rows_of(host, *["good"] * 8))
    written = os.write

    def full(file: int, data: bytes) -> int:
        if "00001" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(NoSpace):
            run(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["00000.tar"]
    assert list((tmp_path / "out" / ".g3m" / "parts").iterdir()) == []
    made = run(source, tmp_path / "out")
    assert made.manifest.samples == 8 and host.asked["good/0.jpg"] == 1
    made.check_counts()


def test_memory_is_bounded_however_large_the_pictures_are(
    host: PicturesHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first row hangs, what comes behind it goes to the disk, and comes back whole."""
    serve(host, large=drawn("BMP", (800, 600)))
    most: list[int] = []
    put = Turns.put

    def watched(turns: Turns[object], place: int, result: object, data: bytes, result_bytes: int = 0) -> None:
        put(turns, place, result, data, result_bytes)
        most.append(turns.memory_bytes)

    monkeypatch.setattr(Turns, "put", watched)
    monkeypatch.setattr(Turns.__init__, "__defaults__", (3_000_000,))
    host.slow_s = 2.0
    source = write_list(tmp_path / "l.jsonl", rows_of(host, "slow", *["large"] * 20))
    made = run(source, tmp_path / "out", task_rows=30)
    assert made.manifest.samples == 21
    assert max(most) <= 3_000_000 < 20 * 800 * 600 * 3
    assert {len(files["bmp"]) for files in list(made.samples.values())[1:]} == {len(drawn("BMP", (800, 600)))}


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1, 2**63 + 5], ["1", str(2**63 + 5)]),
        ([0.5, 123456789012345679], ["0.5", "123456789012345679"]),
        ([1, -(2**63)], [1, -(2**63)]),
        ([0.5, 2], [0.5, 2.0]),
    ],
)
def test_numbers_of_any_size_are_kept(
    host: PicturesHost, tmp_path: Path, values: list[float], kept: list[object]
) -> None:
    """Neither a number beyond 64 bits nor a long one among fractions ends the task."""
    rows = [
        Row(number, host.url(f"good/{number}.jpg"), "a", "", {"id": value})
        for number, value in enumerate(values)
    ]
    with RowTable(tmp_path / "made", Columns(keep=("id",))) as table:
        for row in rows:
            table.add(f"{row.number}", Outcome(row=row))
        path, _ = table.close("00000.tar")
    assert [row["id"] for row in read_parquet(path, None)] == kept


def test_what_too_much_was_left_out_of_can_be_asked_for_again(host: PicturesHost, tmp_path: Path) -> None:
    """The error names --retry-failed, so that must help although nothing is published yet."""
    source = write_list(tmp_path / "list.jsonl", rows_of(host, *["busy"] * 3))
    for _ in range(2):
        with pytest.raises(TooManyRejected):
            run(source, tmp_path / "out", retry_failed=True)
    serve(host, busy=picture(1))
    made = run(None, tmp_path / "out", retry_failed=True)
    assert made.manifest.samples == 3
    made.check_counts()
