"""Reading members: a range of bytes in a file becomes the bytes of an image, checked.

Here: what `Member` values promise, for all four methods. Which members there are is for the
listings (adapters/zip.py, tar.py, folder.py); what the bytes mean is for whoever asked.

Every read names its own position, so any number of threads may share one reader.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, final

from g3m.core.errors import BadArchive, StorageError
from g3m.core.members import MEMBER_LIMIT_BYTES, Member, refuse_name

_CHUNK_BYTES = 256 * 2**10
_LOCAL = struct.Struct("<4s2x2H4x3L2H")
"""Signature, flags, method, crc32, two sizes, lengths of name and extra field; 30 bytes."""

_LOCAL_SIGNATURE = b"PK\x03\x04"
_METHODS = {"zip-stored": 0, "zip-deflated": 8}
_ENCRYPTED = 0x0001
_DESCRIPTOR = 0x0008
"""Sizes and checksum stand behind the data; the local header need not say them."""

_UNSET = (0, 0xFFFFFFFF)

_USUAL_EXTRA_BYTES = 64
"""Room for the extra fields that zip programs write (times and owner: 28, zip64: 20)."""

_RAW_DEFLATE = -15


@final
class MemberReader:
    """Reads the members of one file, or of one folder for members of the method `file`.

    A context manager; it holds one open descriptor. Raises StorageError if the system does not let
    it read, BadArchive (file, member and offset in the message) if the bytes are not as promised.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # isal has zlib's interface and is two to three times as fast.
        try:
            self._zlib: Any = importlib.import_module("isal.isal_zlib")
        except ImportError:
            self._zlib = zlib
        try:
            self._source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error

    def __enter__(self) -> MemberReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self._source >= 0:
            os.close(self._source)
            self._source = -1

    def read(self, member: Member) -> bytes:
        """The whole member; its size, and its crc32 if it has one, are checked."""
        return bytes(self.view(member))

    def view(self, member: Member) -> bytes | memoryview:
        """As `read`, without a copy of what lies in the archive as it is: for large members."""
        if member.size_bytes > MEMBER_LIMIT_BYTES:
            raise self._bad(member, f"{member.size_bytes} bytes are too many")
        data: bytes | memoryview
        if member.method in _METHODS:
            data = self._read_zip(member)
        elif member.method == "file":
            file = self._open_file(member)
            try:
                data = self._exactly(file, 0, member.size_bytes, member)
            finally:
                os.close(file)
        else:
            data = self._exactly(self._source, member.offset, member.size_bytes, member)
        if member.crc32 is not None and self._zlib.crc32(data) != member.crc32:
            raise self._bad(member, "its checksum is wrong")
        return data

    def open(self, member: Member) -> BinaryIO:
        """The member as a stream, for caption files too large to hold; the reader must stay open.

        Nothing is read before the first `read`. Size and crc32 are checked before the last bytes
        are handed out, so a reader that reaches the end has read what was promised.
        """
        return io.BufferedReader(_ChunkStream(self._checked(member)), _CHUNK_BYTES)

    def data_offset(self, member: Member) -> int:
        """Where the member's bytes begin in the file: list a tar stored in a zip with it."""
        if member.method not in _METHODS:
            return member.offset
        wanted = _LOCAL.size + _name_room(member)
        head = self._pread(self._source, wanted, member.offset)
        return member.offset + self._data_start(head, member)

    def _read_zip(self, member: Member) -> bytes | memoryview:
        # One read for header, name, extra field and data: the header's lengths are guessed.
        wanted = _LOCAL.size + _name_room(member) + _USUAL_EXTRA_BYTES + member.stored_bytes
        block = self._pread(self._source, wanted, member.offset)
        start = self._data_start(block, member)
        end = start + member.stored_bytes
        if end > len(block):
            position = member.offset + len(block)
            block += self._exactly(self._source, position, end - len(block), member)
        if member.method == "zip-stored":
            if member.stored_bytes != member.size_bytes:
                raise self._bad(member, "it is stored, but has two sizes")
            return memoryview(block)[start:end]
        inflater = self._zlib.decompressobj(_RAW_DEFLATE)
        try:
            # One byte more than promised: enough to see that there is more, or that it has ended.
            data: bytes = inflater.decompress(memoryview(block)[start:end], member.size_bytes + 1)
        except self._zlib.error as error:
            raise self._bad(member, f"it cannot be inflated: {error}") from error
        if len(data) != member.size_bytes or not inflater.eof or inflater.unused_data:
            raise self._bad(member, f"it does not inflate to {member.size_bytes} bytes")
        return data

    def _data_start(self, head: bytes, member: Member) -> int:
        """How far the data lies behind the local header, which must agree with the listing."""
        if len(head) < _LOCAL.size:
            raise self._bad(member, "the file ends within its local header")
        fields = _LOCAL.unpack_from(head)
        signature, flags, method, crc32, stored, size, name_bytes, extra_bytes = fields
        if signature != _LOCAL_SIGNATURE:
            raise self._bad(member, "no local header there")
        if method != _METHODS[member.method] or flags & _ENCRYPTED:
            raise self._bad(member, "its local header speaks of another method")
        # Which of the two encodings a name has is a flag that some programs set in one place only.
        name = head[_LOCAL.size : _LOCAL.size + name_bytes]
        if name != member.name.encode() and name != member.name.encode("cp437", "replace"):
            raise self._bad(member, f"its local header has another name: {name!r}")
        # 0 and the zip64 mark are how a header says that the number stands elsewhere.
        if not flags & _DESCRIPTOR and not (
            crc32 in (member.crc32, *_UNSET)
            and stored in (member.stored_bytes, *_UNSET)
            and size in (member.size_bytes, *_UNSET)
        ):
            raise self._bad(member, "its local header has another size or checksum")
        return int(_LOCAL.size + name_bytes + extra_bytes)

    def _checked(self, member: Member) -> Generator[bytes, None, None]:
        """The member in pieces, each handed out only when the one behind it has been seen."""
        held, crc32, size_bytes = b"", 0, 0
        for chunk in self._chunks(member):
            size_bytes += len(chunk)
            crc32 = self._zlib.crc32(chunk, crc32)
            if size_bytes > member.size_bytes:
                raise self._bad(member, f"it is longer than {member.size_bytes} bytes")
            if held:
                yield held
            held = chunk
        if size_bytes != member.size_bytes:
            raise self._bad(member, f"it has {size_bytes} bytes and not {member.size_bytes}")
        if member.crc32 is not None and crc32 != member.crc32:
            raise self._bad(member, "its checksum is wrong")
        yield held

    def _chunks(self, member: Member) -> Iterator[bytes]:
        if member.method == "file":
            file = self._open_file(member)
            try:
                yield from self._range(file, 0, member)
            finally:
                os.close(file)
            return
        stored = self._range(self._source, self.data_offset(member), member)
        if member.method != "zip-deflated":
            yield from stored
            return
        inflater = self._zlib.decompressobj(_RAW_DEFLATE)
        try:
            for chunk in stored:
                if inflater.eof:
                    raise self._bad(member, "bytes behind its compressed data")
                rest = chunk
                # Behind the end of the stream zlib would hand back the same rest for ever.
                while rest and not inflater.eof:
                    yield inflater.decompress(rest, _CHUNK_BYTES)
                    rest = inflater.unconsumed_tail
            # The input may be used up while output is still held back.
            while not inflater.eof and (chunk := inflater.decompress(b"", _CHUNK_BYTES)):
                yield chunk
        except self._zlib.error as error:
            raise self._bad(member, f"it cannot be inflated: {error}") from error
        if not inflater.eof or inflater.unused_data:
            raise self._bad(member, "its compressed data does not end where it should")

    def _range(self, file: int, start: int, member: Member) -> Iterator[bytes]:
        """The stored bytes of a member in pieces."""
        for done in range(0, member.stored_bytes, _CHUNK_BYTES):
            wanted = min(_CHUNK_BYTES, member.stored_bytes - done)
            yield self._exactly(file, start + done, wanted, member)

    def _open_file(self, member: Member) -> int:
        """Open a file of the folder; it must still be the file that was listed."""
        if refuse_name(member.name):
            raise self._bad(member, "that name cannot be opened")
        try:
            # O_NONBLOCK: should it have become a FIFO meanwhile, opening must not wait for ever.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            file = os.open(member.name, flags, dir_fd=self._source)
        except OSError as error:
            words = f"{self._path}: member {member.name!r} cannot be read: {error.strerror}"
            raise StorageError(words) from error
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode) or state.st_size != member.size_bytes:
            os.close(file)
            raise self._bad(member, "it has changed since it was listed")
        return file

    def _exactly(self, file: int, position: int, size_bytes: int, member: Member) -> bytes:
        data = self._pread(file, size_bytes, position)
        if len(data) != size_bytes:
            raise self._bad(member, f"the file ends at offset {position + len(data)}")
        return data

    def _pread(self, file: int, size_bytes: int, position: int) -> bytes:
        """Up to `size_bytes`; fewer only where the file ends, although the system may give less."""
        try:
            data = os.pread(file, size_bytes, position)
            if len(data) == size_bytes or not data:
                return data
            chunks = [data]
            position += len(data)
            while (missing := size_bytes - sum(map(len, chunks))) and chunks[-1]:
                chunks.append(os.pread(file, missing, position))
                position += len(chunks[-1])
        except OSError as error:
            words = f"{self._path}: cannot be read: {error.strerror or error}"
            raise StorageError(words) from error
        return b"".join(chunks)

    def _bad(self, member: Member, what: str) -> BadArchive:
        return BadArchive(f"{self._path}: member {member.name!r} at offset {member.offset}: {what}")


def _name_room(member: Member) -> int:
    """No name is longer in a zip than in UTF-8, the other encoding has one byte a letter."""
    return len(member.name.encode())


class _ChunkStream(io.RawIOBase):
    """A generator of pieces as a readable file."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size_bytes = min(len(buffer), len(self._rest))
        buffer[:size_bytes] = self._rest[:size_bytes]
        self._rest = self._rest[size_bytes:]
        return size_bytes

    def close(self) -> None:
        self._chunks.close()
        super().close()
