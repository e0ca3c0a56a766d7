"""ui/stats.py: `g3m stats` in a terminal and for programs, and what `--leaks` says, in both languages."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st
from tests.alike_root import COPIES, EVALUATION, LEAKED, OWN, write_root

from g3m.adapters.catalog import FILE, DatasetRow, open_catalog
from g3m.core.alike import Leak, Leaks, Searched
from g3m.core.errors import LANGUAGES, UnknownCatalog, UsageError
from g3m.runners.run import make_session
from g3m.runners.stats import Stats
from g3m.steps.alike import find_alike
from g3m.ui.cli import cli
from g3m.ui.options import Context
from g3m.ui.stats import LINES, SHOWN, bar, bars, leaks_lines, stats_lines
from g3m.ui.words import Speaker

SAMPLES = len(EVALUATION) + len(OWN) + len(COPIES)
COUNTS = st.lists(st.integers(0, 10**7), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_root(tmp_path_factory.mktemp("stats"))
    with open_catalog(root / ".g3m" / FILE, writing=True) as catalog:
        for _ in find_alike(catalog, make_session({"root": str(root)})):
            pass
    return root


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(make_session({"root": str(tmp_path)}), Speaker("en"))


def ran(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["stats", *map(str, words)])


def leaks(**changes: object) -> Leaks:
    values: dict[str, object] = {"evaluation": "valid", "samples": 5, "looked": 5, "hit": 1}
    values["datasets"] = (Searched(dataset="train", samples=9, looked=9, near=1),)
    return Leaks(**{**values, **changes})  # type: ignore[arg-type]


def leak(**changes: object) -> Leak:
    values = {"dataset": "train", "number": 7, "key": "a", "like_number": 1, "like_key": "b", "why": "exact"}
    return Leak(**{**values, **changes})  # type: ignore[arg-type]


def told(made: Leaks, context: Context, out: Path | None = None) -> str:
    return "\n".join(leaks_lines(made, out, context))


# --- figures --------------------------------------------------------------------------------------------------------


def test_figures_are_lines_with_bars(drawn: Path) -> None:
    """Every chart has a title, and a line with name, count, share and bar for each bin."""
    result = ran("--root", drawn)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"train, valid: {SAMPLES} samples, shards: 2"
    assert lines[1] == f"pictures decoded: {SAMPLES}; with the bytes of an earlier one: 2, and nearly so: 2"
    at = lines.index("format")
    assert lines[at + 1].split() == ["jpeg", str(SAMPLES), "100.0", "%", "█" * 40]
    for title in (
        "caption, words",
        "width, pixels",
        "height, pixels",
        "width by height",
        "most frequent words",
    ):
        assert title in lines


def test_one_dataset_is_shown_alone(drawn: Path) -> None:
    """A name narrows the figures to that dataset."""
    assert ran("valid", "--root", drawn).output.startswith(f"valid: {len(EVALUATION)} samples")


def test_chinese_figures_have_no_english_titles(drawn: Path) -> None:
    """All titles are there in Chinese; names of bins stay."""
    output = ran("--root", drawn, "--lang", "zh").output
    assert "宽度（像素）" in output
    assert "jpeg" in output
    assert "caption," not in output


def test_figures_for_programs(drawn: Path) -> None:
    """--json has all bins of all charts and the counts, on one line."""
    (line,) = ran("--root", drawn, "--json").output.splitlines()
    body = json.loads(line)
    assert body["schema"] == 1
    assert (body["samples"], body["looked"], body["same"], body["near"]) == (SAMPLES, SAMPLES, 2, 2)
    assert [row["name"] for row in body["datasets"]] == ["train", "valid"]
    assert body["charts"]["format"] == [{"bin": "jpeg", "samples": SAMPLES}]


def test_what_was_not_looked_at_is_said(tmp_path: Path) -> None:
    """Before any picture was decoded, and where only some were, the line says which command goes on."""
    write_root(tmp_path / "none", looked=[])
    assert "not known yet: `g3m index --pictures`" in ran("--root", tmp_path / "none").output
    write_root(tmp_path / "some", looked=["valid"])
    output = ran("--root", tmp_path / "some").output
    assert f"pictures decoded: {len(EVALUATION)};" in output
    assert "`g3m index --pictures` goes on" in output


@given(COUNTS)
@example([5] * 40)
def test_bars_never_lose_a_sample(counts: list[int]) -> None:
    """However many ranges a chart has, no more than LINES are shown, in order, and they count the same samples."""
    context = Context(None, Speaker("en"))  # type: ignore[arg-type]
    bins = [(f"{10 * place}-{10 * place + 9}", count) for place, count in enumerate(counts)]
    lines = list(bars("width", bins, sum(counts), context))
    assert len(lines) <= LINES
    rows = [line.split() for line in lines]
    assert sum(int(row[1].replace(",", "")) for row in rows) == sum(counts)
    ends = [tuple(map(int, row[0].split("-"))) for row in rows]
    assert ends[0][0] == 0
    assert ends[-1][1] == 10 * len(counts) - 1
    assert all(high + 1 == low for (_, high), (low, _) in itertools.pairwise(ends))


def test_open_ended_ranges_stay_open() -> None:
    """The last range of a chart has no end, and neither has what it is joined with."""
    context = Context(None, Speaker("en"))  # type: ignore[arg-type]
    bins = [("0", 9), *((f"{place}-{place}", 5) for place in range(1, 30)), ("30-", 1)]
    lines = list(bars("words", bins, 200, context))
    assert len(lines) == LINES
    assert lines[-1].split()[0].endswith("-")


def test_names_are_cut_and_the_rest_is_counted() -> None:
    """The most frequent names are shown, long ones cut, and how many more there are is said."""
    context = Context(None, Speaker("en"))  # type: ignore[arg-type]
    bins = [("x" * 500, 99), *((f"host{place}", 50 - place) for place in range(30))]
    lines = list(bars("host", bins, 1000, context))
    assert len(lines) == SHOWN + 1
    assert lines[-1].strip() == "21 more"
    assert max(map(len, lines)) < 120


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_bar_is_as_long_as_its_share(count: int, more: int) -> None:
    """What is there has a bar, nothing has none, and none is longer than the longest."""
    longest = count + more
    made = bar(count, longest)
    assert len(made) <= 40
    assert bool(made) == bool(count)
    assert len(bar(longest, longest)) == (40 if longest else 0)


def test_a_control_character_does_not_reach_the_terminal(context: Context) -> None:
    """A host of a hostile list is printed without what a terminal would obey."""
    row = DatasetRow(1, "set", "set", 1, 1, 0)
    charts = {"host": [("evil\x1b[2J\u202e", 1)]}
    made = Stats(datasets=(row,), samples=1, looked=0, same=0, near=0, charts=charts)
    text = "\n".join(stats_lines(made, context))
    from g3m.ui.words import printable

    assert "\x1b" not in printable(text)


# --- leaks ----------------------------------------------------------------------------------------------------------


def test_pairs_of_an_older_state_are_told(tmp_path: Path) -> None:
    """Where pictures were decoded and not compared since, the command that does so is named, and JSON says it."""
    root = write_root(tmp_path)
    assert "compares them again" in ran("--root", root).output
    assert "重新比较" in ran("--root", root, "--lang", "zh").output
    assert not json.loads(ran("--root", root, "--json").output)["is_current"]
    with open_catalog(root / ".g3m" / FILE, writing=True) as catalog:
        for _ in find_alike(catalog, make_session({"root": str(root)})):
            pass
    assert "compares them again" not in ran("--root", root).output
    assert json.loads(ran("--root", root, "--json").output)["is_current"]


def test_leaks_are_told_with_what_near_means(drawn: Path) -> None:
    """How many, where, of which kind, what near means and does not find, and the pairs."""
    result = ran("--leaks", "valid", "--root", drawn)
    assert result.exit_code == 0, result.output
    assert f"valid: 3 of {len(EVALUATION)} pictures are also in other datasets" in result.output
    assert "  train: same bytes 2, nearly the same 2, perhaps 0 (of 25)" in result.output
    assert "at most 16\nof 128 bits" in result.output
    assert "mostly not found" in result.output
    for key, like in LEAKED.items():
        assert any(f"train/{key} " in line and f"valid/{like}" in line for line in result.output.splitlines())


def test_leaks_for_programs_and_as_a_list(drawn: Path, tmp_path: Path) -> None:
    """--json has everything, --out writes the list of what is to be left out."""
    path = tmp_path / "deep" / "leaks.jsonl"
    result = ran("--leaks", "valid", "--out", path, "--root", drawn, "--json")
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout.splitlines()[-1])
    assert body["complete"] is True
    assert body["out"] == str(path)
    assert {row["key"]: row["like_key"] for row in body["leaks"]["pairs"]} == LEAKED
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["key"]: row["like"].removeprefix("valid/") for row in rows} == LEAKED
    assert {row["dataset"] for row in rows} == {"train"}


def test_a_written_list_is_told_with_its_use(drawn: Path, tmp_path: Path) -> None:
    """After --out the line says where it is and which call and command read it."""
    path = tmp_path / "leaks.jsonl"
    output = ran("--leaks", "valid", "--out", path, "--root", drawn).output
    assert f"{path}: 4 samples to leave out" in output
    assert f"g3m drop --keys {path}" in output


@pytest.mark.parametrize("words", [["--out", "x"], ["--leaks", "nope"], ["nope"]])
def test_what_cannot_be_answered_is_a_usage_error(drawn: Path, words: list[str]) -> None:
    """--out without --leaks, and names that the catalog does not have."""
    result = ran(*words, "--root", drawn)
    code = result.exit_code if not isinstance(result.exception, UsageError) else result.exception.exit_code
    assert code == 2


def test_without_a_catalog_the_command_says_so(tmp_path: Path) -> None:
    """The error is one that people can act on."""
    assert isinstance(ran("--root", tmp_path).exception, UnknownCatalog)


def test_no_leak_is_an_answer_of_its_own(context: Context) -> None:
    """Nothing found is said plainly, with how much was searched, and without a list."""
    made = leaks(hit=0, datasets=(Searched(dataset="train", samples=9, looked=9),))
    text = told(made, context)
    assert text.startswith("valid: none of its 5 pictures was found in the other datasets")
    assert "(of 9)" in text
    assert "/" not in text


def test_an_answer_that_does_not_cover_all_says_so(context: Context) -> None:
    """Pictures that were not looked at are counted for each dataset, the evaluation set among them."""
    made = leaks(looked=4, datasets=(Searched(dataset="train", samples=9, looked=2),))
    text = told(made, context)
    assert "valid: 1 of 5 not looked at yet (g3m index valid --pictures)" in text
    assert "train: 7 of 9 not looked at yet (g3m index train --pictures)" in text
    assert "not looked at" not in told(leaks(), context)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refuted": 3}, "3 were alike by hash and are not the same picture"),
        ({"is_crowded": True}, "not all of those were compared"),
        ({"datasets": (Searched(dataset="t", samples=1, looked=1, unsure=1),)}, "not compared a second time"),
        ({"datasets": ()}, "no other dataset"),
        ({"is_cut": True, "pairs": (leak(),)}, "only the first 1 are listed"),
        ({"pairs": (leak(),) * (SHOWN + 5)}, "and 5 more: --out FILE"),
        ({"pairs": (leak(why="near", bits=3, correlation=0.987),)}, "nearly the same (3 bits, 0.99)"),
        ({"pairs": (leak(why="unsure", bits=3),)}, "perhaps (3 bits)"),
    ],
)
def test_every_limit_of_an_answer_is_told(changes: dict[str, object], words: str, context: Context) -> None:
    """What was refuted, not compared, unsure or cut stands in the text, and only then."""
    assert words in told(leaks(**changes), context)
    assert words not in told(leaks(), context)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_there_in_both_languages(language: str, context: Context) -> None:
    """With everything that there is to say, each sentence can be said."""
    pairs = tuple(
        leak(why=why, bits=1, correlation=0.95 if why == "near" else None)
        for why in ("exact", "near", "unsure")
    )
    datasets = (Searched(dataset="train", samples=9, looked=2, exact=1, near=1, unsure=1),)
    made = leaks(datasets=datasets, pairs=pairs, refuted=1, is_crowded=True, is_cut=True)
    lines = list(leaks_lines(made, Path("x.jsonl"), replace(context, speaker=Speaker(language))))
    assert len(lines) == 12
    assert all(line.strip() for line in lines)
