"""Zip entries with fixed dates and modes: the same pictures give the same archive."""

from __future__ import annotations

import zipfile


def zip_entry(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """A zip entry as Info-ZIP on Unix writes it; a name that ends in `/` is a folder."""
    entry = zipfile.ZipInfo(name, (2017, 9, 1, 12, 0, 0))
    entry.external_attr = (0o40755 if name.endswith("/") else 0o100644) << 16
    entry.create_system = 3  # Unix, whatever this machine is
    entry.compress_type = compression
    return entry
