"""A damaged catalog and `g3m index`: it is made anew from the shards, with all that it had."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from tests.runners.test_search import make_root

import g3m
from g3m.adapters.catalog import FILE, open_catalog
from g3m.core.browse import View
from g3m.core.errors import G3MError
from g3m.runners.index import catalog

CAPTIONS = {"mine": tuple(f"a red bus, number {place}" for place in range(1500)), "other": ("a red cat",)}
PAGE = 8192


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an index and a catalog of its own making."""
    root = make_root(tmp_path_factory.mktemp("damaged") / "data", CAPTIONS)
    catalog(root=root)
    return root


def found(root: Path) -> int:
    """How many captions a search finds by reading all of them."""
    with open_catalog(root / ".g3m" / FILE) as book:
        return len(list(book.keys(View(query="red"))))


@pytest.mark.parametrize("seed", range(12))
def test_index_makes_a_damaged_catalog_anew(whole: Path, tmp_path: Path, seed: int) -> None:
    """With any page spoiled and a dataset to bring up to date, `index` ends well or --force makes it whole."""
    root = Path(shutil.copytree(whole, tmp_path / "data"))
    path = root / ".g3m" / FILE
    data, drawn = bytearray(path.read_bytes()), random.Random(seed)
    page = drawn.randrange(len(data) // PAGE) * PAGE
    data[page : page + PAGE] = drawn.randbytes(PAGE)
    path.write_bytes(data)
    (root / "other" / "00000.tar").touch()
    catalog("other", root=root)
    try:
        is_whole = found(root) == 1501
    except G3MError:
        is_whole = False
    if not is_whole:
        catalog(root=root, force=True)
        assert found(root) == 1501


def test_a_moved_root_is_found_where_it_is(whole: Path, tmp_path: Path) -> None:
    """A root that was copied elsewhere with its catalog answers with samples of its own."""
    root = Path(shutil.copytree(whole, tmp_path / "data"))
    (hit,) = g3m.search("cat", root=root)
    assert hit.folder.resolve() == (root / "other").resolve()
    assert hit.load().text == "a red cat"
