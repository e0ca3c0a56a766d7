"""Shards that are damaged, and shards that carry code, read by g3m and by webdataset."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.attacks import liar
from bench.attacks.goods import BLOCK, SAMPLES, members, places, tar
from bench.attacks.liar import Liar, Thing
from bench.attacks.trial import (
    HERE,
    LIMIT_S,
    RAN,
    REFUSED,
    SILENT,
    Call,
    Running,
    failed,
    g3m,
    hangs,
    write_recipe,
)

NAME = "00000.tar"
ALL = "all samples, right"
HARMLESS = "no code ran"

Samples = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A way to read the shard in a folder."""

    name: str
    read: Callable[[Path, Samples], str]
    needs: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A shard that is not as it was, and the samples that should come out if anything does."""

    data: bytes
    samples: int = SAMPLES


def _end(running: Running) -> str:
    """The judgement of what had to name an error and ended: empty where it ended well."""
    code = running.wait(LIMIT_S)
    if code is None:
        return hangs(LIMIT_S)
    return failed(running.words) if code else ""


def _read(words: list[str], folder: Path, right: Samples) -> str:
    """Run a reader, which prints the digests of all samples in its last line, and compare."""
    running = Running(Call(words, folder), folder)
    error = _end(running)
    if error:
        return error
    found = json.loads(running.words.splitlines()[-1])
    if found == right:
        return ALL
    halves = sum(len(parts) < 2 for parts in found.values())
    wrong = sum(parts != right.get(key) for key, parts in found.items()) - halves
    told = [f"{len(found)} of {len(right)} samples"]
    told += [f"{halves} of them half"] * bool(halves) + [f"{wrong} of them wrong"] * bool(wrong)
    return f"{SILENT} ({', '.join(told)})"


def _g3m_verify(folder: Path, _: Samples) -> str:
    running = Running(Call(g3m("verify", "--root", folder / "root"), folder), folder)
    return _end(running) or SILENT


def _g3m_load(folder: Path, right: Samples) -> str:
    return _read([sys.executable, str(HERE / "g3m_read.py"), str(folder / "root" / "bench")], folder, right)


def _g3m_bare(folder: Path, right: Samples) -> str:
    """Tars for which nobody vouches: g3m index, then the loader."""
    error = _end(Running(Call(g3m("index", folder / "bare"), folder), folder))
    return error or _read([sys.executable, str(HERE / "g3m_read.py"), str(folder / "bare")], folder, right)


def readers(python: str) -> list[Tool]:
    """The ways to read a damaged shard."""

    def webdataset(folder: Path, right: Samples) -> str:
        words = [python, str(HERE / "webdataset_read.py"), str(folder / "bare" / NAME)]
        return _read(words, folder, right)

    return [
        Tool("g3m verify", _g3m_verify, sys.executable),
        Tool("g3m loader", _g3m_load, sys.executable),
        Tool("g3m index, then loader: no manifest", _g3m_bare, sys.executable),
        Tool("webdataset", webdataset, python),
    ]


@cache
def good() -> bytes:
    """The shard that is damaged."""
    return tar(members())


def damages() -> tuple[tuple[str, Damage], ...]:
    """Each damage is done at sample 60 of 100."""
    shard, at = good(), places(good())
    jpg, txt = at[120], at[121]

    def flip(place: int) -> Damage:
        return Damage(shard[:place] + bytes([shard[place] ^ 4]) + shard[place + 1 :])

    return (
        ("cut between two samples", Damage(shard[:jpg])),
        ("cut between picture and caption", Damage(shard[:txt])),
        ("cut inside a header", Damage(shard[: jpg + 100])),
        ("cut inside a picture", Damage(shard[: jpg + BLOCK + 1000])),
        ("one bit flipped in a picture", flip(jpg + BLOCK + 1000)),
        ("one bit flipped in a header", flip(jpg + 3)),
        ("1 KiB of zeros over a header", Damage(shard[:jpg] + bytes(1024) + shard[jpg + 1024 :])),
        ("two shards, one behind the other", Damage(shard + tar(members(SAMPLES)), 2 * SAMPLES)),
    )


def samples(count: int) -> Samples:
    """The digests of the parts of so many samples."""
    found: Samples = {}
    for name, data in members(0, count):
        key, _, extension = name.partition(".")
        found.setdefault(key, {})[extension] = hashlib.sha256(data).hexdigest()
    return found


def read_damaged(tool: Tool, damage: Damage, folder: Path) -> str:
    """A shard that was fetched when it was good, and is damaged now."""
    folder.mkdir(parents=True)
    try:
        words = _fetch(folder, good())
        if words:
            return f"the good shard could not be fetched: {words}"
        (folder / "bare").mkdir()
        for path in (folder / "bare" / NAME, folder / "root" / "bench" / NAME):
            path.unlink(missing_ok=True)
            path.write_bytes(damage.data)
        return tool.read(folder, samples(damage.samples))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(folder: Path, data: bytes) -> str:
    """g3m get of a ready shard with its digest, from an honest server; returns what it said if it failed."""
    with ExitStack() as stack:
        server = Liar({NAME: Thing(data)}, liar.honest)
        stack.callback(server.close)
        place = f"http://127.0.0.1:{server.listen()}/{NAME}"
        recipe = write_recipe(folder / "bench.toml", NAME, data, place)
        running = Running(
            Call(g3m("get", recipe, "--root", folder / "root", "-y", "--no-proxy"), folder), folder
        )
        return "" if running.wait(LIMIT_S) == 0 else running.words or "no words"


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., int], tuple[str, int]]:
        return os.open, (str(self._path), os.O_CREAT | os.O_WRONLY)


def codes() -> tuple[tuple[str, str], ...]:
    """Ways to carry code: the extension of a member, or a URL that is a command."""
    return (
        ("`pipe:` in the place of a shard's URL", "pipe:"),
        ("a member `.pyd`", "pyd"),
        ("a member `.pickle`", "pickle"),
        ("a member `.pth`", "pth"),
    )


def runners(python: str) -> list[Tool]:
    """The ways to read a shard of a stranger, all its members."""
    return [
        Tool("g3m get, then loader", lambda *_: "", sys.executable),
        Tool("webdataset, decode()", lambda *_: "", python),
        Tool("webdataset, decode(), WDS_SECURE=1", lambda *_: "", python),
    ]


def read_code(tool: Tool, way: str, folder: Path) -> str:
    """Give it a shard with a member that makes a file when it is unpickled, or a command as URL."""
    folder.mkdir(parents=True)
    mark = folder / "ran"
    try:
        more = (
            [] if way == "pipe:" else [(f"{n:06d}.{way}", pickle.dumps(_Touch(mark))) for n in range(SAMPLES)]
        )
        data = tar(sorted(members() + more))
        (folder / NAME).write_bytes(data)
        url = f"pipe:touch {mark}; cat {folder / NAME}" if way == "pipe:" else str(folder / NAME)
        error = (
            _g3m_code(folder, url, data) if tool.needs == sys.executable else _peer_code(tool, folder, url)
        )
        if mark.exists():
            return RAN
        return f"{REFUSED}: no sample read" if error else HARMLESS
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _g3m_code(folder: Path, url: str, data: bytes) -> str:
    """Fetch the shard and load it; a command is tried as place, as dataset and as folder to index."""
    if url.startswith("pipe:"):
        recipe = write_recipe(folder / "bench.toml", NAME, data, url)
        tries = [g3m("get", recipe, "--root", folder / "root", "-y"), g3m("index", url)]
        tries.append([sys.executable, str(HERE / "g3m_read.py"), url])
        ends = [_end(Running(Call(words, folder), folder)) for words in tries]
        return "" if "" in ends else ends[0]
    words = _fetch(folder, data)
    read = [sys.executable, str(HERE / "g3m_read.py"), str(folder / "root" / "bench")]
    return words or _end(Running(Call(read, folder), folder))


def _peer_code(tool: Tool, folder: Path, url: str) -> str:
    words = [tool.needs, str(HERE / "webdataset_read.py"), "--decode", url]
    variables = {"WDS_SECURE": "1"} if "SECURE" in tool.name else {}
    return _end(Running(Call(words, folder, variables), folder))
