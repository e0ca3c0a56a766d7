"""What is fuzzed: each parser of ours that reads what others wrote, as a function of bytes that may raise nothing.

A target calls the parser, lets its documented refusals pass, and says what must hold of whatever comes out. Its seeds
are whole documents; `make fuzz` follows the code's branches from there, and test_targets.py tries damaged ones.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from g3m.adapters.lists import array_columns, array_rows, cut, is_arrays, look, read_span
from g3m.adapters.recipes import read_recipe, read_toml
from g3m.adapters.robots import Robots
from g3m.adapters.tar import list_tar
from g3m.adapters.zip import list_zip
from g3m.core import buckets, dropped, health, journal, listed, peers, proxies, receipt, samples, weburl
from g3m.core.cores import controller_at, secret_line
from g3m.core.errors import G3MError, NotVerified
from g3m.core.gathering import Columns
from g3m.core.index import Index
from g3m.core.members import Member
from g3m.core.optout import opted_out
from g3m.core.pairs import has_triplets, image_of_url, json_records, positions
from g3m.core.query import BadQuery, highlighted
from g3m.core.query import parse as parse_query
from g3m.core.remote import first_look, parse_size
from g3m.core.resume import Answer, Wanted, decide, retry_after_s
from g3m.core.secrets import host_of, mask
from g3m.core.settings import Layer, merge
from g3m.core.sniff import container
from g3m.core.structure import look as look_at_picture
from g3m.core.treatment import CLASSES
from g3m.lab.drawings import draw

LIST_FORMS = ("a.csv", "a.tsv", "a.txt", "a.jsonl", "a.json")
PARTS = b"\n--\n"
"""Between the texts of an input that has several."""


@dataclass(frozen=True)
class Target:
    """A parser: what is done with bytes, and whole documents to begin with."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


@cache
def scratch() -> Path:
    """A file of this process, in memory where there is such a place."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    handle, name = tempfile.mkstemp(prefix="g3m-fuzz-", dir=place)
    os.close(handle)
    os.register_at_fork(after_in_child=scratch.cache_clear)
    return Path(name)


def written(data: bytes) -> Path:
    """The bytes as a file."""
    path = scratch()
    path.write_bytes(data)
    return path


def forget() -> None:
    """Delete the file of this process."""
    if scratch.cache_info().currsize:
        scratch().unlink(missing_ok=True)
        scratch.cache_clear()


def text_of(data: bytes) -> str:
    """The bytes as a text; what is no UTF-8 stands there as it is read elsewhere."""
    return data.decode("utf-8", "surrogateescape")


def tar(data: bytes) -> None:
    """Members lie within the archive, or it is refused."""
    try:
        for one in list_tar(written(data)):
            if isinstance(one, Member):
                assert 0 <= one.offset <= one.offset + one.size_bytes <= len(data)
                assert "\0" not in one.name
    except G3MError:
        pass


def zip_directory(data: bytes) -> None:
    """Members lie within the archive, or it is refused."""
    try:
        for one in list_zip(written(data)):
            if isinstance(one, Member):
                assert 0 <= one.offset < len(data)
    except G3MError:
        pass


def structure(data: bytes) -> None:
    """Any bytes have a verdict of known classes."""
    seen = look_at_picture(data)
    assert set(seen.classes) <= set(CLASSES)
    assert 0 <= seen.end <= len(data)
    assert seen.width >= 0
    assert seen.height >= 0
    assert 1 <= seen.orientation <= 8
    container(data)


def rows(data: bytes) -> None:
    """The rows of the spans are all rows, once and in order, however the list is cut."""
    name, body = LIST_FORMS[(data[0] if data else 0) % len(LIST_FORMS)], data[1:]
    path = written(body)
    for columns in (Columns(), Columns(url="1", caption="2")):
        try:
            layout = look(path, name, columns)
            spans = list(cut(path, layout, 0, 2, 3))
            whole = list(cut(path, layout, 0, 10**6, 10**6))
            found = [row for span in spans for row in read_span(path, layout, columns, span, 0)]
            at_once = [row for span in whole for row in read_span(path, layout, columns, span, 0)]
        except G3MError:
            continue
        assert [(row.url, row.caption) for row in found] == [(row.url, row.caption) for row in at_once]
        assert all(span.start < span.end <= len(body) for span in spans)
        for row in found:
            row.url.encode()
            samples.caption_problem(row.caption)


def arrays(data: bytes) -> None:
    """An object of arrays has as many rows as each of them has elements."""
    path = written(data)
    try:
        if not is_arrays(path):
            return
        places, count = array_columns(path)
        assert sum(1 for _ in array_rows(path, places)) == count
    except G3MError:
        pass


def captions(data: bytes) -> None:
    """Records become drafts whose text can be written, or have a problem with a reason."""
    drafts = list(samples.narrative_drafts(enumerate(data.splitlines()), number_repeats=True))
    try:
        document = json.loads(data, object_hook=samples.slim_coco)
        drafts += samples.coco_drafts(document, "train", file="f")
    except (ValueError, RecursionError, G3MError):
        pass
    for draft in drafts:
        assert draft.problem == "" or draft.problem in samples.REASONS
        assert samples.safe_key(draft.key) == draft.key[:80] or draft.problem
        samples.readable(draft.text).encode()
    try:
        found = json_records(json.loads(data))
    except (ValueError, RecursionError):
        return
    names = [record.image for record in found[1]] if found else []
    has_triplets(names)
    positions(names)


def addresses(data: bytes) -> None:
    """An address in its one form means itself, and holds no login; a redirect from it is one, too."""
    text, _, location = text_of(data).partition("\n")
    try:
        found = weburl.web_address(text)
    except weburl.BadUrl:
        found = None
    image_of_url(text)
    mask(text)
    host_of(text)
    dropped.same_url(text)
    if found is None:
        return
    assert weburl.web_address(found.url) == found
    assert "@" not in found.url.split("/")[2]
    assert found.url.isascii()
    assert found.url.isprintable()
    try:
        after = weburl.next_address(found, location)
    except weburl.BadUrl:
        return
    assert (found.scheme, after.scheme) != ("https", "http")


def toml(data: bytes) -> None:
    """A recipe or settings, or an error of a bounded length that names the file."""
    path = written(data)
    try:
        read_recipe(path)
    except G3MError as error:
        assert str(path) in error.message
        assert len(error.message) < 60_000
    try:
        merge([Layer(str(path), read_toml(path))])
    except G3MError as error:
        assert str(path) in error.message
        assert len(error.message) < 60_000


def receipts(data: bytes) -> None:
    """A document is read as it was written, or counts as absent."""
    text = data.decode("utf-8", "replace")
    for read in (receipt.asset_receipt, receipt.arrangement, receipt.shard_receipt, receipt.manifest):
        found = read(text)
        if found is not None:
            assert read(receipt.to_json(found)) == found  # type: ignore[arg-type]  # each is one of the four
    health.parse(text, "here")
    with contextlib.suppress(dropped.BadRecord):
        dropped.parse(text)
    with contextlib.suppress(G3MError, ValueError):
        peers.parse(data)
    for line in text.splitlines():
        try:
            listed.key_line(line)
            dropped.url_line(line)
        except listed.BadLine:
            pass


def indexes(data: bytes) -> None:
    """An index is refused, or gives places that stand in it."""
    try:
        index = Index(data)
    except ValueError:
        return
    try:
        for number in range(min(len(index), 50)):
            index.place(number)
            index.key(number)
        list(index.keys())
        index.counts()
        index.starts()
    except (NotVerified, IndexError):
        pass


def journals(data: bytes) -> None:
    """What remains of the claims lies within the file and does not overlap."""
    claims: dict[int, journal.Claim] = {}
    found = list(journal.records(data.splitlines(keepends=True)))
    with contextlib.suppress(ValueError, RecursionError):  # the same, as if every line were sealed
        found += [body for body in map(json.loads, data.splitlines()) if isinstance(body, dict)]
    for record in journal.remaining(found, claims, 1000):
        assert record
    for record in found:
        journal.drop_of(record)
    end = 0
    for offset in sorted(claims):
        assert offset >= end
        end = offset + claims[offset].length
    assert end <= 1000


def proxy(data: bytes) -> None:
    """Proxies of options and variables, a core's controller and secret: read, or refused by name."""
    option, variable, exceptions, url = ([*text_of(data).split("\n", 3), "", "", ""])[:4]
    for options, variables in (([option], {}), ([], {"https_proxy": variable, "no_proxy": exceptions})):
        try:
            ways = proxies.find_ways(options, no_proxy=False, variables=variables)
            for way in ways.of(url):
                proxies.label(way)
                ways.through(way, url)
        except G3MError as error:
            assert all(error.hint)
    with contextlib.suppress(G3MError):
        controller_at(option)
    secret_line(text_of(data))


def heads(data: bytes) -> None:
    """A response's head is accepted from a place within the file, or refused."""
    lines = data.decode("latin-1").split("\n")
    status = int(lines[0]) if lines[0].isdecimal() and lines[0].isascii() and len(lines[0]) < 4 else 206
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }
    answer = Answer(status=status, headers=headers)
    for wanted in (Wanted(label="a"), Wanted(label="a", offset_bytes=5, size_bytes=10, etag='"x"')):
        try:
            go = decide(wanted, answer)
            assert go.offset_bytes in (0, wanted.offset_bytes)
        except G3MError:
            pass
    with contextlib.suppress(G3MError):
        first_look("https://a.example/f", answer)
    assert 0 <= retry_after_s(headers.get("retry-after", "")) < float("inf")
    opted_out(headers)
    assert isinstance(answer.digests, tuple)


def robots(data: bytes) -> None:
    """Any text is a file of rules."""
    text, _, path = data.decode("utf-8", "replace").partition("\n--\n")
    Robots(text).allows(f"https://a.example/{path}")


def searches(data: bytes) -> None:
    """A search is a query or refused, and what it marks is the text itself."""
    words, _, text = data.decode("utf-8", "replace").partition("\n")
    try:
        query = parse_query(words)
    except BadQuery:
        return
    assert "".join(piece for piece, _ in highlighted(text, query)) == text


def words(data: bytes) -> None:
    """Sizes and buckets as a person writes them."""
    text = text_of(data)
    with contextlib.suppress(G3MError):
        parse_size(text, "G3M_CACHE_LIMIT")
    with contextlib.suppress(G3MError):
        buckets.parse_bucket(text)


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.jpg", "a.txt", "目" * 40):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    return file.getvalue().rstrip(b"\0") + bytes(1024)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", b"abc" * 9)
        archive.writestr("目.txt", b"")
    return file.getvalue()


_RECIPE = b"""format = 1
name = "mine"
title = "mine"
folder = "mine"
licence = "mine"
[[assets]]
name = "list.csv"
size_bytes = 12
digests = ["sha256:5a62ff467c58e9984279c6a429b8f4177c8c74f67b069ec28a712ae94074ca08"]
places = ["https://a.example/list.csv"]
[samples]
reader = "urls"
[policy]
cmyk = "fix"
"""
_SETTINGS = b'jobs = 1\npolicy = ["cmyk=fix"]\n[[mirrors]]\nprefix = "https://a/"\nplaces = ["https://b/"]\n'
_SHARD = {"name": "00000.tar", "samples": 1, "size_bytes": 1024, "sha256": "0" * 64}
_RECEIPT = {
    "format": 1,
    "kind": "ShardReceipt",
    "identity": "i",
    "shard": _SHARD,
    "rejected": [],
    "notes": {},
}
_ASSET = {
    "format": 1,
    "kind": "AssetReceipt",
    "id": "a",
    "name": "a",
    "size_bytes": 1,
    "digests": [],
    "proof": "recipe",
}
_ARRANGED = {
    "format": 1,
    "kind": "Arrangement",
    "identity": "i",
    "sources": {},
    "shards": [],
    "list_size_bytes": 1,
}
_MANIFEST = {"format": 1, "kind": "Manifest", "dataset": "a", "title": "a", "folder": "a", "identity": "i"}
_MANIFEST |= {
    "parity": "none",
    "licence": "",
    "homepage": "",
    "assets": [],
    "shards": [_SHARD],
    "rejected": {},
    "notes": {},
}
_DROPPED = b'{"format": 1, "kind": "Dropped"}\n{"key": "a", "reason": "r", "from": "x"}\n'
_CLAIM = {"offset": 0, "length": 5, "crc32": 7, "place": "p"}
_HEAD = (
    b'206\ncontent-range: bytes 5-9/10\netag: "x"\ncontent-length: 5\nretry-after: 3\nx-robots-tag: noai\n'
)

TARGETS: dict[str, Target] = {
    "tar": Target(tar, (_tar(),)),
    "zip": Target(zip_directory, (_zip(),)),
    "structure": Target(
        structure,
        (draw(8, 0, width=16, height=8).jpeg, b"GIF89a\3\0\2\0\0\0\0;", b"\x89PNG\r\n\x1a\n" + bytes(30)),
    ),
    "rows": Target(
        rows,
        (
            b'\0url,caption\nhttp://a/,"x\n""y"\nb,c\n',
            b'\1url\tcaption\na\t"b\nc\t"d"\n',
            b"\2http://a\n\nhttp://b",
            b'\3{"url": "a", "caption": "b"}\n\n{"url": 1}\n',
            b'\4[{"url": "a", "caption": "}"}, {"url": "b"}]\n',
        ),
    ),
    "arrays": Target(arrays, (b'{"url": ["a", "b"], "caption": ["c", {"d": [1]}]}\n',)),
    "captions": Target(
        captions,
        (
            b'{"image_id": "a", "caption": "b"}\n{"image_id": "a", "caption": "c"}\n',
            b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "b"}]}',
            b'{"image_urls": ["http://a/0000/001.jpg"], "captions": ["b"]}',
            b'[{"image": "0000/000.jpg", "caption": "b"}]',
        ),
    ),
    "addresses": Target(
        addresses,
        (b"HTTP://B\xc3\xbccher.example:80/a/../b%2e.jpg?q=1#x\n//c.example/d", b"https://[::1]:8/\n../e"),
    ),
    "toml": Target(toml, (_RECIPE, _SETTINGS)),
    "receipts": Target(
        receipts, (*(json.dumps(one).encode() for one in (_RECEIPT, _ASSET, _ARRANGED, _MANIFEST)), _DROPPED)
    ),
    "indexes": Target(
        indexes,
        (
            b'G3MINDX1A\0\0\0{"shards": ["0.tar"], "fields": ["jpg", "txt"], "samples": 1}  '
            + bytes(4)
            + b"\1"
            + bytes(27)
            + b"k",
        ),
    ),
    "journals": Target(
        journals, (journal.seal(_CLAIM) + journal.seal({"lost": 0}), json.dumps(_CLAIM).encode() + b"\n")
    ),
    "proxy": Target(
        proxy,
        (
            b"socks5://u:p@127.0.0.1:7891\nhttp://[::1]:80\n*.a.example,10.0.0.0/8\nhttps://b.example/",
            b"secret: 'a''b' # c\n\n\n",
        ),
    ),
    "heads": Target(
        heads, (_HEAD, b"200\ncontent-encoding: gzip\ncontent-type: text/html\nx-goog-hash: md5=AAAA\n")
    ),
    "robots": Target(robots, (b"User-agent: *\nDisallow: /a*b$\nAllow: /\n--\na/b",)),
    "searches": Target(searches, (b'"red cat" dog -bird\na red cat, \xe7\x8c\xab',)),
    "words": Target(words, (b"1.5G", b"s3://bucket/prefix/a")),
}
