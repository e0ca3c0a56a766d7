"""The protocols of this layer: each exists because two real implementations do, or one above this layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from g3m.core.resume import Answer


class Body(Protocol):
    """An answer whose body is read as it comes."""

    @property
    def answer(self) -> Answer: ...

    @property
    def url(self) -> str: ...

    def chunks(self) -> Iterator[bytes]: ...

    def read(self, limit_bytes: int = ...) -> bytes: ...


class Fetcher(Protocol):
    """Whatever can answer a GET for a document: libcurl in earnest, a script of answers in tests."""

    def open(self, url: str, *, way: str | None = None) -> AbstractContextManager[Body]: ...


class ShardReader(Protocol):
    """Parts of the files of one folder of shards, wherever it is; for use by many threads at once."""

    def read(self, shard: str, offset: int, size_bytes: int) -> bytes:
        """Exactly so many bytes of a shard; NotVerified if it is not there or ends before."""
        ...

    def document(self, name: str) -> bytes | None:
        """A small file of the folder as a whole; None if there is no such file."""
        ...

    def close(self) -> None:
        """Give back what is held open; reading on opens it again."""
        ...


class Shelf(Protocol):
    """Where a dataset's files stand if not here (steps/shelf.py). Names are relative to the root."""

    @property
    def address(self) -> str: ...

    def size_bytes(self, name: str) -> int | None:
        """The size of a file there; None if it is not there."""
        ...

    def pull(self, dataset: str) -> None:
        """Bring what says how far a dataset is: receipts, arrangement, manifest."""
        ...

    def fetch(self, name: str) -> Path:
        """Bring one file."""
        ...

    def place(self, names: Sequence[str]) -> None:
        """Put files of this machine there, in this order."""
        ...

    def deliver(self, files: Mapping[str, Path], receipt: str, text: str) -> str:
        """Put a task's files there, its shard first, then its receipt; the text of the one that counts."""
        ...
