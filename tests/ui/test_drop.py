"""`g3m drop`: what it says, in both languages and as JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.adapters.catalog import FILE, open_catalog
from g3m.runners.index import catalog
from g3m.ui.cli import cli


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Five samples in three shards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", 2)
    files: dict[str, bytes] = {}
    for number in range(5):
        files |= {f"k{number}.jpg": tiny_jpeg(number), f"k{number}.txt": f"unheard words {number}".encode()}
    archive = zip_of(tmp_path / "source" / "heap.zip", files)
    recipe = my_recipe(tmp_path / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    return make(recipe, archive)


def run(made: Made, *arguments: str) -> Result:
    done = CliRunner().invoke(cli, ["drop", *arguments, "--root", str(made.root)])
    assert done.exit_code == 0 or isinstance(done.exception, Exception), done.output
    return done


def write(made: Made, *lines: str) -> str:
    path = made.root.parent / "list.txt"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_it_says_what_matched_and_what_did_not(made: Made) -> None:
    """How many samples of which dataset, what matched nothing, and that the shards still hold them."""
    done = run(made, "--keys", write(made, "k1", "heap/k2", "other"), "--reason", "a mail")
    assert done.output.splitlines() == [
        "heap: 2 dropped, 0 were dropped before",
        "1 of 3 entries matched nothing, for example other",
        "The shards still hold these samples; nobody is shown them. `g3m drop --rewrite` removes them.",
    ]
    done = run(made, "--list")
    assert done.output.splitlines() == [
        "heap: 2 dropped, 0 of them are gone from the shards",
        "  k1  a mail  (list.txt)",
        "  k2  a mail  (list.txt)",
    ]
    done = run(made, "--rewrite", "--lang", "zh")
    assert "删除 2 个样本" in done.output
    body = json.loads(run(made, "--list", "--json").output)
    assert body["dropped"]["heap"][0] == {
        "key": "k1",
        "reason": "a mail",
        "from": "list.txt",
        "shard": "00001.tar",
    }


def test_the_catalog_forgets_the_caption_for_good(made: Made) -> None:
    """Neither a search nor the bytes of the file have it, before any shard is written anew."""
    catalog(root=str(made.root))
    path = made.root / ".g3m" / FILE
    assert b"unheard words 3" in path.read_bytes()
    run(made, "--keys", write(made, "k3"))
    assert b"unheard words 3" not in path.read_bytes()
    with open_catalog(path) as opened:
        assert opened.locate("heap", "k3") == ()
        assert len(opened.locate("heap", "k2")) == 1


def test_a_dry_run_says_what_would_be(made: Made) -> None:
    """Nothing is written, and JSON has the same numbers."""
    listed = write(made, "k1", "k1", "k4")
    assert (
        run(made, "--keys", listed, "--dry-run").output == "heap: 2 would be dropped, 0 were dropped before\n"
    )
    body = json.loads(run(made, "--keys", listed, "--dry-run", "--json").output)["drop"]
    assert (body["dry_run"], body["entries"], body["unmatched"]) == (True, 2, 0)
    assert body["datasets"] == [{"dataset": "heap", "new": 2, "before": 0, "samples": 2}]
    assert not (made.folder / "dropped.jsonl").exists()
    assert run(made, "--list").output == "Nothing was dropped.\n"


def test_nothing_that_matches_is_said_too(made: Made) -> None:
    """A mistyped list is not taken for a takedown that is done."""
    done = run(made, "--keys", write(made, "K1"))
    assert done.output.splitlines() == [
        "No entry matches a sample of: heap",
        "1 of 1 entries matched nothing, for example K1",
    ]


def test_what_cannot_be_done_is_refused(made: Made) -> None:
    """No list at all, a line that is none, a list that is not there, a dataset that is not here."""
    assert "no list" in str(run(made).exception)
    assert "line 2" in str(run(made, "--keys", write(made, "k1", "{}")).exception)
    assert "line 1" in str(run(made, "--urls", write(made, "k1")).exception)
    assert "cannot be read" in str(run(made, "--keys", "nowhere.txt").exception)
    assert "not under" in str(run(made, "nothing", "--keys", write(made, "k1")).exception)
    assert CliRunner().invoke(cli, ["drop", "--list", "--rewrite", "--root", str(made.root)]).exit_code == 2
    assert not (made.folder / "dropped.jsonl").exists()


def test_a_list_beside_the_shards_is_for_that_dataset_only(made: Made) -> None:
    """Its keys are bare, and another dataset may have the same."""
    (made.folder / "mine.txt").write_text("k0\n")
    done = run(made, "--keys", str(made.folder / "mine.txt"), "--json")
    assert json.loads(done.output)["drop"]["datasets"][0]["new"] == 1


def test_what_cannot_be_written_anew_is_an_error_after_all_was_said(made: Made) -> None:
    """The samples are recorded, and the user is told so, before the command fails."""
    listed = write(made, *(f"k{number}" for number in range(5)))
    done = run(made, "--keys", listed, "--rewrite")
    assert "heap: 5 dropped, 0 were dropped before" in done.output
    assert "all of its samples" in str(done.exception)
    body = json.loads(run(made, "--rewrite", "--json").output.splitlines()[-1])["drop"]
    assert body["failed"] == {"heap": "heap: all of its samples were dropped"}
    assert json.loads(run(made, "--list", "--json").output)["dropped"]["heap"][4]["key"] == "k4"
