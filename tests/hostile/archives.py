"""Archives that lie, as bytes: makers of tars and zips with any field set as wanted, and the table of cases.

Every case is declared once: what it is, the bytes, and what must come of it. The makers are used by the tests
of the readers, too. Nothing here is read from a file, and nothing is random without a seed.
"""

from __future__ import annotations

import gzip
import io
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tests.whole.sources import tiny_jpeg

from g3m.core.shard import end_of_archive, padding, ustar_header

END = bytes(1024)
GNU = b"ustar  \0"


# --- tars -----------------------------------------------------------------------------------------------------------


def header(name: bytes = b"a.jpg", size: bytes | int = 0, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A header with any field set as wanted and a checksum that holds."""
    block = bytearray(ustar_header("x", 0))
    block[0:100] = name.ljust(100, b"\0")
    block[124:136] = b"%011o\0" % size if isinstance(size, int) else size
    block[156:157] = kind
    for place, value in fields.items():
        start = {"mode": 100, "link": 157, "magic": 257, "prefix": 345, "more": 482}[place]
        block[start : start + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def entry(name: bytes, data: bytes, kind: bytes = b"0", **fields: bytes) -> bytes:
    """A member with its content."""
    return header(name, len(data), kind, **fields) + data + padding(len(data))


def pax(*records: tuple[str, str], kind: bytes = b"x") -> bytes:
    """An extension header of these records."""
    data = b""
    for key, value in records:
        body = f" {key}={value}\n".encode()
        length = len(body) + len(str(len(body)))
        length = len(body) + len(str(length))
        data += b"%d%s" % (length, body)
    return entry(b"pax", data, kind)


def tar_of(content: Iterable[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar as Python writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for name, data in content:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def whole_tar(*pieces: bytes) -> bytes:
    """The pieces with the end behind them, in whole records."""
    body = b"".join(pieces)
    return body + end_of_archive(len(body))


# --- zips -----------------------------------------------------------------------------------------------------------

END_RECORD = struct.Struct("<4s4H2LH")
CENTRAL_AT = {
    "flags": 8,
    "method": 10,
    "crc32": 16,
    "stored": 20,
    "size": 24,
    "system": 5,
    "mode": 40,
    "offset": 42,
}


def zip_bytes(*content: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """A zip as Python writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name, data in content:
            archive.NameToInfo.pop(name, None)  # a name that is there already would be a warning
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def patched(whole: bytes, number: int = 0, **fields: int) -> bytes:
    """Change fields of one entry of the central directory."""
    content = bytearray(whole)
    at = END_RECORD.unpack_from(whole, whole.rfind(b"PK\5\6"))[6]
    for _ in range(number):
        name, extra, comment = struct.unpack_from("<3H", content, at + 28)
        at += 46 + name + extra + comment
    for field, value in fields.items():
        form = "<H" if field in ("flags", "method", "mode", "system") else "<L"
        struct.pack_into(form, content, at + CENTRAL_AT[field], value)
    return bytes(content)


def with_end(whole: bytes, **fields: int) -> bytes:
    """Change fields of the end record, which has no comment."""
    order = ("disk", "first_disk", "here", "count", "directory_bytes", "directory_offset", "comment")
    signature, *values = END_RECORD.unpack(whole[-END_RECORD.size :])
    return whole[: -END_RECORD.size] + END_RECORD.pack(
        signature, *(fields.get(name, value) for name, value in zip(order, values, strict=True))
    )


def moved(whole: bytes, by: int) -> bytes:
    """Other bytes in front, with every offset corrected, as self-extracting archives have it."""
    for number, offset in enumerate([m.header_offset for m in zipfile.ZipFile(io.BytesIO(whole)).infolist()]):
        whole = patched(whole, number, offset=offset + by)
    place = END_RECORD.unpack(whole[-END_RECORD.size :])[6]
    return b"#" * by + with_end(whole, directory_offset=place + by)


def with_zip64(whole: bytes, **lies: int) -> bytes:
    """The same zip with a zip64 end record in front of its end record; `lies` change fields of it."""
    _, _, _, here, count, size, start, _ = END_RECORD.unpack(whole[-END_RECORD.size :])
    values = {"here": here, "count": count, "size": size, "start": start, **lies}
    at = len(whole) - END_RECORD.size
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *(values[n] for n in ("here", "count", "size", "start"))
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    plain = END_RECORD.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return whole[:at] + record + locator + plain


def streamed(*content: tuple[str, bytes], stored: Sequence[str] = ()) -> bytes:
    """A zip as it is written to a pipe: sizes and checksums stand behind the data."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.content += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name, data in content:
            archive.writestr(name, data, zipfile.ZIP_STORED if name in stored else None)
    return bytes(pipe.content)


def one_body(count: int, size_bytes: int) -> bytes:
    """A zip whose entries all have the same compressed bytes: a little of it claims to be a lot."""
    whole = zip_bytes(("evil0.jpg", bytes(size_bytes)), method=zipfile.ZIP_DEFLATED)
    start = END_RECORD.unpack(whole[-END_RECORD.size :])[6]
    central = whole[start : -END_RECORD.size]
    entries = b"".join(central.replace(b"evil0", b"evil%d" % number) for number in range(count))
    end = END_RECORD.pack(b"PK\5\6", 0, 0, count, count, len(entries), start, 0)
    return whole[:start] + entries + end


# --- the cases ------------------------------------------------------------------------------------------------------

Kind = Literal["tar", "gz", "zip"]
Files = list[tuple[str, bytes]]


def sample(number: int) -> Files:
    """A sound sample: a picture and its caption."""
    return [(f"k{number}.jpg", tiny_jpeg(number)), (f"k{number}.txt", b"words of %d" % number)]


def files(*numbers: int) -> bytes:
    """Sound samples as members of a tar, without its end."""
    return b"".join(entry(name.encode(), data) for number in numbers for name, data in sample(number))


@dataclass(frozen=True)
class Case:
    """One archive: `words` of its error, or else the reasons of what is refused in it, by name.

    `keys` are the sound samples that are left, `unreadable` members are listed and cannot be read.
    """

    name: str
    kind: Kind
    build: Callable[[], bytes]
    words: str = ""
    refused: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ("k1", "k2")
    unreadable: tuple[str, ...] = ()
    foreign_keys: tuple[str, ...] = ()
    """The samples of it as a tar of others, where a member too many spoils its sample; empty: the same."""
    file: str = ""
    """The name of the file, where it is not that of its kind."""

    @cached_property
    def content(self) -> bytes:
        return self.build()

    @property
    def file_name(self) -> str:
        return self.file or {"tar": "mine.tar", "gz": "mine.tar.gz", "zip": "mine.zip"}[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def between(*pieces: bytes) -> bytes:
    """A tar with a sound sample on both sides of these blocks."""
    return whole_tar(files(1), *pieces, files(2))


def _refused(name: str, piece: bytes, *refused: tuple[str, str], foreign: tuple[str, ...] = ()) -> Case:
    return Case(name, "tar", lambda: between(piece), refused=refused, foreign_keys=foreign)


def _bad(name: str, build: Callable[[], bytes], words: str, kind: Kind = "tar") -> Case:
    return Case(name, kind, build, words, keys=())


EVIL = b"evil content"
DEEP = "d" * 247
"""Of such folders sixteen make a path that no system call takes."""


def _path_max() -> bytes:
    """Links through folders of long names, then a file through them: more than PATH_MAX when resolved."""
    pieces, path = [], ""
    for letter in "abcdefghijklmnop":
        pieces.append(header(f"{DEEP}".encode()[:90], 0, b"5"))
        pieces.append(header(letter.encode(), 0, b"2", link=DEEP.encode()[:90]))
        path += f"{letter}/"
    link = f"{path}{'l' * 254}"
    pieces.append(entry(b"L", link.encode() + b"\0", b"L") + header(b"l", 0, b"2", link=b"../" * 16))
    pieces.append(entry(b"L", f"{link}/../evil.jpg\0".encode(), b"L") + entry(b"e", EVIL))
    return b"".join(pieces)


def _many_links() -> tuple[tuple[str, str], ...]:
    names = [(letter, "not_a_file") for letter in "abcdefghijklmnop"]
    link = "".join(f"{letter}/" for letter in "abcdefghijklmnop") + "l" * 254
    return (*names, (link, "not_a_file"), (f"{link}/../evil.jpg", "unsafe_name"))


OUTSIDE = "unsafe_name"
NAMES = [
    ("up", "../../evil.jpg"),
    ("up from within", "a/../../evil.jpg"),
    ("absolute", "/tmp/evil.jpg"),
    ("backslashes", "a\\..\\evil.jpg"),
    ("drive", "C:/evil.jpg"),
    ("escape sequence", "evil\x1b[2J.jpg"),
    ("newline", "evil\n.jpg"),
]
_XATTR = ("SCHILY.xattr.security.capability", "x")

TAR_CASES = [
    Case("sound", "tar", lambda: whole_tar(files(1, 2))),
    *(
        _refused(f"name leads out: {word}", entry(name.encode(), EVIL), (name, OUTSIDE))
        for word, name in NAMES
    ),
    _refused(
        "name leads out by pax", pax(("path", "../evil.jpg")) + entry(b"k", EVIL), ("../evil.jpg", OUTSIDE)
    ),
    _refused(
        "name leads out by a long name",
        entry(b"L", b"../evil.jpg\0", b"L") + entry(b"k", EVIL),
        ("../evil.jpg", OUTSIDE),
    ),
    _refused("name is no UTF-8", entry(b"evil\xff.jpg", EVIL), ("evil\\xff.jpg", OUTSIDE)),
    _refused("no name", entry(b"", EVIL), ("", OUTSIDE)),
    _refused("symlink out", header(b"evil.jpg", 0, b"2", link=b"/etc/passwd"), ("evil.jpg", "not_a_file")),
    _refused("hardlink out", header(b"evil.jpg", 0, b"1", link=b"/etc/passwd"), ("evil.jpg", "not_a_file")),
    Case(
        "symlink, then a file through it",
        "tar",
        lambda: between(header(b"evil", 0, b"2", link=b"/tmp"), entry(b"evil/through.txt", EVIL)),
        refused=(("evil", "not_a_file"),),
    ),
    _refused(
        "chain of links",
        b"".join(header(b"%d" % number, 0, b"2", link=b"%d/.." % (number + 1)) for number in range(9)),
        *((f"{number}", "not_a_file") for number in range(9)),
    ),
    _refused("path longer than PATH_MAX through links", _path_max(), *_many_links()),
    *(
        _refused(word, header(b"evil.jpg", 0, kind), ("evil.jpg", "not_a_file"))
        for word, kind in (("character device", b"3"), ("block device", b"4"), ("pipe", b"6"))
    ),
    Case(
        "setuid, and a capability",
        "tar",
        lambda: whole_tar(
            pax(_XATTR), entry(b"k1.jpg", tiny_jpeg(1), mode=b"0004755"), entry(b"k1.txt", b"w"), files(2)
        ),
    ),
    _refused("the same name twice", entry(b"k1.jpg", EVIL), ("k1.jpg", "duplicate"), foreign=("k2",)),
    _refused(
        "the same name twice, once with ./",
        entry(b"./k1.txt", EVIL),
        ("./k1.txt", "duplicate"),
        foreign=("k2",),
    ),
    Case(
        "names that differ in case only",
        "tar",
        lambda: between(*(entry(name.replace("k9", "K1").encode(), data) for name, data in sample(9))),
        keys=("K1", "k1", "k2"),
    ),
    _refused(
        "sparse, as old GNU tar has it",
        header(b"evil.jpg", 0, b"S", magic=GNU),
        ("evil.jpg", "sparse"),
    ),
    _refused(
        "sparse of a terabyte, by pax",
        pax(("GNU.sparse.major", "1"), ("GNU.sparse.realsize", str(2**40)))
        + entry(b"evil.jpg", b"1\n0\n".ljust(512, b"\0")),
        ("evil.jpg", "sparse"),
    ),
    _bad(
        "sparse of a terabyte that is not there",
        lambda: between(header(b"evil.jpg", b"\x80" + (2**40).to_bytes(11, "big"), b"S", magic=GNU)),
        "is cut",
    ),
    _bad(
        "pax bomb of digits",
        lambda: between(entry(b"p", b"1" * 2**18, b"x")),
        "extension header of 262144 bytes",
    ),
    _bad("pax record without an end", lambda: between(entry(b"p", b"9" * 2**15, b"x")), "broken record"),
    _bad(
        "long name of a gigabyte that is not there",
        lambda: between(header(b"L", 2**30, b"L")),
        "is cut|extension header of",
    ),
    _bad("pax size is another", lambda: between(pax(("size", "2")), entry(b"evil.jpg", EVIL)), "two sizes"),
    _bad(
        "pax size 0 hides a tar",
        lambda: between(pax(("size", "0")), entry(b"evil.tar", whole_tar(files(7)))),
        "two sizes",
    ),
    _bad(
        "pax size is negative", lambda: between(pax(("size", "-512")), entry(b"evil.jpg", EVIL)), "no number"
    ),
    _bad(
        "a size on a long link name",
        lambda: between(header(b"K", 2**20, b"K")),
        "extension header of 1048576",
    ),
    _bad(
        "a link with a size",
        lambda: between(header(b"evil", 512, b"2") + bytes(512)),
        "a link or folder of 512",
    ),
    _bad("negative size", lambda: between(header(b"evil.jpg", b"\xff" * 12)), "no number"),
    _bad("size of 2^88", lambda: between(header(b"evil.jpg", b"\x80" + b"\xff" * 11)), "is cut"),
    _bad(
        "size of nearly 2^63",
        lambda: between(header(b"evil.jpg", b"\x80" + (2**63 - 512).to_bytes(11, "big"))),
        "is cut",
    ),
    _bad("cut at the border of a member", lambda: files(1, 2), "ends where a header or the two zero blocks"),
    _bad("cut within a header", lambda: files(1) + files(2)[:300], "ends where a header"),
    _bad("cut within a picture", lambda: files(1) + files(2)[:600], "is cut"),
    _bad(
        "half a sample, and no end",
        lambda: files(1) + entry(b"k2.jpg", tiny_jpeg(2)),
        "ends where a header",
    ),
    _bad(
        "one bit of a header",
        lambda: _flipped(SOUND_TAR, 8 * SOUND_TAR.index(b"k2.jpg") + 3),
        "checksum of a header",
    ),
    _bad("zero block in the middle", lambda: between(bytes(512)), "one zero block"),
    _bad("end in the middle", lambda: between(END), "bytes behind the end"),
    _bad("two tars in one", lambda: whole_tar(files(1)) + whole_tar(files(2)), "bytes behind the end"),
    _bad("junk behind the end", lambda: whole_tar(files(1, 2)) + b"junk", "bytes behind the end"),
    _bad("one zero block at the end", lambda: files(1, 2) + bytes(512), "second zero block"),
    _bad(
        "zeros from the middle on", lambda: _zeros_from_the_middle(), "bytes of zeros where its end should be"
    ),
    _bad(
        "Solaris' extension",
        lambda: between(entry(b"x", b"12 path=../e\n", b"X")),
        "extension header of kind X",
    ),
    _bad(
        "a page", lambda: b"<html><body>please sign in</body></html>".ljust(4000), "not a sound tar|not a tar"
    ),
    _bad("nothing", lambda: b"", "not a sound tar|not a tar"),
]


def _flipped(whole: bytes, bit: int) -> bytes:
    made = bytearray(whole)
    made[bit // 8] ^= 1 << bit % 8
    return bytes(made)


def _zeros_from_the_middle() -> bytes:
    """What a program leaves that makes the file as long as it will be, and is killed."""
    whole = whole_tar(files(*range(40)))
    middle = whole.index(b"k20.jpg") + 700
    return whole[:middle] + bytes(len(whole) - middle)


def packed(whole: bytes, level: int = 6) -> bytes:
    """Compressed, without a time in it."""
    return gzip.compress(whole, level, mtime=0)


def _zeros(count: int) -> bytes:
    """A gzip of many zeros, as one that is much larger would begin."""
    return packed(bytes(count), 9)


SOUND_TAR = whole_tar(files(1, 2))
SOUND_GZ = packed(SOUND_TAR)
BOMB_BYTES = 40 * 2**20

GZ_CASES = [
    Case("sound", "gz", lambda: SOUND_GZ),
    Case("several members of gzip", "gz", lambda: packed(SOUND_TAR[:700]) + packed(SOUND_TAR[700:])),
    Case("zeros behind the end", "gz", lambda: SOUND_GZ + bytes(700)),
    Case("a tar called tar.gz", "gz", lambda: SOUND_TAR),
    _bad("cut in the middle", lambda: SOUND_GZ[: len(SOUND_GZ) // 2], "gzip damaged", "gz"),
    _bad("its checksum is cut off", lambda: SOUND_GZ[:-8], "gzip damaged", "gz"),
    _bad("one bit of its checksum", lambda: _flipped(SOUND_GZ, 8 * len(SOUND_GZ) - 40), "gzip damaged", "gz"),
    _bad("one bit of its length", lambda: _flipped(SOUND_GZ, 8 * len(SOUND_GZ) - 8), "gzip damaged", "gz"),
    _bad("two tars, one a member", lambda: packed(whole_tar(files(1))) + packed(whole_tar(files(2))), "bytes behind the end", "gz"),
    _bad("a second member that is cut", lambda: SOUND_GZ + SOUND_GZ[:40], "gzip damaged|bytes behind", "gz"),
    _bad("junk behind it", lambda: SOUND_GZ + b"junk", "gzip damaged", "gz"),
    _bad("a thousand times its size", lambda: packed(between(entry(b"evil.jpg", bytes(3 * BOMB_BYTES))), 9), "unpacks to more than", "gz"),
    _bad("a long name of a gigabyte", lambda: packed(files(1) + header(b"L", 2**30, b"L") + b"n" * BOMB_BYTES, 9), "extension header of 1073741824|unpacks to more", "gz"),
    _bad("a pax bomb", lambda: packed(between(entry(b"p", b"1" * 2**18, b"x"))), "extension header of 262144", "gz"),
    _bad("a tar that is cut inside", lambda: packed(files(1, 2)), "ends where a header", "gz"),
]  # fmt: skip

LINK = (stat.S_IFLNK | 0o777) & 0xFFFF
SOUND_ZIP = zip_bytes(*sample(1), *sample(2))
WITH_EVIL = zip_bytes(*sample(1), ("evil.jpg", EVIL), ("evil.txt", b"words"), *sample(2))
"""The evil one is entry 2 of its directory."""


def _zipped(
    name: str, build: Callable[[], bytes], *refused: tuple[str, str], **more: tuple[str, ...]
) -> Case:
    return Case(name, "zip", build, refused=refused, **more)


def _named(name: str) -> bytes:
    return zip_bytes(*sample(1), (name, EVIL), *sample(2))


ZIP_CASES = [
    Case("sound", "zip", lambda: SOUND_ZIP),
    Case("sound, compressed", "zip", lambda: zip_bytes(*sample(1), *sample(2), method=zipfile.ZIP_DEFLATED)),
    Case("written to a pipe", "zip", lambda: streamed(*sample(1), *sample(2))),
    Case("zip64 without need", "zip", lambda: with_zip64(SOUND_ZIP)),
    *(_zipped(f"name leads out: {word}", lambda name=name: _named(name), (name, OUTSIDE)) for word, name in NAMES),
    _zipped("symlink", lambda: patched(WITH_EVIL, 2, mode=LINK), ("evil.jpg", "not_a_file")),
    _zipped("device", lambda: patched(WITH_EVIL, 2, mode=stat.S_IFCHR), ("evil.jpg", "not_a_file")),
    _zipped("folder with content", lambda: _named("evil/"), ("evil/", "not_a_file")),
    _zipped("the same name twice", lambda: zip_bytes(*sample(1), ("k1.jpg", EVIL), *sample(2)), ("k1.jpg", "duplicate")),
    _zipped("encrypted", lambda: patched(WITH_EVIL, 2, flags=1), ("evil.jpg", "encrypted")),
    _zipped("odd method", lambda: patched(WITH_EVIL, 2, method=98), ("evil.jpg", "unsupported_method")),
    _zipped("patch data", lambda: patched(WITH_EVIL, 2, flags=0x20), ("evil.jpg", "unsupported_method")),
    _zipped(
        "one member of a thousand times its size",
        lambda: zip_bytes(*sample(1), ("evil.jpg", bytes(BOMB_BYTES)), *sample(2), method=zipfile.ZIP_DEFLATED),
        ("evil.jpg", "ratio"),
    ),
    _zipped("checksum is wrong", lambda: patched(WITH_EVIL, 2, crc32=7), unreadable=("evil.jpg",)),
    _zipped("local name is another", lambda: WITH_EVIL.replace(b"evil.jpg", b"fine.jpg", 1), unreadable=("evil.jpg",)),
    _zipped(
        "local size is another",
        lambda: WITH_EVIL.replace(struct.pack("<LL", len(EVIL), len(EVIL)), struct.pack("<LL", 5, 5), 1),
        unreadable=("evil.jpg",),
    ),
    _zipped(
        "claims more than it inflates to",
        lambda: patched(
            zip_bytes(*sample(1), ("evil.jpg", EVIL), ("evil.txt", b"w"), *sample(2), method=zipfile.ZIP_DEFLATED), 2, size=999
        ),
        unreadable=("evil.jpg",),
    ),
    _bad("stored with two sizes", lambda: patched(WITH_EVIL, 2, size=999), "two sizes", "zip"),
    _bad("all entries are one", lambda: one_body(200, 2**20), "overlap", "zip"),
    _bad("entries overlap", lambda: patched(WITH_EVIL, 2, stored=90, size=90), "overlap", "zip"),
    _bad("an entry lies in the directory", lambda: patched(SOUND_ZIP, 3, stored=60, size=60), "overlaps the central", "zip"),
    _bad("more entries than announced", lambda: with_end(SOUND_ZIP, here=2, count=2), "announced|too many", "zip"),
    _bad("fewer entries than announced", lambda: with_end(SOUND_ZIP, here=5, count=5), "announced|too many", "zip"),
    _bad("zip64 says another count", lambda: with_zip64(SOUND_ZIP, here=2, count=2), "announced|too many|differ", "zip"),
    _bad("zip64 says another place", lambda: with_zip64(SOUND_ZIP, start=0), "should end|central|other", "zip"),
    _bad("zip64 says billions", lambda: with_zip64(SOUND_ZIP, here=2**60, count=2**60), "too many", "zip"),
    _bad("two end records", lambda: zip_bytes(*sample(1), comment=SOUND_ZIP[-END_RECORD.size :]), "more than one", "zip"),
    _bad("two zips in one", lambda: zip_bytes(*sample(1)) + SOUND_ZIP, "in front|elsewhere|should end", "zip"),
    _bad("junk in front, offsets moved", lambda: b"PK\3\4" + moved(SOUND_ZIP, 10)[4:], "in front", "zip"),
    _bad("junk behind the end", lambda: SOUND_ZIP + b"junk", "no end record", "zip"),
    _bad("cut in the middle", lambda: SOUND_ZIP[: len(SOUND_ZIP) // 2], "no end record", "zip"),
    _bad("its end is cut off", lambda: SOUND_ZIP[:-30], "no end record", "zip"),
    _bad("several disks", lambda: with_end(SOUND_ZIP, disk=1), "several files", "zip"),
    Case("a tar called zip", "zip", lambda: SOUND_TAR),
]  # fmt: skip

CASES: tuple[Case, ...] = (*TAR_CASES, *GZ_CASES, *ZIP_CASES)


# --- damage ---------------------------------------------------------------------------------------------------------


def places(size: int, count: int, seed: int) -> list[int]:
    """Places of damage: the first and the last ones always, others drawn."""
    if size <= count:
        return list(range(size))
    drawn = random.Random(seed).sample(range(size), count - 4)
    return sorted({0, 1, size - 2, size - 1, *drawn})
