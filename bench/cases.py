"""The cases of one file: which sources it has, who tries, and how long each may."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contestants import Call, Job, aria2, aria2_checked, aws, curl, curl_checked, g3m, g3m_step, hf, wget
from files import MIB
from link import Source

MB = 1_000_000
FAR_S = 0.2
LONG = ("a512", "a4", "b1024", "be64", "be256", "be320", "d2")
"""Cases for which one turn is enough unless --full or --times asks for more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant in a case; not `alone` are those that their own line limits, so that they may overlap."""

    name: str
    call: Callable[[Job], Call]
    limit_s: float = 120
    times: int = 0
    """0: as often as asked for on the command line."""
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """One table: sources, contestants, the bytes a second that the sources give together (0: no limit)."""

    key: str
    title: str
    mebibytes: int
    sources: Callable[[Folders], list[Source]]
    entries: Sequence[Entry]
    line_bytes_per_s: float = 0
    per_server: int = 16
    liar: str = ""
    """The name of the source that lies: g3m must name its host."""
    web: str = ""
    """`plain` or `tls`: nginx without limits in place of `sources`."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the true file and the spoilt copy lie."""

    true: str
    lie: str


G3M = Entry("g3m", g3m)
STEP = Entry("g3m, fetch step alone", g3m_step)
ARIA2 = Entry("aria2c, tuned", aria2)


def all_cases(*, full: bool) -> list[Case]:
    """Every case of one file, the small form unless `full`."""
    return [*one_origin(full), *uneven(full), liar(full), *flaky(full), *unlimited(full)]


def one_origin(full: bool) -> list[Case]:
    """(a) A server that gives 2 MB/s to each connection."""
    single = [
        Entry(name, call, 300, 1, alone=False) for name, call in (("curl", curl), ("wget", wget), ("hf", hf))
    ]
    single.append(Entry("aws s3 cp, 16 at once", aws, 300, 1, alone=False))

    def origin(limit: int) -> Callable[[Folders], list[Source]]:
        return lambda at: [Source("A", at.true, rate_bytes_per_s=2 * MB, limit=limit)]

    title = "One origin, 2 MB/s a connection, {} connections at most, {} MiB"
    blind = [Entry("aria2c -x16", lambda job: aria2(job, "-x16"), 60, 1)] if full else []
    few = [G3M, Entry("aria2c -x4", aria2), *blind]
    return [
        Case("a128", title.format(16, 128), 128, origin(16), [G3M, ARIA2, *single], 32 * MB),
        Case(
            "a512", title.format(16, 512), 512, origin(16), [G3M, ARIA2, *(single if full else ())], 32 * MB
        ),
        Case("a4", title.format(4, 128), 128, origin(4), few, 8 * MB, per_server=4),
    ]


def four(at: Folders) -> list[Source]:
    """A and B near, C far, F resetting; each serves four at once."""
    return [
        Source("A", at.true, rate_bytes_per_s=2 * MIB, limit=4),
        Source("B", at.true, rate_bytes_per_s=MIB / 2, limit=4),
        Source("C", at.true, rate_bytes_per_s=4 * MB, round_trip_s=FAR_S, limit=4),
        Source("F", at.true, rate_bytes_per_s=8 * MB, reset_mean_bytes=16 * MIB, limit=4),
    ]


def uneven(full: bool) -> list[Case]:
    """(b) Several sources at once, some of them bad."""
    line = 4 * (2 * MIB + MIB / 2 + 4 * MB + 8 * MB)
    best = Entry("curl, the best source (C)", lambda job: curl(_only(job, 2)), 120, 1, alone=False)
    slow = Entry("aria2c, tuned", aria2, 120, 1)
    bad = [Source("X", kind="black_hole"), Source("D", kind="dead")]
    hasty = Entry("aria2c, --max-tries=2 --timeout=5", lambda job: aria2(job, "-m2", "-t5"), 90, 1)
    stuck = [Entry("aria2c, tuned", aria2, 60, 1)] if full else []
    title = "Four uneven sources, 4 connections each, {} MiB"
    dead = "A black hole and a dead mirror first, then the four, 256 MiB"
    return [
        Case("b256", title.format(256), 256, four, [G3M, ARIA2, *([best] if full else [])], line, 4),
        Case("b1024", title.format(1024), 1024, four, [G3M, slow], line, 4),
        Case("bx", dead, 256, lambda at: [*bad, *four(at)], [G3M, hasty, *stuck], line, 4),
        *[_crawling(mebibytes, slow) for mebibytes in ((64, 256, 320) if full else (64, 320))],
    ]


def _crawling(mebibytes: int, peer: Entry) -> Case:
    """aria2 waits for its last piece of 1 MiB, 16 s at 64 KiB/s: the size decides how long after the rest."""

    def sources(at: Folders) -> list[Source]:
        return [
            Source("A", at.true, rate_bytes_per_s=2 * MIB, limit=8),
            Source("E", at.true, rate_bytes_per_s=64 * 1024, limit=8),
        ]

    title = f"A good source and a crawling one (64 KiB/s), 8 connections each, {mebibytes} MiB"
    return Case(f"be{mebibytes}", title, mebibytes, sources, [G3M, peer], 8 * (2 * MIB + 64 * 1024), 8)


def liar(full: bool) -> Case:
    """(c) A mirror with one wrong byte in every mebibyte."""

    def sources(at: Folders) -> list[Source]:
        return [
            Source("A", at.true, rate_bytes_per_s=2 * MIB, limit=8),
            Source("liar", at.lie, rate_bytes_per_s=2 * MIB, limit=8),
        ]

    pieces = Entry("aria2c, piece hashes (metalink)", aria2_pieces, 60, 1)
    entries = [G3M, Entry("aria2c, whole hash", aria2_checked, 60, 1), *([pieces] if full else [])]
    title = "A good source and a liar, 8 connections each, 128 MiB"
    return Case("c", title, 128, sources, entries, 16 * 2 * MIB, 8, liar="liar")


def flaky(full: bool) -> list[Case]:
    """(d) Connections that are reset, and connections that fall silent; 200 ms away."""

    def resetting(at: Folders) -> list[Source]:
        return [Source("R", at.true, rate_bytes_per_s=8 * MB, round_trip_s=FAR_S, reset_mean_bytes=16 * MIB)]

    def silent(at: Folders) -> list[Source]:
        return [Source("S", at.true, rate_bytes_per_s=4 * MB, round_trip_s=FAR_S, silence_mean_bytes=8 * MIB)]

    others = [
        Entry(name, call, 100, 1, alone=False)
        for name, call in (("curl", curl), ("hf", hf), ("aws s3 cp", aws))
    ]
    others.append(Entry("wget -T 10", lambda job: wget(job, "-T", "10"), 100, 1, alone=False))
    more = others if full else []
    return [
        Case("d1", "Resets after 16 MiB on average, 8 MB/s a connection, 200 ms, 256 MiB", 256, resetting,
            [G3M, ARIA2, *more], 16 * 8 * MB),
        Case("d2", "Silence after 8 MiB on average, 4 MB/s a connection, 200 ms, 128 MiB", 128, silent,
            [G3M, ARIA2, *more], 16 * 4 * MB),
    ]  # fmt: skip


def unlimited(full: bool) -> list[Case]:
    """(e) nginx on loopback without a limit."""
    entries = [
        Entry("curl", curl),
        Entry("curl, then sha256", curl_checked),
        Entry("curl, then sha256, sync", lambda job: curl_checked(job, sync=True)),
        Entry("wget", wget, times=0 if full else 1),
        Entry("aria2c -x16", aria2),
        Entry("aria2c -x16 --checksum", aria2_checked, times=0 if full else 1),
        G3M,
        STEP,
    ]
    return [
        Case("e", "No limit, plain HTTP, 2 GiB", 2048, lambda _: [], entries, web="plain"),
        Case("etls", "No limit, TLS, 2 GiB", 2048, lambda _: [], entries, web="tls"),
    ]


def aria2_pieces(job: Job) -> Call:
    """aria2 with what it could know of each mebibyte, had the publisher said it; g3m does not get this."""
    hashes = []
    with open(job.file.path, "rb") as file:
        while data := file.read(MIB):
            hashes.append(f"<hash>{hashlib.sha1(data).hexdigest()}</hash>")
    urls = "".join(f"<url>{url}</url>" for url in job.urls)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">'
        f'<file name="{job.file.name}"><size>{job.file.size_bytes}</size>'
        f'<hash type="sha-256">{job.file.sha256}</hash><pieces length="{MIB}" type="sha-1">{"".join(hashes)}'
        f"</pieces>{urls}</file></metalink>"
    )
    path = Path(job.folder, "bench.meta4")
    path.write_text(text, encoding="utf-8")
    call = aria2(job)
    command = [*call.command[: call.command.index("--out")], "-M", str(path)]
    return Call(command, call.out)


def _only(job: Job, number: int) -> Job:
    return Job(job.file, [job.sources[number]], job.folder, job.per_server)
