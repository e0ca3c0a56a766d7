"""Documents that were written by hand, cut, or hit by a flipped bit: a named error or as if absent, and never a wrong result.

Each is declared once: what it is, who reads it, and whether an error must name it. A small dataset and a gathered one
are made once and put back before every damage; then the commands that read the document are run. By default some
damages of each are tried; with G3M_SEARCH=all all of them are.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from tests.hostile.documents import FILES, Damage, by_hand, flips, released
from tests.pictures_host import PicturesHost, pictures_host
from tests.runners.lists import rows_of, write_list
from tests.steps.offline import zip_of
from tests.whole.sources import my_recipe

import g3m
from g3m.adapters.credentials import hub_token, kaggle_token
from g3m.core.errors import G3MError, storage_error
from g3m.lab.drawings import draw
from g3m.ui.cli import cli

SEARCH = os.environ.get("G3M_SEARCH") == "all"
FLIPS, CHANGES = (100, 100) if SEARCH else (2, 4)
ALWAYS = ("a pipe", "brackets", "brackets in a table", "UTF-16")
SAMPLES = 6
DATASET, GATHERED = "data/mine/heap", "gathered"
ERROR_CHARACTERS = 20_000
"""More than this nobody reads."""


@dataclass(frozen=True)
class Desk:
    """A working folder with a packed dataset, a gathered one, and a home; `whole` is how it was."""

    folder: Path
    whole: Path

    def path(self, name: str) -> Path:
        """A file by its name, or by a pattern that fits one."""
        return next(self.folder.glob(name)) if "*" in name else self.folder / name

    def restore(self) -> None:
        """Put everything back."""
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(self.whole, self.folder, dirs_exist_ok=True)

    def is_as_it_was(self, name: str, *endings: str) -> bool:
        """Whether the files of a dataset that are the same on every machine are what they were."""
        return _digests(self.folder / name, endings) == _digests(self.whole / name, endings)


def _digests(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in endings and path.is_file()
    }


@dataclass(frozen=True)
class Ended:
    """How a command ended: 0, or the error that it told."""

    code: int
    error: G3MError | None = None


def ended(*arguments: str) -> Ended:
    """Run a command here, as the entry point does; what it would show as a traceback is raised."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = cli.main(args=list(arguments), prog_name="g3m", standalone_mode=False)
        except click.ClickException as error:
            return Ended(error.exit_code)
        except G3MError as error:
            return Ended(error.exit_code, error)
        except OSError as error:
            if not isinstance(error.filename, str):
                raise
            told = storage_error(error, error.filename)
            return Ended(told.exit_code, told)
    return Ended(code if isinstance(code, int) else 0)


def texts_of(folder: Path) -> list[str]:
    """What a training would read."""
    found = g3m.dataset(str(folder))
    return [found[number].text for number in range(len(found))]


# Who reads. Each gives how it ended; where that is 0, it has looked at what the document leads to.

Reader = Callable[[Desk], Ended]


def get(desk: Desk) -> Ended:
    """`g3m get` goes on with what is here: where it says that it is done, every shard is as it should be."""
    done = ended(
        "get", "./heap.toml", "--root", "data", "--from", "source/heap.zip", "--offline", "-y", "--quiet"
    )
    assert done.code or desk.is_as_it_was(DATASET, ".tar")
    return done


def get_anew(desk: Desk) -> Ended:
    """The same where the dataset is not published yet: what receipts and lists say decides."""
    desk.path(DATASET).joinpath("manifest.json").unlink(missing_ok=True)
    done = get(desk)
    assert done.code or desk.is_as_it_was(DATASET, ".tar", ".json", ".jsonl", ".bin")
    return done


def get_and_verify(desk: Desk) -> Ended:
    """The same where the document decides nothing about the shards: what it spoils beside them, verify finds."""
    desk.path(DATASET).joinpath("manifest.json").unlink(missing_ok=True)
    done = get(desk)
    if done.code == 0 and not desk.is_as_it_was(DATASET, ".bin"):
        assert ended("verify", "--root", "data", "--deep", "--quiet").code == 7
    return done


def pack_anew(desk: Desk) -> Ended:
    """The same where the shard has to be packed once more."""
    desk.path(DATASET).joinpath("00000.tar").unlink(missing_ok=True)
    desk.path(f"{_RECEIPTS}/heap").joinpath("00000.tar.json").unlink(missing_ok=True)
    return get_anew(desk)


def gather(desk: Desk) -> Ended:
    """`g3m gather` once more, over what is here."""
    return _gathered(desk, "list.jsonl")


def gather_again(desk: Desk) -> Ended:
    """`g3m gather --retry-failed`, which asks once more for what failed."""
    return _gathered(desk, "--retry-failed")


def _gathered(desk: Desk, what: str) -> Ended:
    """The rows are there; or, where the host was asked too much at once, after another try."""
    options = ("--to", GATHERED, "--allow-private", "--task-rows", "4", "--jobs", "1", "--quiet")
    done = ended("gather", what, *options)
    rows = [f"row {number}" for number in (0, 1, 2, 4, 5)]
    if not done.code and sorted(texts_of(desk.path(GATHERED))) != rows:
        ended("gather", "--retry-failed", *options)
        assert sorted(texts_of(desk.path(GATHERED))) == rows
    return done


def verify(desk: Desk) -> Ended:
    """`g3m verify` finds fault or none; with none the shards are those that were packed, and with --deep the index."""
    done = ended("verify", "--root", "data", "--json")
    assert done.code or desk.is_as_it_was(DATASET, ".tar")
    if done.code == 0 and not desk.is_as_it_was(DATASET, ".bin"):
        assert ended("verify", "--root", "data", "--deep", "--json").code == 7
    return done


def status(desk: Desk) -> Ended:
    """`g3m status` says what is here, for programs and for people."""
    return _first(ended("status", "--root", "data", "--json"), ended("status", "--root", "data"))


def status_of_gathered(desk: Desk) -> Ended:
    """The same for a gathered dataset."""
    return _first(ended("status", "--root", GATHERED, "--json"), ended("status", "--root", GATHERED))


def _first(*done: Ended) -> Ended:
    return max(done, key=lambda one: one.code)


def load(desk: Desk) -> Ended:
    """A training reads the samples that were packed, all of them and in order, or is told why not."""
    try:
        found = texts_of(desk.path(DATASET))
    except G3MError as error:
        return Ended(error.exit_code, error)
    assert found == [f"a caption of {number}" for number in range(SAMPLES)]
    return Ended(0)


def read_all(desk: Desk) -> Ended:
    """A training reads samples from where the index says, which nobody but `g3m verify` compares with the shards."""
    try:
        texts_of(desk.path(DATASET))
    except G3MError as error:
        return Ended(error.exit_code, error)
    return Ended(0)


def load_some(desk: Desk) -> Ended:
    """The same where the document says which samples count: none is another than it was."""
    try:
        found = texts_of(desk.path(DATASET))
    except G3MError as error:
        return Ended(error.exit_code, error)
    assert set(found) <= {f"a caption of {number}" for number in range(SAMPLES)}
    return Ended(0)


def drop(desk: Desk) -> Ended:
    """`g3m drop` notes one more, and writes the shards anew."""
    desk.path("more.txt").write_text("0003\n")
    done = ended("drop", "--root", "data", "--keys", "more.txt", "--rewrite", "--quiet")
    assert done.code or "a caption of 3" not in texts_of(desk.path(DATASET))
    return done


def show_drops(desk: Desk) -> Ended:
    """`g3m drop --list`."""
    return ended("drop", "--root", "data", "--list")


def drop_listed(desk: Desk) -> Ended:
    """`g3m drop` by a list that a person wrote."""
    return ended("drop", "--root", "data", "--keys", "keys.txt", "--dry-run")


def plan(desk: Desk) -> Ended:
    """`g3m plan` and `g3m recipe check` of a recipe file."""
    planned = ended("plan", "./heap.toml", "--root", "data", "--offline", "--json")
    return _first(planned, ended("recipe", "check", "./heap.toml"))


def settings(desk: Desk) -> Ended:
    """A command that needs the settings alone."""
    return ended("list", "--json")


def own_recipe(desk: Desk) -> Ended:
    """Commands that need a recipe of the folder that the settings name."""
    return _first(
        ended("list", "--json"), ended("recipe", "show", "mine"), ended("plan", "mine", "--offline")
    )


def tokens(desk: Desk) -> Ended:
    """The tokens of this home: never a text that would not stand in one line of a header."""
    for token in (hub_token({}, desk.path("home"), ["a"]), kaggle_token({}, desk.path("home"), ["a"])):
        value = token.header.reveal() if token else ""
        assert value.isascii()
        assert value.isprintable()
    return Ended(0)


@dataclass(frozen=True)
class Document:
    """A document: where it stands, how it is written, who reads it, and whether an error must name it.

    `content` is what stands there before it comes to grief, where the commands have left nothing; `slow` are readers
    with G3M_SEARCH=all only.
    """

    name: str
    kind: str
    readers: tuple[Reader, ...]
    slow: tuple[Reader, ...] = ()
    must_name: bool = False
    content: str = ""


_PLAN, _RECEIPTS = "data/.g3m/plan", "data/.g3m/receipts"
_GATHER_PLAN, _GATHER_RECEIPTS = f"{GATHERED}/.g3m/plan/gathered", f"{GATHERED}/.g3m/receipts/gathered"
_DROPPED = """{"format": 1, "kind": "Dropped"}
{"key": "0002", "reason": "asked for", "from": "keys.txt"}
{"key": "0004", "reason": "", "from": "keys.txt"}
"""
_LOCK = '{"host": "elsewhere", "pid": 77, "token": "abc"}'
_FINDINGS = '{"shard": "00000.tar", "key": "0003", "class": "trailing", "action": "kept"}\n'
_REJECTED = '{"key": "0009", "reason": "no_caption", "detail": ""}\n'
_TERMS = '{"shown": ["coco", "heap"]}'
_MINE = """format = 1
name = "mine"
title = "a list"
folder = "mine"
licence = "mine"

[[assets]]
name = "list.csv"
size_bytes = 12
places = ["https://nowhere.invalid/list.csv"]

[samples]
reader = "urls"
url = "url"
caption = "text"

[policy]
cmyk = "fix"
"""
_FOLDER = """root = "data"
jobs = 1
url_timeout_s = 3.5
policy = ["cmyk=fix"]

[[mirrors]]
prefix = "https://huggingface.co/"
places = ["https://mirror.invalid/"]
"""
_OWN = """recipes = ["recipes"]
allow_private = false
bwlimit = "8M"
hub_token_hosts = ["huggingface.co"]
"""

DOCUMENTS = (
    Document("heap.toml", "toml", (plan,), must_name=True),
    Document("recipes/mine.toml", "toml", (own_recipe,), must_name=True),
    Document("g3m.toml", "toml", (settings,), must_name=True),
    Document("home/.config/g3m/config.toml", "toml", (settings,)),
    Document(f"{_RECEIPTS}/heap/arrange.json", "json", (status, get_anew)),
    Document(f"{_RECEIPTS}/heap/00000.tar.json", "json", (status, get_anew)),
    Document(f"{_RECEIPTS}/heap/00000.tar.index", "bytes", (get_and_verify,)),
    Document(f"{_RECEIPTS}/assets/*.json", "json", (status, get_and_verify)),
    Document(f"{_PLAN}/heap.samples", "lines", (pack_anew,)),
    Document("data/.g3m/lock", "json", (status, get_anew), content=_LOCK),
    Document("data/.g3m/terms.json", "json", (get_anew,), content=_TERMS),
    Document("data/.g3m/g3m.log", "text", (status,)),
    Document("data/.g3m/events.jsonl", "lines", (status,)),
    Document(f"{DATASET}/manifest.json", "json", (status, verify, load, show_drops, get)),
    Document(f"{DATASET}/index.bin", "bytes", (verify, read_all, get)),
    Document(f"{DATASET}/sizes.json", "json", (verify,), (get_anew,)),
    Document(f"{DATASET}/SHA256SUMS", "text", (verify,), (get_anew,)),
    Document(f"{DATASET}/findings.jsonl", "lines", (verify,), (drop,), content=_FINDINGS),
    Document(f"{DATASET}/rejected.jsonl", "lines", (drop,), content=_REJECTED),
    Document(f"{DATASET}/dropped.jsonl", "lines", (show_drops, load_some), (verify, drop), True, _DROPPED),
    Document("keys.txt", "text", (drop_listed,), content="0001\nheap/0002\n"),
    Document(f"{_GATHER_PLAN}.gather.json", "json", (status_of_gathered,), (gather, gather_again)),
    Document(f"{_GATHER_PLAN}.again.json", "json", (status_of_gathered,), (gather, gather_again)),
    Document(f"{_GATHER_RECEIPTS}/00000.tar.json", "json", (status_of_gathered,), (gather_again,)),
    Document("home/.cache/huggingface/token", "text", (tokens,), content="hf_abcdefgh\n"),
    Document("home/.kaggle/kaggle.json", "json", (tokens,), content='{"username": "me", "key": "abc"}'),
    Document("home/.kaggle/access_token", "text", (tokens,), content="abcdefgh\n"),
)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """Both datasets, made by the commands; the host of the gathered one is there as long as the tests."""
    before = Path.cwd()
    # In memory where that can be: thousands of small files are put on the disk, and none need be on it.
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (
        tempfile.TemporaryDirectory(dir=place) as folder,
        pytest.MonkeyPatch.context() as patch,
        pictures_host() as host,
    ):
        desk = Desk(Path(folder, "desk"), Path(folder, "whole"))
        desk.folder.mkdir()
        patch.setenv("HOME", str(desk.path("home")))
        patch.setenv("XDG_CONFIG_HOME", str(desk.path("home/.config")))
        patch.setenv("LANG", "C.UTF-8")
        os.chdir(desk.folder)
        make(desk, host)
        shutil.copytree(desk.folder, desk.whole, dirs_exist_ok=True)
        yield desk
        os.chdir(before)


def make(desk: Desk, host: PicturesHost) -> None:
    """Pack and gather."""
    files = {f"{n:04}.{kind}": data for n in range(SAMPLES) for kind, data in _files(n)}
    archive = zip_of(desk.path("source/heap.zip"), files)
    recipe = my_recipe(desk.path("heap.toml"), [(archive, [])], {"reader": "pairs", "images": archive.name})
    recipe.write_text(recipe.read_text().replace("licence =", 'terms = "Be kind."\nlicence =', 1))
    for name, content in (
        ("g3m.toml", _FOLDER),
        ("home/.config/g3m/config.toml", _OWN),
        ("recipes/mine.toml", _MINE),
    ):
        desk.path(name).parent.mkdir(parents=True, exist_ok=True)
        desk.path(name).write_text(content)
    first = (
        "get",
        "./heap.toml",
        "--root",
        "data",
        "--from",
        "source/heap.zip",
        "--offline",
        "-y",
        "--quiet",
    )
    assert ended(*first).code == 0
    write_list(desk.path("list.jsonl"), rows_of(host, *["good"] * 3, "busy", *["good"] * 2))
    options = ("--to", GATHERED, "--allow-private", "--task-rows", "4", "--jobs", "1", "--quiet")
    assert ended("gather", "list.jsonl", *options).code == 0
    assert ended("gather", "--retry-failed", *options).code == 0


def _files(number: int) -> tuple[tuple[str, bytes], ...]:
    return ("jpg", draw(1, number).jpeg), ("txt", b"a caption of %d" % number)


def damages(document: Document) -> Iterator[tuple[str, Damage]]:
    """What may stand in its place, then changes by hand, then single bits."""
    names = list(FILES)
    if not SEARCH:
        names = [*ALWAYS, *random.Random(document.name).sample(names, 7)]
    # A list on the command line may be a pipe, into which somebody writes.
    names = [name for name in names if name != "a pipe" or document.name != "keys.txt"]
    yield from ((name, FILES[name]) for name in names)
    yield from by_hand(document.kind, CHANGES)
    yield from flips(FLIPS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_document_that_came_to_grief(document: Document, desk: Desk) -> None:
    """Whatever stands there, each reader ends in order: right, or with an error that says what to do."""
    bad: dict[str, str] = {}
    for name, damage in damages(document):
        desk.restore()
        path = desk.path(document.name)
        if document.content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(document.content)
        damage(path)
        for reader in (*document.readers, *(document.slow if SEARCH else ())):
            try:
                with released(path):
                    done = reader(desk)
                check(document, done)
            except Exception as error:
                bad[f"{name}: {reader.__name__}"] = f"{type(error).__name__}: {error}"[:300]
    assert bad == {}


def check(document: Document, done: Ended) -> None:
    """An error is short, says what to do in both languages, and names the document where it must."""
    if done.error is None:
        return
    assert 0 < len(done.error.message) < ERROR_CHARACTERS
    assert all(done.error.hint)
    assert done.code in (1, 2, 3, 5, 6, 7)
    assert not document.must_name or Path(document.name).name in done.error.message, done.error.message[:200]
