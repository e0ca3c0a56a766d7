"""ui/verified.py: what a verification found, told so that every number can be checked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.ui.conftest import Desk

from g3m.core.receipt import manifest as read_manifest
from g3m.core.treatment import CLASSES
from g3m.runners.run import Report
from g3m.steps.ledger import DAMAGE, Finding
from g3m.steps.publish import counted
from g3m.ui.verified import SHOWN, difference_lines, report_body, report_lines
from g3m.ui.words import WORDS, Speaker


@pytest.mark.parametrize("name", [*DAMAGE, "extra", *CLASSES])
def test_every_class_has_its_meaning_in_both_languages(name: str) -> None:
    """Whatever may be found is explained; the English words are those of the table of classes."""
    english, chinese = WORDS[f"class-{name}"]
    assert english == CLASSES.get(name, english)
    assert chinese != english


def test_the_table_counts_everything_once() -> None:
    """Over all datasets, the gravest first, with what each word means; classes alone do not fail a dataset."""
    report = Report(
        counts={"a": {"grayscale": 3, "digest": 1}, "b": {"grayscale": 1200, "truncated": 2}},
        path="/x/findings.jsonl",
    )
    lines = list(report_lines(report, Speaker("en")))
    assert [line.split()[:2] for line in lines if line][1:4] == [
        ["digest", "1"],
        ["truncated", "2"],
        ["grayscale", "1,203"],
    ]
    assert lines[-1] == "each finding is a line in /x/findings.jsonl"
    assert list(report_lines(Report(), Speaker("en"))) == []


def test_many_differences_are_cut() -> None:
    """A terminal shows the first; how many more there are is said, and the JSON has all."""
    findings = [Finding("d", "0.tar", "truncated", "why", str(number)) for number in range(SHOWN + 5)]
    report = Report(findings=findings)
    lines = list(difference_lines(report, Speaker("en")))
    assert lines[0] == "d/0.tar/0: truncated why"
    assert lines[SHOWN:] == ["and 5 more"]
    assert len(report_body(report)["findings"]) == SHOWN + 5


@pytest.mark.parametrize("flags", [("--structure",), ("--deep", "--jobs", "2")])
def test_the_command_and_its_file(done_desk: Desk, flags: tuple[str, ...]) -> None:
    """Exit 0 where only facts are found; the counts of the JSON are those of the file, each line a finding."""
    ran = done_desk.run("verify", *flags, "--json")
    assert ran.code == 0, ran.err
    body = ran.documents[-1]
    assert body["ok"]
    assert body["findings"] == body["repaired"] == []
    assert sum(body["looked"].values()) == 46
    assert body["decoded"] == (body["looked"] if "--deep" in flags else {})
    lines = [json.loads(line) for line in (done_desk.cwd / body["path"]).read_text().splitlines()]
    assert len(lines) == sum(sum(counts.values()) for counts in body["counts"].values()) > 0
    assert {line["problem"] for line in lines} == {
        name for counts in body["counts"].values() for name in counts
    }


def test_a_picture_that_no_loader_can_use_fails_deep_only(done_desk: Desk) -> None:
    """The shard is as published and its picture is not: exit 7, with advice that is not to repair."""
    shard = done_desk.root / "coco/coco_valid/00000.tar"
    data = bytearray(shard.read_bytes())
    at = data.index(b"\xff\xda")
    data[at + 5] = 0x77  # the scan is of a colour that the picture has not
    shard.write_bytes(data)
    manifest = done_desk.root / "coco/coco_valid/manifest.json"
    manifest.write_text(_with_digest(manifest.read_text(), shard))
    body = read_manifest(manifest.read_text())
    assert body is not None
    for name, text in counted(body).items():
        manifest.with_name(name).write_text(text)
    assert done_desk.run("verify").code == 0
    assert done_desk.run("verify", "--structure").code == 0
    ran = done_desk.run("verify", "--deep")
    assert ran.code == 7
    assert re.search(r"coco_valid/00000.tar/\d+: broken ", ran.err)
    assert "--repair" not in ran.err
    assert "coco_valid: agrees with the manifest" in ran.out
    assert "coco_valid: 7 of 8 pictures decode" in ran.out
    assert done_desk.run("verify", "--deep", "--repair").code == 7


def _with_digest(text: str, shard: Path) -> str:
    import hashlib

    body = json.loads(text)
    body["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    return json.dumps(body)
