"""A bucket for the runners: a moto server, and a relay before it that can misbehave."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.bucket_host import Relay, relay_to, s3_server

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
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(shelf, "PATIENCE", Policy(first_wait_s=0.01, longest_wait_s=0.05))
    with relay_to(server) as relay:
        yield relay
