"""A certificate for 127.0.0.1, made anew by each run."""

from __future__ import annotations

import ssl
import tempfile
from functools import cache
from pathlib import Path

from bench.certificate import make_certificate


@cache
def certificate() -> tuple[Path, ssl.SSLContext]:
    """The certificate's file, and what a server needs of it."""
    folder = Path(tempfile.mkdtemp(prefix="g3m-bench-"))
    path, key = folder / "certificate.pem", folder / "key.pem"
    make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    key.unlink()
    return path, context
