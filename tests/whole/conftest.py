"""A drawn world for each module, and a way to run g3m in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from g3m.adapters.session import Session
from g3m.core.retry import Policy
from g3m.lab.world import World
from g3m.runners.run import make_session

SMALL_SHARD = 7
"""Stands for 2999, so that two dozen samples make several shards."""

Opener = Callable[..., Session]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Six datasets of two dozen samples behind a local internet."""
    with World(tmp_path_factory.mktemp("world"), samples=24) as world:
        yield world


@pytest.fixture
def open_session(world: World) -> Iterator[Opener]:
    """Opens a session in the world below a root; it waits for nothing longer than a moment."""
    world.origin.be_honest()

    def opened(root: Path, **options: object) -> Session:
        session = make_session({**world.options, **options, "root": str(root)}, world.variables)
        return replace(session, policy=Policy(first_wait_s=0.01, longest_wait_s=0.05))

    yield opened
    world.origin.be_honest()


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> int:
    """Both g3m and the reference use this many samples where the scripts say 2999."""
    monkeypatch.setattr("g3m.core.samples.SHARD_SAMPLES", SMALL_SHARD)
    return SMALL_SHARD
