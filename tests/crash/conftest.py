"""What is fetched and gathered while power is cut and calls fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.pictures_host import PicturesHost, pictures_host

from g3m.lab.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), samples=24) as world:
        yield world


@pytest.fixture(scope="module")
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host
