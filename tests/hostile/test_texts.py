"""Hostile captions, names and lists: into the shards as they are or with a named reason, and out to people harmless."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.hostile.texts import CAPTIONS, LISTS, NAMES, REFUSED, Caption, Listed
from tests.steps.offline import Made, make, zip_of
from tests.whole.sources import my_recipe, tiny_jpeg

from g3m.adapters.lists import cut, look, read_span
from g3m.adapters.tables import parquet_columns, read_parquet
from g3m.core.errors import G3MError
from g3m.core.gathering import Columns
from g3m.core.samples import treat_caption
from g3m.core.treatment import Treatment
from g3m.ui.cli import cli

TURNING = {chr(code) for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""What changes the direction of the text around it."""


def obeyed(text: str) -> set[str]:
    """The characters of a text that a terminal would obey, or that turn around what stands beside them."""
    kinds = {one: unicodedata.category(one) for one in set(text)}
    return {one for one, kind in kinds.items() if kind in ("Cc", "Zl", "Zp", "Cs") or one in TURNING} - {"\n"}


@dataclass(frozen=True)
class Packed:
    """The captions and names as a dataset, and what the commands said about it."""

    made: Made
    said: dict[str, str]


COMMANDS = {
    "index": ("index", "--root", "data"),
    "search": ("search", "marker", "--root", "data", "--limit", "100"),
    "search json": ("search", "marker", "--root", "data", "--limit", "100", "--json"),
    "search keys": ("search", "marker", "--root", "data", "--limit", "100", "--keys"),
    "stats": ("stats", "--root", "data"),
    "stats json": ("stats", "--root", "data", "--json"),
    "sql": ("sql", "SELECT * FROM samples", "--root", "data"),
    "verify": ("verify", "--root", "data"),
    "status": ("status", "--root", "data"),
    "drop": ("drop", "--root", "data", "--keys", "keys.txt", "--reason", "\x1b[2J\u202e"),
    "drops": ("drop", "--root", "data", "--list"),
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """All captions and all names in one dataset, packed, indexed, searched, dropped from."""
    folder = tmp_path_factory.mktemp("texts")
    files = [(f"{n:04}{end}", data) for n, one in enumerate(CAPTIONS) for end, data in _files(n, one.data)]
    files += [(f"{name}{end}", data) for name in NAMES for end, data in _files(name, b"a marker by name")]
    archive = zip_of(folder / "source" / "heap.zip", files)
    recipe = my_recipe(folder / "heap.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made, said, before = make(recipe, archive), {}, Path.cwd()
    os.chdir(folder)
    Path("keys.txt").write_text("0001\nno\x1b[2J such\u202e key\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        for name, arguments in COMMANDS.items():
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                cli.main(args=list(arguments), prog_name="g3m", standalone_mode=False)
            said[name] = out.getvalue()
        os.chdir(before)
    return Packed(made, said)


def _files(mark: object, caption: bytes) -> tuple[tuple[str, bytes], ...]:
    return (".jpg", tiny_jpeg(mark)), (".txt", caption)


@pytest.mark.parametrize("number", range(len(CAPTIONS)), ids=[one.name for one in CAPTIONS])
def test_a_caption_in_the_shard(number: int, packed: Packed) -> None:
    """The text member has the declared text, the json holds the same, or the sample is listed with its reason."""
    one, key = CAPTIONS[number], f"{number:04}"
    if one.reason:
        assert (key, one.reason) in packed.made.rejected
        assert key not in packed.made.samples
        return
    files = packed.made.samples[key]
    assert files["txt"].decode() == one.text
    body = json.loads(files["json"].decode(), parse_constant=lambda word: pytest.fail(word))
    assert isinstance(body, dict)
    is_fixed = (key, "caption_not_utf8", "fixed") in packed.made.findings
    assert is_fixed == ("\ufffd" in one.text)


def test_every_name_has_a_key_or_a_reason(packed: Packed) -> None:
    """Keys are plain, no two samples share one, and what is left out is in the list, which holds no raw character."""
    plain = re.compile(r"[A-Za-z0-9_-]{1,80}")
    assert all(plain.fullmatch(key) for key in packed.made.samples)
    named = [text for text in packed.made.texts.values() if text == "a marker by name"]
    reasons = {"unsafe_name", "unsafe_key", "no_caption", "missing_image"}
    left_out = [reason for _, reason in packed.made.rejected if reason in reasons]
    assert len(named) >= len(NAMES) - len(left_out) > 0
    for name in ("rejected.jsonl", "findings.jsonl", "manifest.json", "SHA256SUMS", "README.md"):
        text = (packed.made.folder / name).read_text(encoding="utf-8")
        assert not obeyed(text), name


def test_nothing_is_written_elsewhere(packed: Packed) -> None:
    """Names of the archive name no file."""
    root = packed.made.root
    assert {path.name for path in root.iterdir()} == {".g3m", "mine"}
    assert not [path for path in root.rglob("*") if obeyed(path.name) or "passwd" in path.name]


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_that_is_said_is_obeyed(name: str, packed: Packed) -> None:
    """No caption and no name reaches a terminal, or a program behind, as anything but text."""
    said = packed.said[name]
    assert not obeyed(said) - ({"\t"} if name == "sql" else set())
    if name.startswith("search"):
        assert said.count("heap") >= 30
    if name.endswith("json"):
        assert said.isascii()
        assert all(isinstance(json.loads(line), dict) for line in said.splitlines())


def test_the_log_has_one_line_for_each_event(packed: Packed) -> None:
    """What is kept of a run is read line by line, whatever the names were."""
    work = packed.made.root / ".g3m"
    for name in ("g3m.log", "events.jsonl"):
        text = (work / name).read_bytes().decode("utf-8")
        assert not obeyed(text), name
    for line in (work / "events.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("one", LISTS, ids=lambda one: f"{one.form}: {one.name}")
def test_a_list(one: Listed, tmp_path: Path) -> None:
    """Each row is there, in its place; what cannot be read is a row without an address."""
    path = tmp_path / "list"
    path.write_bytes(one.data)
    columns = Columns(caption="") if one.form == "txt" else Columns()
    layout = look(path, f"list.{one.form}", columns)
    spans = list(cut(path, layout, 0, 1, 2))
    rows = [row for span in spans for row in read_span(path, layout, columns, span, 0)]
    assert [row.caption if row.url else None for row in rows] == list(one.captions)
    for row in rows:
        treated = treat_caption(row.caption, Treatment())
        assert treated.reason or treated.data.decode()


@pytest.mark.parametrize(("form", "data"), REFUSED, ids=lambda value: str(value[:20]))
def test_a_list_that_is_none(form: str, data: bytes, tmp_path: Path) -> None:
    """It is refused with its name and a hint, before a row of it is used."""
    path = tmp_path / f"list.{form}"
    path.write_bytes(data)
    with pytest.raises(G3MError) as caught:
        if form == "parquet":
            parquet_columns(path)
            list(read_parquet(path, None))
        else:
            layout = look(path, path.name, Columns())
            list(cut(path, layout, 0, 10, 10))
    assert str(path) in caught.value.message
    assert all(caught.value.hint)


@pytest.mark.parametrize("one", CAPTIONS, ids=lambda one: one.name)
def test_a_caption_in_a_row(one: Caption) -> None:
    """The same bytes out of a list become the same text, or the same reason."""
    text = one.data.decode("utf-8", "surrogateescape")
    treated = treat_caption(text, Treatment())
    assert treated.reason == one.reason
    assert one.reason or treated.data.decode() == one.text
