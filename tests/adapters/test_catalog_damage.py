"""A catalog that was damaged, replaced, locked or left half written: it is said, and never answered wrongly for long."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from g3m.adapters import catalog_file
from g3m.adapters.catalog import FILE, Catalog, ShardFacts, open_catalog
from g3m.core.browse import Span, View
from g3m.core.catalog import Entry, count_words
from g3m.core.errors import G3MError, StorageError, UnknownCatalog

WORDS = ("red", "bus", "公交车", "café", "double", "decker", "dog", "night")


def entries(count: int, seed: int = 0) -> list[Entry]:
    """Rows that fill all tables."""
    drawn = random.Random(seed)
    made = []
    for number in range(count):
        caption = " ".join(drawn.choices(WORDS, k=drawn.randint(0, 12)))
        made.append(
            Entry(
                key=f"key{seed}-{number:05d}",
                caption=caption,
                width=drawn.randint(1, 4000),
                height=drawn.randint(1, 4000),
                size_bytes=drawn.randint(100, 10**6),
                words=count_words(caption),
                host=f"host{number % 7}.example",
                format=drawn.choice(("jpeg", "png")),
                flags=drawn.randint(0, 255),
                digest=drawn.randbytes(32),
                rows=drawn.randint(-(2**63), 2**63 - 1),
                columns=drawn.randint(-(2**63), 2**63 - 1),
            )
        )
    return made


def facts(number: int = 0, name: str = "mine") -> ShardFacts:
    """A shard of 200 samples."""
    return ShardFacts(
        dataset=name,
        folder=name,
        name=f"{number:05d}.tar",
        number=number,
        first=200 * number,
        stamp=str(number),
    )


def make(path: Path, shards: int = 3) -> Path:
    """A catalog with rows in every table."""
    with open_catalog(path, writing=True) as catalog:
        ids = [catalog.put(facts(number), entries(200, number), looked=True) for number in range(shards)]
        catalog.put_alike(
            [((ids[0] << 24) + place, (ids[1] << 24) + place, place % 9) for place in range(20)], 3
        )
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that tests copy."""
    return make(tmp_path_factory.mktemp("catalog") / FILE)


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A catalog of the test's own."""
    return Path(shutil.copy(whole, tmp_path / FILE))


QUESTIONS: tuple[Callable[[Catalog], object], ...] = (
    lambda catalog: catalog.browse(View()),
    lambda catalog: catalog.browse(View(query="red bus")),
    lambda catalog: catalog.browse(View(query="re* OR 公交", width=Span(500, 2000), flag="bomb")),
    lambda catalog: catalog.browse(View(seed=7, format="png")),
    lambda catalog: catalog.browse(View(host="host3.example", aspect=Span(None, 1.5))),
    lambda catalog: catalog.count(View(query="dog", words=Span(3, 6))),
    lambda catalog: catalog.count(View(flag="bomb")),
    lambda catalog: list(catalog.keys(View(query="night"))),
    lambda catalog: catalog.row("mine", 417),
    lambda catalog: catalog.rows([(1 << 24) + place for place in range(200)]),
    lambda catalog: catalog.locate("mine", "key1-00007"),
    lambda catalog: (catalog.datasets(), catalog.shards(), catalog.tallies()),
    lambda catalog: list(catalog.looks()),
    lambda catalog: (catalog.pairs(), catalog.alike_of(1 << 24)),
    lambda catalog: catalog.sql("SELECT count(*), max(caption), min(aspect), max(sha256) FROM samples"),
)


def ask_all(path: Path) -> Iterator[object]:
    """What every question gives: an answer or an error of ours; anything else is a failure."""
    try:
        catalog = open_catalog(path)
    except G3MError as error:
        yield error
        return
    with catalog:
        for question in QUESTIONS:
            try:
                yield question(catalog)
            except G3MError as error:
                yield error


def damage(data: bytes, kind: str, seed: int) -> bytes:
    """The bytes of a file after an accident."""
    drawn, made, page = random.Random(f"{kind} {seed}"), bytearray(data), 8192
    place = drawn.randrange(len(data) // page) * page
    if kind == "bits":
        for _ in range(drawn.randint(1, 20)):
            made[drawn.randrange(len(made))] ^= 1 << drawn.randrange(8)
    elif kind == "cells":  # near the beginning of a page, where its structure is
        for _ in range(3):
            made[place + drawn.randrange(120)] = drawn.randrange(256)
    elif kind == "zeros":
        made[place : place + page] = bytes(page)
    elif kind == "noise":
        made[place : place + page] = drawn.randbytes(page)
    elif kind == "swapped":
        other = drawn.randrange(len(data) // page) * page
        made[place : place + page], made[other : other + page] = (
            data[other : other + page],
            data[place : place + page],
        )
    else:
        del made[drawn.randrange(len(made)) :]
    return bytes(made)


@pytest.mark.parametrize("kind", ["bits", "cells", "zeros", "noise", "swapped", "cut"])
def test_damage_gives_answers_or_errors_of_ours(whole: Path, tmp_path: Path, kind: str) -> None:
    """Whatever bytes are wrong, no question ends in an error that is not explained, and none hangs."""
    data, said = whole.read_bytes(), 0
    for seed in range(40):
        path = tmp_path / f"{seed}.sqlite"
        path.write_bytes(damage(data, kind, seed))
        said += sum(isinstance(answer, UnknownCatalog) for answer in ask_all(path))
        path.unlink()
    assert said > 0


@pytest.mark.parametrize("kind", ["bits", "cells", "zeros", "noise", "swapped", "cut"])
def test_writing_into_a_damaged_catalog_is_said(whole: Path, tmp_path: Path, kind: str) -> None:
    """A writer meets the damage as an error of ours, too, or makes the catalog anew."""
    data = whole.read_bytes()
    for seed in range(20):
        path = tmp_path / f"{seed}.sqlite"
        path.write_bytes(damage(data, kind, seed))
        try:
            with open_catalog(path, writing=True) as catalog:
                catalog.put(facts(1), entries(50))
                catalog.drop("mine", ["key0-00001"])
                catalog.forget("mine")
        except G3MError:
            pass
        path.unlink(missing_ok=True)


def test_the_remedy_is_named(path: Path) -> None:
    """The error says which file it is and which command makes it again."""
    path.write_bytes(b"not a database, but as long as one" * 500)
    with pytest.raises(UnknownCatalog, match="cannot be read") as caught:
        open_catalog(path)
    assert str(path) in caught.value.message
    assert "g3m index" in caught.value.hint[0]


@pytest.mark.parametrize("other", ["empty", "text", "foreign", "older", "newer"])
def test_another_file_is_refused_by_readers_and_replaced_by_writers(path: Path, other: str) -> None:
    """An empty file, a text, another program's database, another format: none is read, all are made anew."""
    if other in ("empty", "text"):
        path.write_bytes(b"" if other == "empty" else b"a text\n")
    elif other == "foreign":
        path.unlink()
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE sample(id)")
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {catalog_file.FORMAT + (1 if other == 'newer' else -1)}")
    with pytest.raises(UnknownCatalog):
        open_catalog(path)
    with open_catalog(path, writing=True) as catalog:
        assert catalog.datasets() == ()
        catalog.put(facts(), entries(5))
    with open_catalog(path) as catalog:
        assert catalog.count(View()).samples == 5


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    """Where a folder has the catalog's name, reading and writing say so instead of failing anyhow."""
    (tmp_path / FILE / "x").mkdir(parents=True)
    for writing in (False, True):
        with pytest.raises(G3MError):
            open_catalog(tmp_path / FILE, writing=writing)
    assert (tmp_path / FILE / "x").is_dir()


def test_reading_goes_on_while_a_writer_prepares(path: Path) -> None:
    """A transaction that is open, but not yet being committed, keeps nobody from reading what was there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as writer, open_catalog(path) as catalog:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM sample WHERE id & 1")
        assert catalog.count(View()).samples == 600
        assert len(catalog.browse(View(query="red"), 500).rows) > 0
        writer.execute("ROLLBACK")


def test_a_lock_is_waited_for_and_then_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that goes away in time is not noticed; one that stays is named with what holds it."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, lambda: writer.execute("ROLLBACK"))
        timer.start()
        with open_catalog(path) as catalog:
            assert catalog.count(View()).samples == 600
        timer.join()
        monkeypatch.setattr(catalog_file, "BUSY_S", 0.1)
        writer.execute("BEGIN EXCLUSIVE")
        for writing in (False, True):
            with pytest.raises(StorageError, match="by another process") as caught:
                open_catalog(path, writing=writing)
            assert "g3m index" in caught.value.hint[0]
            assert not isinstance(caught.value, UnknownCatalog)
        writer.execute("ROLLBACK")
    with open_catalog(path) as catalog:
        assert catalog.count(View()).samples == 600


def test_what_a_killed_writer_left_is_rolled_back(tmp_path: Path) -> None:
    """After a kill in the middle of a commit, the next reader finds the shards before it, whole."""
    path = make(tmp_path / FILE, shards=2)
    script = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute('UPDATE sample SET width = 0, key = key || key')\n"
        "db.execute('DELETE FROM caption')\n"
        "print('written', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    journal = path.with_name(f"{FILE}-journal")
    assert journal.stat().st_size > 0
    with open_catalog(path) as catalog:
        assert not journal.exists()
        row = catalog.row("mine", 7)
        assert row is not None
        assert (row.key, row.width > 0) == ("key0-00007", True)
        assert catalog.count(View(query="red")).samples == len(catalog.browse(View(query="red"), 500).rows)


def test_a_journal_of_another_file_does_no_harm(path: Path, whole: Path) -> None:
    """A torn journal beside the catalog is not taken for changes."""
    path.with_name(f"{FILE}-journal").write_bytes(random.Random(1).randbytes(5000))
    with open_catalog(path) as catalog, open_catalog(whole) as other:
        assert catalog.browse(View(query="red")) == other.browse(View(query="red"))


def test_questions_read_what_they_may_not_write(path: Path) -> None:
    """Without the right to write into the folder or the file, all questions are answered and nothing is changed."""
    before = path.read_bytes()
    # Root may write anywhere, so the questions are asked without that right.
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.adapters.test_catalog_damage import ask_all\n"
        "path = Path(sys.argv[1])\n"
        "try:\n    path.with_name('new').touch()\nexcept OSError:\n    pass\nelse:\n    sys.exit('could write')\n"
        "print(sum(isinstance(answer, Exception) for answer in ask_all(path)))\n"
        "from g3m.adapters.catalog import open_catalog, ShardFacts\n"
        "from g3m.core.errors import NotWritable\n"
        "try:\n    with open_catalog(path, writing=True) as catalog:\n"
        "        catalog.forget('mine')\n"
        "except NotWritable:\n    print('said')\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", *command]
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    finally:
        path.parent.chmod(0o755)
    assert (ran.stdout.split(), ran.stderr) == (["0", "said"], "")
    assert path.read_bytes() == before


@pytest.mark.parametrize("message", ["disk I/O error", "locking protocol"])
def test_a_disk_that_fails_is_no_damage(path: Path, message: str) -> None:
    """What a network file system without locks answers is a matter of the disk: nothing is thrown away for it."""
    error = catalog_file.translated(sqlite3.OperationalError(message), path)
    assert isinstance(error, StorageError)
    assert message in str(error)


def test_a_catalog_made_anew_is_seen_by_who_has_it_open(path: Path) -> None:
    """A page that is open while `g3m index` replaces the file answers from the new one."""
    with open_catalog(path) as catalog:
        assert catalog.count(View()).samples == 600
        catalog_file.discard(path)
        with open_catalog(path, writing=True) as made:
            made.put(facts(), entries(5))
        assert catalog.count(View()).samples == 5


def test_a_catalog_that_another_is_making_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there until its tables are written is no damaged catalog: who comes second waits for the first."""
    path = tmp_path / FILE
    with closing(sqlite3.connect(path, isolation_level=None)) as first:
        first.executescript("BEGIN IMMEDIATE; CREATE TABLE held(id); PRAGMA user_version = 1;")
        file = path.stat().st_ino

        def create(place: Path) -> None:
            assert place.stat().st_ino == file
            first.execute("ROLLBACK")
            catalog_file.create(place)

        monkeypatch.setattr("g3m.adapters.catalog.create", create)
        with open_catalog(path, writing=True) as catalog:
            catalog.put(facts(), entries(5))
            assert catalog.count(View()).samples == 5
    assert path.stat().st_ino == file


@pytest.mark.parametrize(
    "text",
    ["\x00", "a\x00b", "\U0010ffff", "'); DROP TABLE sample; --", "\u202e", "x" * 200_000, "\n"],
)
def test_any_text_goes_in_and_comes_out(tmp_path: Path, text: str) -> None:
    """Keys, captions and hosts of strangers are kept as they are, found and dropped."""
    with open_catalog(tmp_path / FILE, writing=True) as catalog:
        entry = Entry(key=f"k{text}", caption=f"dog {text}", host=text, format="jpeg", width=1, height=1)
        catalog.put(facts(), [entry])
        (row,) = catalog.browse(View(query="dog")).rows
        assert (row.key, row.caption, row.host) == (entry.key, entry.caption, text)
        assert catalog.locate("mine", entry.key) == (row,)
        assert catalog.browse(View(host=text)).rows == (row,)
        assert catalog.drop("mine", [row.key]) == 1
        assert catalog.browse(View()).rows == ()


def test_a_catalog_from_elsewhere_runs_nothing(path: Path) -> None:
    """Functions that reach out of the database cannot be called by a view that a stranger wrote into it."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP VIEW samples")
        db.execute("CREATE VIEW samples AS SELECT load_extension('/tmp/x.so') AS dataset")
    with open_catalog(path) as catalog, pytest.raises(G3MError, match=r"unsafe|authorized|prohibited"):
        catalog.sql("SELECT * FROM samples")


def test_words_can_be_asked_for_in_sql(path: Path) -> None:
    """A SELECT may search the captions, too, and what it finds is what a search finds."""
    with open_catalog(path) as catalog:
        text = "SELECT count(*) FROM samples WHERE id IN (SELECT rowid FROM found WHERE found MATCH 'red AND bus')"
        assert catalog.sql(text).rows == ((catalog.count(View(query="red bus")).samples,),)
