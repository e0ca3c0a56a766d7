"""The ledger of a verification: every finding is counted and written down, those that matter are kept.

A dataset may have a finding for each of its millions of samples, so they go line by line into a file below
`.g3m`, which appears under its name when all are in it. Where that cannot be written, they are counted only.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from g3m.adapters import fsio
from g3m.adapters.disk import make_folder
from g3m.core.errors import StorageError
from g3m.core.treatment import CLASSES

DAMAGE = ("missing", "size", "digest", "structure")
"""What is not as it was published; `--repair` makes it again."""

UNUSABLE = ("not_an_image", "bomb", "broken", "truncated")
"""Classes of pictures that no loader can use."""

FILE = "verified.jsonl"
"""Named apart from the list that stands beside the shards."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the manifest says, or one class of one picture or caption.

    `problem`: missing, size, digest, structure, extra (a shard that the manifest does not name), or a class
    of core/treatment.py; then `key` names the sample.
    """

    dataset: str
    shard: str
    problem: str
    detail: str = ""
    key: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Ledger:
    """What one verification found. `differences` are those findings that mean that not all is well:

    everything but classes, and unusable pictures that were not known when the dataset was packed. `counts`
    are by dataset and problem; `looked` and `decoded` say of how many samples the picture was.
    """

    folder: Path | None = None
    differences: list[Finding] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    decoded: dict[str, int] = field(default_factory=dict)
    path: Path | None = None
    _file: BinaryIO | None = None
    _written: Path = Path()

    def add(self, findings: Iterable[Finding], *, known: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Take findings in; `known` are keys and classes that the dataset's own list accounts for."""
        for finding in findings:
            own = self.counts.setdefault(finding.dataset, {})
            own[finding.problem] = own.get(finding.problem, 0) + 1
            if finding.problem not in CLASSES or (
                finding.problem in UNUSABLE and (finding.key, finding.problem) not in known
            ):
                self.differences.append(finding)
            self._write(finding)

    def close(self, *, whole: bool) -> None:
        """Give the file its name, or remove it where the verification did not come to its end."""
        if self._file is None:
            if whole and self.folder is not None:  # what an earlier one found would be taken for this one's
                with contextlib.suppress(OSError):
                    fsio.unlink(self.folder / FILE)
            return
        written = self._written
        with contextlib.suppress(OSError):
            self._file.close()
            if whole and self.folder is not None:
                fsio.rename(written, self.folder / FILE)
                self.path = self.folder / FILE
        with contextlib.suppress(OSError):
            fsio.unlink(written)

    def _write(self, finding: Finding) -> None:
        try:
            if self._file is None and self.folder is not None:
                make_folder(self.folder)
                name = f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
                self._written = self.folder / name
                self._file = fsio.buffered(fsio.open_file(self._written, fsio.NEW))
            if self._file is not None:
                self._file.write((json.dumps(finding.to_dict()) + "\n").encode())
        except (OSError, StorageError):  # another's data, or a full disk
            self.close(whole=False)
            self.folder = self._file = None
