"""Shards behind HTTP(S) or in S3: which address a name means, and whether an answer may be believed.

No request is made here. Only what everybody may read is meant: nothing is signed, no token is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from g3m.core.errors import Changed, NotVerified, Refused, SettingsError, UnknownDataset
from g3m.core.resume import Answer, Wanted, decide, is_page, refusal
from g3m.core.secrets import host_of, mask

SCHEMES = ("https", "http", "s3")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([KMGT]?)B?", re.ASCII)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

_ADDRESS = (
    "give the address of a folder with shards and index.bin: https://HOST/PATH/ or s3://BUCKET/PATH/",
    "请给出包含分片和 index.bin 的文件夹地址：https://主机/路径/ 或 s3://桶/路径/",
)
_PUBLIC = (
    "no token and no login is sent: read what is public, or fetch the folder first and open it from the disk",
    "此处不会发送令牌或登录信息：只能读取公开数据；也可先把文件夹下载到本地磁盘再打开",
)
_UNSIGNED = (
    "requests to S3 are not signed: only public objects can be read; else copy the folder (`aws s3 sync`)",
    "对 S3 的请求不做签名，因此只能读取公开对象；否则请先下载该文件夹（`aws s3 sync`）",
)
_RANGES = (
    "put the folder on a server that answers ranges (nginx, Apache, S3), or open a copy of it on the disk",
    "请把文件夹放到支持范围请求的服务器（nginx、Apache、S3），或先下载到本地磁盘再打开",
)
MISSING = (
    "the folder is not whole, or was changed: ask whoever published it, or open the dataset again",
    "该文件夹不完整或已被改动：请联系发布者，或重新打开数据集",
)
_ANEW = (
    "somebody changed this folder: open the dataset again, so that index and shards are of one version",
    "此文件夹已被改动：请重新打开数据集，使索引与分片属于同一版本",
)


@dataclass(frozen=True, slots=True)
class Version:
    """What a server says of a file: its size, and what tells this version from another (or nothing)."""

    size_bytes: int
    validator: str


def folder_address(text: str, variables: Mapping[str, str]) -> str:
    """The web address of a folder, with a slash at its end; UnknownDataset if it cannot be one.

    `s3://BUCKET/PATH` is the bucket's public HTTPS address, or below AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL.

    >>> folder_address("s3://bucket/coco/", {})
    'https://bucket.s3.amazonaws.com/coco/'
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UnknownDataset(f"{mask(text)}: not an address", hint=_ADDRESS) from None
    if parts.scheme not in SCHEMES or not host or not text.isprintable() or " " in text:
        raise UnknownDataset(f"{mask(text)}: not an address of shards", hint=_ADDRESS)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UnknownDataset(f"{mask(text)}: a folder's address has no login, ? or #", hint=_ADDRESS)
    path = quote(parts.path.strip("/"), safe="%/:=&~+!$,;'@()*[]")
    if parts.scheme == "s3":
        return _bucket_address(parts.netloc, path, variables)
    return f"{parts.scheme}://{parts.netloc}/{path}/" if path else f"{parts.scheme}://{parts.netloc}/"


def _bucket_address(bucket: str, path: str, variables: Mapping[str, str]) -> str:
    if not _BUCKET.fullmatch(bucket):
        raise UnknownDataset(f"{bucket!r} cannot be the name of a bucket", hint=_ADDRESS)
    tail = f"{path}/" if path else ""
    endpoint = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL") or ""
    if endpoint:
        try:
            parts = urlsplit(endpoint)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        except ValueError:
            good = False
        if not good or parts.query or parts.fragment:
            raise SettingsError(f"AWS_ENDPOINT_URL: {mask(endpoint)} is no plain web address")
        return f"{endpoint.rstrip('/')}/{bucket}/{tail}"
    # A certificate for *.s3.amazonaws.com does not cover a bucket with a dot in its name.
    if "." in bucket:
        return f"https://s3.amazonaws.com/{bucket}/{tail}"
    return f"https://{bucket}.s3.amazonaws.com/{tail}"


def file_address(folder: str, name: str) -> str:
    """The address of a file of that folder; NotVerified for a name that leads out of it."""
    if not name or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise NotVerified(f"{mask(folder)}: {name!r} is no name of a file in this folder")
    return folder + quote(name, safe="/", errors="surrogatepass")


def first_look(address: str, answer: Answer, *, bucket: bool = False) -> Version:
    """What the answer to a request for the first byte says of the file; raises what speaks against it.

    `bucket`: the address was written as s3://, so a refusal is explained in those words.
    """
    label = mask(address)
    if _is_empty(answer):
        return Version(0, _validator(answer))
    _refuse(label, answer, bucket=bucket)
    go = decide(Wanted(label=label), answer)
    found = answer.content_range
    if go.size_bytes is None or found is None:
        raise Changed(f"{label}: the server does not say how large the file is", hint=_RANGES)
    if found[:2] != (0, 0):
        raise Changed(f"{label}: asked for byte 0, got {found[0]}-{found[1]}", hint=_RANGES)
    return Version(go.size_bytes, _validator(answer))


def accept(
    address: str, span: tuple[int, int], answer: Answer, version: Version, *, bucket: bool = False
) -> None:
    """Whether the body is exactly these bytes of this version (from, to before); raises if it is not.

    NotVerified where the file is another one than before.
    """
    label = mask(address)
    _refuse(label, answer, bucket=bucket)
    found = answer.content_range
    other = Version(version.size_bytes if found is None or found[2] is None else found[2], _validator(answer))
    if other != version:
        raise NotVerified(
            f"{label}: changed on the server while it was read {_difference(version, other)}", hint=_ANEW
        )
    decide(Wanted(label=label, offset_bytes=span[0], size_bytes=version.size_bytes), answer)
    if found is not None and found[1] != span[1] - 1:
        raise Changed(f"{label}: asked for bytes to {span[1] - 1}, got {found[0]}-{found[1]}", hint=_RANGES)


def compare(address: str, version: Version, planned_bytes: int | None) -> None:
    """NotVerified if the server's file has another size than the manifest says; None: it does not say."""
    if planned_bytes is not None and version.size_bytes != planned_bytes:
        raise NotVerified(
            f"{mask(address)}: has {version.size_bytes} bytes on the server, {planned_bytes} by the manifest",
            hint=_ANEW,
        )


def parse_size(text: str, name: str) -> int:
    """Bytes from a text such as 20G or 500 MB (decimal units); SettingsError, with that name, if it is none.

    >>> parse_size("1.5G", "G3M_CACHE_LIMIT")
    1500000000
    """
    found = _SIZE.fullmatch(text.strip().upper())
    if found is None:
        raise SettingsError(f"{name}: {text!r} is no size; write 20G, 500M or 0")
    return int(float(found[1]) * _UNITS[found[2]])


def _refuse(label: str, answer: Answer, *, bucket: bool) -> None:
    """Raise for everything that is not a partial answer."""
    if answer.status in (401, 403):
        words = f"{label}: the server refused (HTTP {answer.status})"
        raise Refused(words, hint=_UNSIGNED if bucket else _PUBLIC)
    if is_page(answer) and answer.status in (200, 206):
        decide(Wanted(label=label), answer)
    if answer.status == 200:
        raise Changed(f"{label}: {host_of(label)} does not answer ranges (HTTP 200)", hint=_RANGES)
    if answer.status != 206:
        raise refusal(Wanted(label=label), answer)


def _is_empty(answer: Answer) -> bool:
    """An empty file has no first byte: some answer 200 with nothing, others 416 of 0 bytes."""
    if answer.status == 200:
        return answer.length_bytes == 0
    return answer.status == 416 and answer.headers.get("content-range", "").strip() == "bytes */0"


def _validator(answer: Answer) -> str:
    """A strong ETag, else the date with whatever ETag there is; empty if neither came."""
    if answer.etag:
        return answer.etag
    return " ".join(filter(None, (answer.headers.get("last-modified", ""), answer.headers.get("etag", ""))))


def _difference(old: Version, new: Version) -> str:
    if old.size_bytes != new.size_bytes:
        return f"(it had {old.size_bytes} bytes and has {new.size_bytes} now)"
    return "(same size, another ETag or date)"
