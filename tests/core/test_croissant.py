"""core/croissant.py: a document of the version it names, in which every reference leads to something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from g3m.core.croissant import KEY, VERSION, croissant
from g3m.core.neighbours import Part
from g3m.core.shard import ShardSummary

SHARDS = (ShardSummary("00000.tar", 2, 10_240, "a" * 64), ShardSummary("00001.tar", 3, 20_480, "b" * 64))
TOY = Part(
    name="toy",
    place="/data/toy/toy",
    folder="toy/toy",
    shards=SHARDS,
    title="A toy",
    licence="CC0",
    citation="@x",
)
OTHER = Part(name="other", place="/else", folder="/else", shards=SHARDS[:1], fields=("png", "txt"))


def document() -> dict[str, Any]:
    return dict(json.loads(croissant([TOY, OTHER], "/data")))


def references(node: Any) -> Iterator[str]:
    """Every `{"@id": ...}` that points to another node."""
    if isinstance(node, dict):
        if node.keys() == {"@id"}:
            yield node["@id"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def ids(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "@type" in node and "@id" in node:
            yield node["@id"]
        for value in node.values():
            yield from ids(value)
    elif isinstance(node, list):
        for value in node:
            yield from ids(value)


def test_every_reference_leads_to_one_node() -> None:
    """Identifiers are unique, and nothing points into the void."""
    body = {key: value for key, value in document().items() if key != "@context"}
    known = list(ids(body))
    assert len(known) == len(set(known))
    assert set(references(body)) <= set(known)


def test_files_have_address_size_and_digest() -> None:
    """Below the folder by the path from there, elsewhere by the whole one."""
    files = [one for one in document()["distribution"] if one["@type"] == "cr:FileObject"]
    assert [(one["contentUrl"], one["contentSize"], one["sha256"]) for one in files] == [
        ("toy/toy/00000.tar", "10240 B", "a" * 64),
        ("toy/toy/00001.tar", "20480 B", "b" * 64),
        ("/else/00000.tar", "10240 B", "a" * 64),
    ]


def test_members_are_sets_of_files_by_extension() -> None:
    """Pictures, captions and json of all shards; only those that there are."""
    sets = {one["@id"]: one for one in document()["distribution"] if one["@type"] == "cr:FileSet"}
    assert {name: one["includes"] for name, one in sets.items()} == {
        "toy/images": ["*.jpg"],
        "toy/txt": ["*.txt"],
        "toy/json": ["*.json"],
        "other/images": ["*.png"],
        "other/txt": ["*.txt"],
    }
    assert [one["@id"] for one in sets["toy/txt"]["containedIn"]] == ["toy/00000.tar", "toy/00001.tar"]
    assert sets["other/images"]["encodingFormat"] == ["image/png"]


def test_the_head_says_version_licence_and_citation() -> None:
    """What is not known is left out, or said to be unknown."""
    body = document()
    assert body["conformsTo"] == VERSION
    assert body["license"] == ["CC0", "none stated"]
    assert body["citeAs"] == "@x"
    assert "url" not in body


def test_the_key_is_the_name_up_to_its_first_dot() -> None:
    """As every reader of WebDataset groups."""
    for path, key in {"000.jpg": "000", "sub/x.seg.png": "x", "/tmp/a.b/c-1.txt": "c-1"}.items():
        found = re.match(KEY, path)
        assert found is not None
        assert found[1] == key
