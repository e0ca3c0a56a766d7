"""Croissant 1.1 (mlcommons.org/croissant): what the shards are, as plain JSON-LD.

For each dataset: every shard with its digest, the pictures, captions and json inside as sets of files, and a
set of records for each, with the sample's key. A join of them is not declared: mlcroissant 1.1 cannot compare
the paths of two members without their extensions, so that a declared one would fail when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from g3m.core.neighbours import MARK, Part, below, check_name

VERSION = "http://mlcommons.org/croissant/1.1"
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
KEY = r"^(?:.*/)?([^/.]+)\.[^/]*$"
"""A sample's key in the path of a member: the file's name up to its first dot."""

MEDIA = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "json": "application/json",
}
_NAME = re.compile(r"[^\w.+-]+")


def croissant(parts: Sequence[Part], folder: str) -> str:
    """The document, to stand in `folder`: what lies below it is named from there, else by its whole path."""
    title = ", ".join(part.title or part.name for part in parts)
    body: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": _NAME.sub("-", "+".join(part.name for part in parts)),
        "description": f"{title}. Pictures with captions in WebDataset shards; by `{MARK} hf`.",
        "conformsTo": VERSION,
        "license": [part.licence or "none stated" for part in _distinct(parts)],
        "url": next((part.homepage for part in parts if part.homepage), ""),
        "citeAs": "\n".join(dict.fromkeys(part.citation for part in parts if part.citation)),
        "version": "1.0.0",
        "distribution": [],
        "recordSet": [],
    }
    for part in parts:
        body["distribution"] += _distribution(part, folder)
        body["recordSet"] += _records(part)
    return (
        json.dumps({key: value for key, value in body.items() if value}, indent=1, ensure_ascii=False) + "\n"
    )


def _distinct(parts: Sequence[Part]) -> list[Part]:
    return list({part.licence: part for part in parts}.values())


def _distribution(part: Part, folder: str) -> Iterator[dict[str, Any]]:
    names = [f"{part.name}/{shard.name}" for shard in part.shards]
    for shard, name, path in zip(part.shards, names, part.paths, strict=True):
        check_name(path, part.name)
        yield {
            "@type": "cr:FileObject",
            "@id": name,
            "name": shard.name,
            "contentUrl": below(path, folder),
            "contentSize": f"{shard.size_bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.sha256,
        }
    for kind, extensions in _sets(part).items():
        yield {
            "@type": "cr:FileSet",
            "@id": f"{part.name}/{kind}",
            "name": f"{part.name}/{kind}",
            "containedIn": [{"@id": name} for name in names],
            "encodingFormat": [MEDIA[name.rpartition(".")[2]] for name in extensions],
            "includes": [f"*.{name}" for name in extensions],
        }


def _sets(part: Part) -> dict[str, tuple[str, ...]]:
    found = {"images": part.images, "txt": ("txt",), "json": ("json",)}
    return {
        kind: names for kind, names in found.items() if all(name in part.fields for name in names) and names
    }


def _records(part: Part) -> Iterator[dict[str, Any]]:
    """The pictures, the captions and the json, each with its key."""
    for kind in _sets(part):
        name = f"{part.name}/{kind}_records"
        fields = [_key(part, kind), _content(part, kind)]
        yield {
            "@type": "cr:RecordSet",
            "@id": name,
            "name": name,
            "description": f"The {kind} of {part.name}; records of equal keys and one shard are one sample.",
            "key": {"@id": fields[0]["@id"]},
            "field": fields,
        }


def _field(part: Part, kind: str, name: str, data_type: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{part.name}/{kind}_records/{name}",
        "name": name,
        "dataType": data_type,
    }


def _key(part: Part, kind: str) -> dict[str, Any]:
    source = {
        "fileSet": {"@id": f"{part.name}/{kind}"},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": KEY},
    }
    return {**_field(part, kind, "key", "sc:Text"), "source": source}


def _content(part: Part, kind: str) -> dict[str, Any]:
    name, data_type = ("image", "sc:ImageObject") if kind == "images" else (kind, "sc:Text")
    source = {"fileSet": {"@id": f"{part.name}/{kind}"}, "extract": {"fileProperty": "content"}}
    return {**_field(part, kind, name, data_type), "source": source}
