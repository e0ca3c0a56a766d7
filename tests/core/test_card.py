"""core/card.py: a page on which every count is explained, and the sums are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from g3m.core.card import card
from g3m.core.receipt import NOTES, Manifest
from g3m.core.recipe import Expect, Recipe, SampleRule
from g3m.core.samples import REASONS
from g3m.core.shard import ShardSummary
from g3m.core.treatment import CLASSES, FIXES, Resize, Treatment

RECIPE = Recipe(
    name="toy",
    title="A toy",
    folder="toy/toy",
    homepage="https://a/",
    licence="CC0",
    terms="none",
    citation="@x",
    samples=SampleRule(reader="pairs"),
    expect=Expect(),
)
MADE = Manifest(
    dataset="toy",
    title="A toy",
    folder="toy/toy",
    identity="id",
    parity="none",
    licence="CC0",
    homepage="",
    assets=(),
    shards=(ShardSummary("00000.tar", 70, 10240, "f" * 64), ShardSummary("00001.tar", 20, 10240, "e" * 64)),
    rejected={},
    notes={},
    findings={},
)


def page(recipe: Recipe = RECIPE, **changes: Any) -> str:
    return card(recipe, replace(MADE, **changes))


def test_sums_add_up() -> None:
    """Packed, left out and overwritten are what was seen; files of no sample are told apart."""
    text = page(
        rejected={"damaged": 4, "grayscale": 5, "not_a_file": 2}, notes={"stray_files": 2, "overwritten": 1}
    )
    for line in (
        "90 samples in 2 shards, 20480 bytes.",
        "- packed: 90",
        "- left out: 9",
        f"- overwritten: 1 ({NOTES['overwritten']})",
        "- together, what was seen in the source: 100",
        f"- damaged: 4 ({REASONS['damaged']})",
        f"- grayscale: 5 ({CLASSES['grayscale']})",
        f"- of all these, 2 are {NOTES['stray_files']}",
        "`rejected.jsonl` names each.",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("expected", "rejected", "sentence"),
    [
        (90, {}, "Packed is what the source states."),
        (95, {"damaged": 5}, "All that the source states was seen;"),
        (99, {"damaged": 5}, "In the files of the source there are 4 samples fewer than it states;"),
        (90, {"damaged": 5}, "In the files of the source there are 5 samples more than it states;"),
    ],
)
def test_the_difference_is_explained(expected: int, rejected: dict[str, int], sentence: str) -> None:
    """Where the source's figure differs from what was packed, the page says what of it is known."""
    text = page(expected_samples=expected, expected_source="their page", rejected=rejected)
    assert f"The source states {expected}: their page." in text
    assert sentence in text


def test_nothing_found_and_nothing_left_out() -> None:
    """A clean dataset says so, and what was not looked for."""
    text = page()
    for words in (
        "Nothing was left out.",
        "Nothing was found.",
        "Pictures have the bytes of the source.",
        "No picture was decoded to look for broken, truncated, warning",
        "Equal pictures were not looked for",
    ):
        assert words in text
    assert "The source states" not in text
    assert "names each" not in text


def test_findings_are_explained() -> None:
    """Each class with its counts, its meaning, and for what was fixed how."""
    text = page(
        findings={"trailing": {"fixed": 2, "kept": 1}, "grayscale": {"kept": 3}},
        treatment=Treatment(policy={"trailing": "fix", "truncated": "reject"}, resize=Resize(size=64)),
    )
    assert f"- trailing: 2 fixed, 1 kept ({CLASSES['trailing']}; {FIXES['trailing']})" in text
    assert f"- grayscale: 3 kept ({CLASSES['grayscale']})" in text
    assert "`findings.jsonl` names each" in text
    assert (
        "Pictures were treated: trailing=fix, truncated=reject, 64 pixels (keep_ratio), quality 95." in text
    )
    assert "No picture was decoded" not in text


def test_what_is_taken_on_a_word_is_not_counted_as_seen() -> None:
    """What another machine saw is not known here."""
    text = page(notes={"from_peer": 2})
    assert "2 of the shards were packed on another machine and taken on its word." in text
    assert "seen in the source" not in text


def test_ready_shards_say_how_little_was_looked_at() -> None:
    """Nobody decoded or looked through a picture that was adopted."""
    ready = replace(RECIPE, samples=SampleRule(reader="shards"))
    text = page(ready, notes={"rewritten_shard": 1})
    assert "only the first bytes of each picture were looked at" in text
    assert f"- rewritten_shard: 1 ({NOTES['rewritten_shard']})" in text


def test_what_there_is_to_cite_and_where_it_lives_is_said() -> None:
    """Homepage and citation stand there if the recipe has them, and leave no empty place if not."""
    text = page()
    assert "Homepage: https://a/" in text
    assert "```bibtex\n@x\n```" in text
    bare = page(replace(RECIPE, homepage="", citation=""))
    assert "Homepage" not in bare
    assert "Cite" not in bare


def test_the_lines_of_what_was_left_out() -> None:
    """Reasons, a blank line, and where each is named; nothing more and nothing less."""
    text = page(rejected={"damaged": 4})
    block = text.partition("## Left out\n")[2].partition("\n## Found")[0]
    lines = ["", f"- damaged: 4 ({REASONS['damaged']})", "", "`rejected.jsonl` names each."]
    assert block.splitlines() == lines


def test_the_lines_of_a_list() -> None:
    """Gathered rows have tables instead of files that name each."""
    text = page(form="urls", rejected={"gone": 4}, findings={"grayscale": {"kept": 1}})
    left = text.partition("## Left out\n")[2].partition("\n## Found")[0].splitlines()
    assert left[0] == left[2] == left[3] == ""
    assert left[1].startswith("- gone: 4 (")
    assert left[4]
    assert "rejected.jsonl" not in text
    assert "findings.jsonl" not in text
    found = text.partition("## Found in what was packed\n")[2].splitlines()
    assert found[1].startswith("- grayscale: 1 kept (")
    assert (found[0], found[2]) == ("", "")
    assert found[3] == "The column `found` of the tables names each; a sample may have several."
