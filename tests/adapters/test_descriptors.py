"""adapters/descriptors.py, and how many requests a task makes where few files may be open."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace

import pytest

from g3m.adapters.descriptors import allow_files
from g3m.runners.run import make_session
from g3m.steps.gather import crowd_for


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield soft, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_is_raised_as_far_as_the_system_lets_it(limits: tuple[int, int]) -> None:
    """What the administrator allows is used, and no more."""
    hard = limits[1]
    low = 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    assert allow_files(low - 1) == low - 1
    assert allow_files(low + 100) == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == low + 100


def test_tasks_ask_for_less_at_once_where_few_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row must not fail because this machine has no descriptor left."""
    monkeypatch.setattr("g3m.steps.gather.allow_files", lambda wanted: min(wanted, 1024))
    session = make_session({"requests": 256}, {})
    for lanes, most in ((0, 256), (5, 51)):
        with crowd_for(replace(session, lanes=lanes), is_again=False) as crowd:
            assert crowd._limits.requests == most
    session.hosts.close()
