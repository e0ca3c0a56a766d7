"""A plan's downloads for other programs: Metalink (RFC 5854), an input file of aria2, a script for curl.

Names and addresses go into XML, into lines and into a shell: each is quoted for its place. No address
with a secret in it is written; leaving those out is decided here as well.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

from g3m.core.digest import STRENGTH, Digest
from g3m.core.plan import Plan, asset_id
from g3m.core.recipe import Asset

METALINK_TYPES = {"sha256": "sha-256", "md5": "md5"}
"""Digests that other programs know, by the names of IANA's registry; git's blob hash is not among them."""

_ROUNDS = 20
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file to fetch: its name in the folder of downloads, and where it is, best place first."""

    name: str
    size_bytes: int | None
    digests: tuple[Digest, ...]
    urls: tuple[str, ...]

    @property
    def digest(self) -> Digest | None:
        """The best digest that other programs can compare."""
        known = [digest for digest in self.digests if digest.algorithm in METALINK_TYPES]
        return min(known, key=lambda digest: STRENGTH.index(digest.algorithm), default=None)


def downloads(
    plan: Plan, urls_of: Callable[[Asset], Iterable[str]], done: Iterable[str] = ()
) -> tuple[Download, ...]:
    """What of a plan is to be fetched, each file once, without the ids in `done`; some may have no URL.

    Two files of one name get different ones: `g3m import` knows them by their digests.
    """
    done = set(done)
    assets = {identifier: asset for identifier, asset in plan.assets.items() if identifier not in done}
    names = [_plain(asset.name) for asset in assets.values()]
    return tuple(
        Download(
            name=name if names.count(name) == 1 else f"{asset_id(asset)}-{name}",
            size_bytes=asset.size_bytes,
            digests=asset.digests,
            urls=tuple(url for url in urls_of(asset) if _may_be_written(url)),
        )
        for name, asset in zip(names, assets.values(), strict=True)
    )


def _plain(name: str) -> str:
    return _UNSAFE.sub("_", name).lstrip(".-") or "file"


def _may_be_written(url: str) -> bool:
    """Whether an address can stand in a file: no login, no query that may be a signature, one plain word."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return plain and not (parts.query or parts.fragment or "@" in parts.netloc)


def metalink(files: Sequence[Download]) -> str:
    """A Metalink document; `priority` is the order of the places."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<metalink xmlns="urn:ietf:params:xml:ns:metalink">']
    lines.append("  <generator>g3m</generator>")
    for file in files:
        lines.append(f"  <file name={quoteattr(file.name)}>")
        if file.size_bytes is not None:
            lines.append(f"    <size>{file.size_bytes}</size>")
        for digest in file.digests:
            if digest.algorithm in METALINK_TYPES:
                kind = METALINK_TYPES[digest.algorithm]
                lines.append(f'    <hash type="{kind}">{digest.hex}</hash>')
        for number, url in enumerate(file.urls, 1):
            lines.append(f'    <url priority="{number}">{escape(url)}</url>')
        lines.append("  </file>")
    return "\n".join([*lines, "</metalink>", ""])


def aria2(files: Sequence[Download]) -> str:
    """An input file of aria2: all places of a file on one line, its options below."""
    lines = [
        "# aria2c --input-file=THIS --dir=FOLDER --continue=true --check-integrity=true \\",
        "#   --max-connection-per-server=16 --split=16 --min-split-size=4M --max-tries=0 --retry-wait=5",
        "# and then: g3m import FOLDER",
    ]
    for file in files:
        lines.append("\t".join(file.urls))
        lines.append(f"  out={file.name}")
        if file.digest is not None:
            lines.append(f"  checksum={METALINK_TYPES[file.digest.algorithm]}={file.digest.hex}")
    return "\n".join([*lines, ""])


_CURL_HEAD = """\
#!/bin/sh
# Run this in a folder for the files, again if it says so, and then: g3m import FOLDER
set -u
failed=0

has() { [ -f "$1" ] && [ "$(wc -c < "$1" | tr -d ' ')" = "$2" ]; }

# fetch NAME SIZE URL...   (SIZE is - where nobody says it beforehand)
fetch() {
    name=$1 size=$2
    shift 2
    round=0
    until [ -f "$name" ]; do
        round=$((round + 1))
        if [ "$round" -gt @ROUNDS@ ]; then
            echo "$name: no place delivered it; run this again later" >&2
            failed=1
            return
        fi
        [ "$round" -eq 1 ] || sleep "${PAUSE:-5}"
        for url in "$@"; do
            if ! has "$name.part" "$size"; then
                # No --retry: it would begin where this curl began, a new one begins where the last one ended.
                curl -fL -C - --connect-timeout 20 --speed-limit 1024 --speed-time 60 \\
                    -o "$name.part" "$url" || continue
                if [ "$size" != - ] && ! has "$name.part" "$size"; then
                    rm -f "$name.part" # a web page, perhaps, but not this file
                    continue
                fi
            fi
            mv "$name.part" "$name"
            return
        done
    done
}

"""


def curl_script(files: Sequence[Download]) -> str:
    """A shell script that fetches with curl, goes on where it stopped, and compares the digests."""
    lines = []
    for file in files:
        size = "-" if file.size_bytes is None else str(file.size_bytes)
        lines.append(
            " \\\n    ".join([f"fetch {shlex.quote(file.name)} {size}", *map(shlex.quote, file.urls)])
        )
    lines.append('[ "$failed" -eq 0 ] || exit 1')
    for algorithm in METALINK_TYPES:
        sums = [
            f"{file.digest.hex}  {file.name}"
            for file in files
            if file.digest is not None and file.digest.algorithm == algorithm
        ]
        if sums:
            lines += [f"{algorithm}sum -c <<'SUMS' || failed=1", *sums, "SUMS"]
    lines.append('[ "$failed" -eq 0 ] || echo "delete the files that failed, and run this again" >&2')
    lines.append('exit "$failed"')
    return _CURL_HEAD.replace("@ROUNDS@", str(_ROUNDS)) + "\n".join([*lines, ""])


FORMATS: Mapping[str, Callable[[Sequence[Download]], str]] = {
    "metalink": metalink,
    "aria2": aria2,
    "curl": curl_script,
}
"""What `g3m plan --format` can write."""
