"""An origin with one file on it, and a client that reports what came over the wire."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from g3m.lab.origin import Origin

BLOB_BYTES = 300_000


@dataclass(frozen=True)
class Arrived:
    """An answer as it came in; `error` says why the body ends before its announced end."""

    status: int
    headers: dict[str, str]
    body: bytes
    error: str | None


@pytest.fixture
def origin() -> Iterator[Origin]:
    """An origin that is up."""
    with Origin() as origin:
        yield origin


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """A file of random bytes."""
    path = tmp_path / "files" / "blob.bin"
    path.parent.mkdir()
    path.write_bytes(random.Random(1).randbytes(BLOB_BYTES))
    return path


@pytest.fixture
def address(origin: Origin, blob: Path) -> str:
    """Where the file is served."""
    origin.mount("/files", blob.parent)
    return f"{origin.url}/files/blob.bin"


@pytest.fixture
def fetch() -> Callable[..., Arrived]:
    """A client without redirects, decompression or retries."""
    return _fetch


def _fetch(url: str, *, method: str = "GET", timeout_s: float = 5, **headers: str) -> Arrived:
    """Ask once on a new connection; header names are written with underscores."""
    parts = urlsplit(url)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    with closing(http.client.HTTPConnection(parts.netloc, timeout=timeout_s)) as connection:
        connection.request(method, target, headers=sent)
        with closing(connection.getresponse()) as response:
            known = {name.lower(): value for name, value in response.getheaders()}
            body, error = _read(response)
    return Arrived(response.status, known, body, error)


def _read(response: http.client.HTTPResponse) -> tuple[bytes, str | None]:
    body = b""
    try:
        while piece := response.read1(65536):
            body += piece
    except (OSError, http.client.HTTPException) as error:
        return body, type(error).__name__
    is_short = bool(response.length)
    return body, "IncompleteRead" if is_short else None
