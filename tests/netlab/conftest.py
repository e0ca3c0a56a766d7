"""One lab for all tests of this folder, a machine of its own for each of them, and a dataset to fetch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netlab.dataset import Shard, make_shard, write_listing_recipe
from tests.netlab.desk import Desk
from tests.netlab.lab import Client, Lab, open_lab
from tests.netlab.usable import why_not


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What origin and mirror serve."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
def large(files: Path) -> Shard:
    """A shard of 24 MB: long enough to be cut in the middle."""
    return make_shard(files / "large-0000.tar", samples=24, sample_bytes=1_000_000)


@pytest.fixture(scope="session")
def small(files: Path) -> Shard:
    """A shard of 4 MB, for what is done many times."""
    return make_shard(files / "small-0000.tar", samples=8, sample_bytes=500_000)


@pytest.fixture(scope="session")
def lab(files: Path) -> Iterator[Lab]:
    """The lab, once; a machine on which it cannot stand fails these tests, it does not skip them."""
    reason = why_not()
    if reason:
        pytest.fail(f"the netlab {reason}; `make test` leaves it out where it cannot stand", pytrace=False)
    with open_lab(files) as lab:
        yield lab


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    """A machine behind the wall, for one test."""
    with lab.client() as client:
        yield client


@pytest.fixture
def desk(client: Client, tmp_path: Path) -> Iterator[Desk]:
    """A user at that machine; what was fetched is deleted, since there are hundreds of them."""
    desk = Desk(client, tmp_path)
    yield desk
    shutil.rmtree(desk.root, ignore_errors=True)


@pytest.fixture(scope="session")
def served(small: Shard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a repository on a hub: one shard."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "a-0000.tar").write_bytes(small.path.read_bytes())
    return folder


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A recipe whose files the hub lists."""
    return write_listing_recipe(tmp_path, "lab/shards", "0123456789abcdef" * 2 + "01234567", "a-*.tar")
