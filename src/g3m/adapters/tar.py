"""Listing a tar strictly: whatever two readers could understand differently is an error.

Here: which regular files a tar holds and where their bytes lie, with one pass over the headers.
Reading members is for adapters/members.py; undoing gzip is for adapters/inflate.py, because a tar
can only be trusted when the stream around it has been checked to its end.

A tar has checksums over its headers and none over its data, and its end is no more than zeros. A
lenient reader takes a damaged header, or zeros in the middle, for the end of the archive and
reports success. Here each of these is a BadArchive with the offset. So are more zeros at the end than fill
a record: a download that had the whole size from its start, and was not finished, ends like that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from zlib import adler32

from g3m.core.errors import BadArchive, StorageError
from g3m.core.members import (
    MEMBER_COUNT_LIMIT,
    MEMBER_LIMIT_BYTES,
    NAME_LIMIT_BYTES,
    Member,
    Refusal,
    refuse_name,
)
from g3m.core.shard import RECORD_BYTES

BLOCK_BYTES = 512
PAX_LIMIT_BYTES = 64 * 2**10
RECORD_LIMIT_BYTES = 2**20
"""The largest record that an archive is taken to be filled up to: that of tapes."""

_NEAR_BYTES, _FAR_BYTES, _TAIL_BYTES = 2**16, 2**12, 2**20

_ZEROS = bytes(BLOCK_BYTES)
_NAME, _SIZE, _CHECKSUM, _KIND = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_MAGIC, _PREFIX = slice(257, 263), slice(345, 500)
_POSIX_MAGIC, _GNU_MAGIC = b"ustar\0", b"ustar "
_OLD_SPARSE_MORE, _SPARSE_BLOCK_MORE = 482, 504

_REGULAR, _DIRECTORY, _SPARSE = (b"0", b"\0", b"7"), b"5", b"S"
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")
_EXTENSIONS = (b"x", b"g", b"L", b"K")
_FOREIGN_EXTENSIONS = (b"X", b"N")
"""Solaris' and old GNU's ways to name the next member: to skip one would be to misname it."""

_PAX_OF_ONE_MEMBER = (b"path", b"size", b"linkpath")
_PAX_SPARSE = b"GNU.sparse."

_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_RECORD_LENGTH = re.compile(rb"([1-9][0-9]{0,4}) ")


Reach = Callable[[int], int]
"""Makes a file that is still being written as long as that, if it will be; returns how long it is now."""


def list_tar(
    path: Path, *, offset: int = 0, size_bytes: int | None = None, reach: Reach | None = None
) -> Iterator[Member | Refusal]:
    """List the files of the tar at `offset` of a file, in archive order, refused ones with reason.

    `size_bytes` is the length of the tar, None: to the end of the file; with `reach` the file may grow
    meanwhile. `Member.offset` counts from the start of the file. Directories are left out silently. Raises
    StorageError if the file cannot be read, BadArchive for anything but a whole, unambiguous tar; members
    before the fault have been yielded by then, so nothing may be made final before the iteration ends.
    """
    try:
        with path.open("rb", buffering=0) as file:
            if reach is None:
                file_bytes = os.fstat(file.fileno()).st_size
                end = file_bytes if size_bytes is None else offset + size_bytes
                if not 0 <= offset <= end <= file_bytes:
                    raise BadArchive(f"{path}: no {size_bytes} bytes at offset {offset}")
                reach = lambda _: end  # noqa: E731
            yield from _Listing(_Window(path, file.fileno(), offset, reach)).members()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Window:
    """Reads a range of a file forwards, little where data is skipped and much where it is not."""

    def __init__(self, path: Path, descriptor: int, start: int, reach: Reach) -> None:
        self.start = start
        self._path, self._descriptor, self._reach = path, descriptor, reach
        self._end = start
        self._buffer = b""
        self._buffer_start = start

    def holds(self, position: int) -> bool:
        """Whether the archive goes on to that position at least."""
        if position > self._end:
            self._end = self._reach(position)
        return position <= self._end

    def read(self, position: int, size_bytes: int, what: str) -> bytes:
        """Exactly `size_bytes` at `position`; BadArchive if the archive ends before."""
        if not self.holds(position + size_bytes):
            raise self.bad(position, f"the archive ends where {what} should be")
        low = position - self._buffer_start
        if low < 0 or low + size_bytes > len(self._buffer):
            # Close to what was read last: members are small, so a large read holds many headers.
            # Far from it: a few blocks, enough for the small files that stand beside an image.
            close = low - len(self._buffer) < _NEAR_BYTES
            wanted = max(size_bytes, _NEAR_BYTES if close else _FAR_BYTES)
            low, self._buffer, self._buffer_start = 0, b"", position
            while len(self._buffer) < size_bytes:  # more than once only if the system gives less
                at = position + len(self._buffer)
                chunk = os.pread(self._descriptor, wanted - len(self._buffer), at)
                if not chunk:
                    raise self.bad(at, "the file became shorter")
                self._buffer += chunk
        return self._buffer[low : low + size_bytes]

    def rest(self, position: int) -> bytes:
        """Some of what follows a position, or nothing if nothing does."""
        self.holds(position + _TAIL_BYTES)
        size_bytes = min(_TAIL_BYTES, self._end - position)
        return self.read(position, size_bytes, "zeros") if size_bytes else b""

    def bad(self, position: int, what: str) -> BadArchive:
        """The error for a fault at an offset of the file."""
        return BadArchive(f"{self._path}: not a sound tar: {what}, at offset {position}")


class _Header(NamedTuple):
    """One header: what it says, where it stands, and where the bytes behind it begin."""

    name: bytes
    kind: bytes
    size_bytes: int
    position: int
    data_offset: int


class _Listing:
    """One pass over the headers of one tar."""

    def __init__(self, window: _Window) -> None:
        self._window = window
        self._pax: dict[bytes, bytes] = {}
        self._gnu: dict[bytes, bytes] = {}
        self._seen: set[int] = set()

    def members(self) -> Iterator[Member | Refusal]:
        window = self._window
        position, count = window.start, 0
        what = "a header or the two zero blocks of the end"
        while (block := window.read(position, BLOCK_BYTES, what)) != _ZEROS:
            header = self._header(block, position)
            found: Member | Refusal | None = None
            if header.kind in _EXTENSIONS:
                self._read_extension(header)
            else:
                header = self._extended(header)
                found = self._member(header)
            position = header.data_offset + header.size_bytes + -header.size_bytes % BLOCK_BYTES
            if not window.holds(position):
                raise window.bad(header.position, f"a member of {header.size_bytes} bytes is cut")
            if found:
                count += 1
                if count > MEMBER_COUNT_LIMIT:
                    raise window.bad(header.position, f"more than {MEMBER_COUNT_LIMIT} members")
                yield found
        self._check_end(position)

    def _check_end(self, position: int) -> None:
        """Two zero blocks, and from there on nothing but the zeros that fill the last record."""
        window, end = self._window, position
        if self._pax or self._gnu:
            raise window.bad(position, "an extension header without a member")
        if window.read(position + BLOCK_BYTES, BLOCK_BYTES, "the second zero block") != _ZEROS:
            raise window.bad(position, "one zero block where a header or two zero blocks should be")
        position += 2 * BLOCK_BYTES
        while tail := window.rest(position):
            other = tail.lstrip(b"\0")
            if other:
                raise window.bad(position + len(tail) - len(other), "bytes behind the end")
            position += len(tail)
        size_bytes = position - window.start
        # Most programs write records of 20 blocks; those that use others use a power of two.
        record = min(max(size_bytes & -size_bytes, RECORD_BYTES), RECORD_LIMIT_BYTES)
        if position - end >= 2 * BLOCK_BYTES + record:
            raise window.bad(end, f"{position - end} bytes of zeros where its end should be")

    def _header(self, block: bytes, position: int) -> _Header:
        """Take a header apart; its checksum, kind and size are checked."""
        window = self._window
        stated = _OCTAL.fullmatch(block[_CHECKSUM])
        # The checksum's own eight bytes count as spaces.
        actual = _sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
        if not stated or int(stated[1] or b"0", 8) != actual:
            raise window.bad(position, "the checksum of a header is wrong")
        kind, magic = block[_KIND], block[_MAGIC]
        if kind in _FOREIGN_EXTENSIONS:
            raise window.bad(position, f"an extension header of kind {kind.decode()}")
        name = block[_NAME].partition(b"\0")[0]
        prefix = block[_PREFIX].partition(b"\0")[0]
        # In GNU's own format other things stand where the prefix would be.
        if magic == _POSIX_MAGIC and prefix:
            name = prefix + b"/" + name
        data_offset = position + BLOCK_BYTES
        if kind == _SPARSE and magic == _GNU_MAGIC:
            more = block[_OLD_SPARSE_MORE]
            while more:
                more = window.read(data_offset, BLOCK_BYTES, "a sparse map")[_SPARSE_BLOCK_MORE]
                data_offset += BLOCK_BYTES
        return _Header(name, kind, self._size(block[_SIZE], position), position, data_offset)

    def _size(self, raw: bytes, position: int) -> int:
        """The size field: octal digits, or a binary number behind a first byte of 0x80."""
        if raw[0] == 0x80:
            return int.from_bytes(raw[1:], "big")
        octal = _OCTAL.fullmatch(raw)
        if not octal:  # a binary number below zero, too: its first byte is 0xFF
            raise self._window.bad(position, f"the size of a member is no number: {raw!r}")
        return int(octal[1] or b"0", 8)

    def _read_extension(self, header: _Header) -> None:
        """Keep what an extension header says about the next member."""
        window, kind = self._window, header.kind
        # Readers disagree on whether one extension header speaks about another.
        if self._pax or kind in self._gnu or (self._gnu and kind not in (b"L", b"K")):
            raise window.bad(header.position, "an extension header behind another one")
        limit = NAME_LIMIT_BYTES + 1 if kind in (b"L", b"K") else PAX_LIMIT_BYTES
        if header.size_bytes > limit:
            raise window.bad(header.position, f"an extension header of {header.size_bytes} bytes")
        data = window.read(header.data_offset, header.size_bytes, "an extension header's content")
        if kind in (b"L", b"K"):
            self._gnu[kind] = data.rstrip(b"\0")
            return
        records = self._pax_records(data, header.data_offset)
        if kind == b"x":
            self._pax = records
        elif any(key in _PAX_OF_ONE_MEMBER or key.startswith(_PAX_SPARSE) for key in records):
            raise window.bad(header.position, "a global header that names or sizes all members")

    def _pax_records(self, data: bytes, position: int) -> dict[bytes, bytes]:
        """The records of a pax header: "LENGTH KEY=VALUE\\n", LENGTH counting the whole record."""
        records: dict[bytes, bytes] = {}
        at = 0
        while at < len(data):
            length = _RECORD_LENGTH.match(data, at)
            end = at + int(length[1]) if length else 0
            record = data[length.end() : end] if length else b""
            key, equals, value = record[:-1].partition(b"=")
            if end > len(data) or not record.endswith(b"\n") or not key or not equals:
                raise self._window.bad(position + at, "a broken record in a pax header")
            if key in records and key in _PAX_OF_ONE_MEMBER:
                raise self._window.bad(position + at, f"two pax records for {key.decode()}")
            records[key] = value
            at = end
        return records

    def _extended(self, header: _Header) -> _Header:
        """The header as the extension headers before it want it understood."""
        pax, gnu, position = self._pax, self._gnu, header.position
        self._pax, self._gnu = {}, {}
        name = pax.get(b"path", gnu.get(b"L", header.name))
        kind = _SPARSE if any(key.startswith(_PAX_SPARSE) for key in pax) else header.kind
        size_bytes = header.size_bytes
        if b"size" in pax:
            if not pax[b"size"].isdigit() or len(pax[b"size"]) > 19:
                raise self._window.bad(position, f"a pax size that is no number: {pax[b'size']!r}")
            size_bytes = int(pax[b"size"])
            # Zero is what writers put into a header whose size field is too small for the size.
            if header.size_bytes not in (0, size_bytes):
                sizes = f"{header.size_bytes} and {size_bytes}"
                raise self._window.bad(position, f"a member of two sizes, {sizes}")
        return header._replace(name=name, kind=kind, size_bytes=size_bytes)

    def _member(self, header: _Header) -> Member | Refusal | None:
        """What a header announces: a member, a refusal, or None for a directory."""
        kind, size_bytes = header.kind, header.size_bytes
        if kind in _WITHOUT_DATA and size_bytes:
            # Some readers skip that many bytes, others take them for the next header.
            raise self._window.bad(header.position, f"a link or folder of {size_bytes} bytes")
        # What is no UTF-8 becomes \\xNN: fit to be shown, and refused for its backslash.
        name = header.name.decode("utf-8", "backslashreplace")
        # Old tars have no kind for directories: they are empty files with a slash at the end.
        if kind == _DIRECTORY or (kind in _REGULAR and name.endswith("/") and not size_bytes):
            return None
        reason, detail = refuse_name(name), ""
        if kind == _SPARSE:
            reason = "sparse"
        elif kind not in _REGULAR or name.endswith("/"):
            reason, detail = "not_a_file", f"kind {kind.decode('latin-1')!r}"
        elif not reason and self._seen_before(name):
            reason = "duplicate"
        elif not reason and size_bytes > MEMBER_LIMIT_BYTES:
            reason, detail = "too_large", f"{size_bytes} bytes"
        if reason:
            return Refusal(name, reason, detail)
        return Member(name, "raw", header.data_offset, size_bytes, size_bytes)

    def _seen_before(self, name: str) -> bool:
        # Eight bytes of digest for each name: an archive of millions must not fill the memory.
        digest = blake2b(name.removeprefix("./").encode(), digest_size=8).digest()
        number, count = int.from_bytes(digest, "big"), len(self._seen)
        self._seen.add(number)
        return len(self._seen) == count


def _sum(block: bytes) -> int:
    """The sum of a header's bytes. The low half of Adler-32 is one more than that, modulo 65,521.

    No 256 bytes reach that number, and this takes a fifth of the time of `sum`.
    """
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
