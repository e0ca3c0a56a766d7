"""core/croissant.py: a document of the version it names, in which every reference leads to something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from g3m.core.croissant import CONTEXT, KEY, MEDIA, VERSION, croissant
from g3m.core.neighbours import MARK, Part
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


TERMS = [
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
]


def test_the_context_is_that_of_the_specification() -> None:
    """Every term of Croissant 1.1 stands for the one of the same name; six words are spelled out."""
    assert {
        **{term: f"cr:{term}" for term in TERMS},
        "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"}, "examples": {"@id": "cr:examples", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "description": {"@container": "@language"}, "name": {"@container": "@language"},
    } == CONTEXT  # fmt: skip
    assert VERSION == "http://mlcommons.org/croissant/1.1"


def test_the_types_of_files() -> None:
    """As the registry of media types has them."""
    assert MEDIA == {
        "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif", "bmp": "image/bmp",
        "tif": "image/tiff", "tiff": "image/tiff", "txt": "text/plain", "json": "application/json",
    }  # fmt: skip


def test_the_whole_document_of_one_dataset() -> None:
    """Every word of its head, of a set and of a record, so that none goes missing."""
    part = replace(TOY, homepage="https://h", fields=("jpg", "txt"), shards=SHARDS[:1])
    body = json.loads(croissant([part], "/data"))
    assert body.pop("@context") == CONTEXT
    records = body.pop("recordSet")
    assert [one["@id"] for one in body.pop("distribution")] == ["toy/00000.tar", "toy/images", "toy/txt"]
    assert body == {
        "@type": "sc:Dataset", "name": "toy", "description": f"A toy. Pictures with captions in WebDataset shards; by `{MARK} hf`.",
        "conformsTo": VERSION, "license": ["CC0"], "url": "https://h", "citeAs": "@x", "version": "1.0.0",
    }  # fmt: skip
    assert [one["@id"] for one in records] == ["toy/images_records", "toy/txt_records"]
    assert records[0] == {
        "@type": "cr:RecordSet", "@id": "toy/images_records", "name": "toy/images_records",
        "description": "The images of toy; records of equal keys and one shard are one sample.", "key": {"@id": "toy/images_records/key"},
        "field": [
            {"@type": "cr:Field", "@id": "toy/images_records/key", "name": "key", "dataType": "sc:Text",
             "source": {"fileSet": {"@id": "toy/images"}, "extract": {"fileProperty": "fullpath"}, "transform": {"regex": KEY}}},
            {"@type": "cr:Field", "@id": "toy/images_records/image", "name": "image", "dataType": "sc:ImageObject",
             "source": {"fileSet": {"@id": "toy/images"}, "extract": {"fileProperty": "content"}}},
        ],
    }  # fmt: skip
    assert json.loads(croissant([TOY, OTHER], "/data"))["description"].startswith("A toy, other. ")
