"""Lists of samples, as `g3m search --keys` writes them, and `exclude` and `g3m drop` read them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any


def listed(dataset: str, key: str) -> str:
    """DATASET/KEY where a line can hold that as it is, else JSON; never with a control character.

    >>> listed("coco_valid", "000000000139"), listed("mine", "a\\nb")
    ('coco_valid/000000000139', '{"dataset": "mine", "key": "a\\\\nb"}')
    """
    line = f"{dataset}/{key}"
    if line.isprintable() and line == line.strip() and not line.startswith("{"):
        return line
    return json.dumps({"dataset": dataset, "key": key})


class BadLine(ValueError):
    """A line of a list that names no sample."""


def key_line(line: str) -> tuple[str, str]:
    """The dataset (empty: any) and the key of a line: KEY, DATASET/KEY or JSON with "key"; BadLine if none.

    DATASET/KEY is given back as a key, because only who knows the datasets can tell it from a key.

    >>> key_line("coco/000000000139"), key_line('{"dataset": "coco", "key": "000000000139"}')
    (('', 'coco/000000000139'), ('coco', '000000000139'))
    """
    if not line.startswith("{"):
        return "", line
    body = body_of(line)
    key, dataset = body.get("key"), body.get("dataset") or ""
    if not isinstance(key, str) or not key or not isinstance(dataset, str):
        raise BadLine('has no "key"')
    return dataset, key


def body_of(line: str) -> dict[str, Any]:
    """The JSON object of a line; BadLine if it is none."""
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("is no JSON") from None
    if not isinstance(body, dict):
        raise BadLine("is no JSON object")
    return body


class Wanted:
    """The entries of lists of keys, and which of them found a sample."""

    def __init__(self, entries: Collection[tuple[str, str]]) -> None:
        self._left: dict[str, set[str]] = {}
        for dataset, key in entries:
            self._left.setdefault(dataset, set()).add(key)
        self._keys = {dataset: frozenset(keys) for dataset, keys in self._left.items()}
        self.entries = sum(map(len, self._keys.values()))

    def of(self, *names: str) -> dict[str, list[tuple[str, str]]]:
        """The keys that are wanted of a dataset with these names, each with the entries that say so."""
        found: dict[str, list[tuple[str, str]]] = {}
        prefixes = [f"{name}/" for name in names]
        for scope in dict.fromkeys(("", *names)):
            for entry in self._keys.get(scope, ()):
                found.setdefault(entry, []).append((scope, entry))
                for prefix in prefixes:
                    if entry.startswith(prefix):
                        found.setdefault(entry[len(prefix) :], []).append((scope, entry))
        return found

    def hit(self, entries: Iterable[tuple[str, str]]) -> None:
        """These entries found a sample."""
        for dataset, key in entries:
            self._left[dataset].discard(key)

    def unmatched(self) -> Iterator[str]:
        """The entries that found none, sorted."""
        yield from sorted(
            f"{dataset}/{key}" if dataset else key for dataset, keys in self._left.items() for key in keys
        )
