"""What an archive holds, as values: members, refusals, and which names may be trusted.

An archive of any kind (zip, tar, tar.gz after inflating, a folder) is listed once; from then on a
member is a range of bytes in one file, so that reading it needs no archive code and no state.
A member's name is text from a stranger: it is compared, never joined to a path of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Method = Literal["raw", "zip-stored", "zip-deflated", "file"]
"""How the bytes lie: `raw` at `offset`; `zip-*` behind the local header at `offset`; `file` on its own."""

NAME_LIMIT_BYTES = 4096
MEMBER_LIMIT_BYTES = 2**31
"""No image or caption file of any source comes near 2 GiB; what claims more is refused."""

MEMBER_COUNT_LIMIT = 50_000_000

_UNWANTED = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]|^/|^[A-Za-z]:")
"""Control characters, backslashes and lone surrogates anywhere; a root or a drive in front."""


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file inside an archive: `size_bytes` when unpacked, `stored_bytes` as it lies."""

    name: str
    method: Method
    offset: int
    size_bytes: int
    stored_bytes: int
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A member that is not used: its name, a reason code of `REASONS`, and what was seen."""

    name: str
    reason: str
    detail: str = ""


def refuse_name(name: str) -> str | None:
    """Say why a member's name may not be used, or None if it may.

    >>> refuse_name("../../etc/passwd")
    'unsafe_name'
    >>> refuse_name("val2017/000000000139.jpg") is None
    True
    """
    if not name or _UNWANTED.search(name):
        return "unsafe_name"
    if ".." in name and ".." in name.split("/"):
        return "unsafe_name"
    # No character takes more than four bytes, so that most names need not be encoded to be measured.
    if 4 * len(name) > NAME_LIMIT_BYTES and len(name.encode("utf-8", "surrogatepass")) > NAME_LIMIT_BYTES:
        return "unsafe_name"
    return None


def basename(name: str) -> str:
    """The last component of a member's name."""
    return name.rpartition("/")[2]


def inside(name: str, folder: str) -> str | None:
    """The name relative to a folder of the archive, or None if it lies elsewhere.

    >>> inside("val2017/1.jpg", "val2017"), inside("./val2017/1.jpg", "val2017"), inside("x/1.jpg", "val2017")
    ('1.jpg', '1.jpg', None)
    """
    plain = name.removeprefix("./")
    if not folder:
        return plain
    prefix = folder.rstrip("/") + "/"
    return plain[len(prefix) :] if plain.startswith(prefix) else None
