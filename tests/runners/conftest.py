"""A bucket for the runners: a moto server, and a relay before it that can misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.bucket_host import Relay, relay_to, s3_server, without_variables

from g3m.core.retry import Policy
from g3m.steps import shelf


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A moto server."""
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def relay(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay before it; no variable of the machine plays a part, and nobody waits long."""
    without_variables(monkeypatch)
    monkeypatch.setattr(shelf, "PATIENCE", Policy(first_wait_s=0.01, longest_wait_s=0.05))
    with relay_to(server) as relay:
        yield relay
