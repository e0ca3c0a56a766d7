"""Lists of URLs with one bad row among good ones, given to `g3m gather` and to img2dataset.

The good host has a public address, in a network namespace without a way out; 127.0.0.1 is what no list may
reach.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.attacks import liar, lies
from bench.attacks.goods import picture, png, png_bomb, tiff
from bench.attacks.liar import Behaviour, Liar, Thing, wait_until
from bench.attacks.rows import BASE, PUBLIC, Row, broken, good, status, stored
from bench.attacks.trial import (
    LEFT,
    MUTE,
    NAMED,
    RAN,
    REFUSED,
    RIGHT,
    SILENT,
    Call,
    Running,
    failed,
    g3m,
    hangs,
)

GOOD = 12
MANY = 200
SHARD_ROWS = 50
LIMIT_S = 120.0
HALF = "**half a shard under a final name**"
CLEAN = "no half shard under a final name"


@dataclass(frozen=True, slots=True)
class Tool:
    """A program and how it is called with a list and a folder for the shards."""

    name: str
    call: Callable[[Path, Path], Call]
    needs: str


def _g3m(listed: Path, out: Path) -> Call:
    words = [
        "--url",
        "url",
        "--caption",
        "caption",
        "--hash-column",
        "sha256",
        "--task-rows",
        str(SHARD_ROWS),
    ]
    return Call(g3m("gather", listed, "--to", out, *words, "--max-rejected", "1", "--no-proxy"), out)


def _img2dataset(listed: Path, out: Path, python: str, *more: str) -> Call:
    flags = {
        "url_list": listed,
        "input_format": "csv",
        "url_col": "url",
        "caption_col": "caption",
        "output_format": "webdataset",
        "output_folder": out,
        "processes_count": 1,
        "thread_count": 4,
        "number_sample_per_shard": SHARD_ROWS,
        "resize_mode": "no",
        "skip_reencode": True,
    }
    words = [python, "-c", "from img2dataset.main import main; main()"]
    return Call([*words, *(f"--{name}={value}" for name, value in flags.items()), *more], out)


def tools(python: str) -> list[Tool]:
    """img2dataset keeps the bytes as they come and decodes each picture, which g3m does as well."""

    def plain(listed: Path, out: Path) -> Call:
        return _img2dataset(listed, out, python)

    def verifying(listed: Path, out: Path) -> Call:
        return _img2dataset(listed, out, python, '--verify_hash=["sha256","sha256"]')

    return [
        Tool("g3m gather", _g3m, sys.executable),
        Tool("img2dataset", plain, python),
        Tool("img2dataset, verify_hash", verifying, python),
    ]


@dataclass(slots=True)
class Lab:
    """A public server, a trap on loopback, a folder."""

    tool: Tool
    folder: Path
    server: Liar
    trap: Liar

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self, rows: list[Row]) -> Running:
        listed = self.folder / "list.csv"
        with open(listed, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["url", "caption", "sha256"])
            writer.writerows([row.url, f"number {n}", row.sha256] for n, row in enumerate(rows))
        return Running(self.tool.call(listed, self.out), self.folder)

    def gather(self, rows: list[Row]) -> tuple[int | None, Running]:
        running = self.start(rows)
        return running.wait(LIMIT_S), running

    def all_right(self, rows: list[Row], code: int | None, running: Running) -> str:
        """The judgement where every row should become a sample."""
        if code is None:
            return hangs(LIMIT_S)
        found = stored(self.out)
        lost = sum(row.right not in found.get(row.url, []) for row in rows)
        wrong = sum(found[row.url] != [row.right] for row in rows if row.url in found)
        if not lost and not wrong:
            return RIGHT if code == 0 else f"{RIGHT}, exit {code}"
        if code:
            return LEFT if wrong or broken(self.out) else failed(running.words)
        return f"{SILENT} ({lost} of {len(rows)} rows lost, {wrong} wrong or twice)"


def one_bad(bad: Row, behave: Behaviour | None = None, data: bytes | None = None) -> Callable[[Lab], str]:
    """A row in the middle is bad; the others must all become samples."""

    def run(lab: Lab) -> str:
        if behave:
            lab.server.special["bad.jpg"] = behave
        if data is not None:
            lab.server.things["bad.jpg"] = Thing(data, "image/jpeg")
        rows = good(GOOD)
        code, running = lab.gather([*rows[:6], bad, *rows[6:]])
        if code is None:
            return hangs(LIMIT_S)
        if (lab.folder / "ran").exists():
            return RAN
        found = stored(lab.out)
        lost = sum(found.get(row.url) != [row.right] for row in rows)
        verdict = _of_the_bad(lab, bad, found.get(bad.url), running)
        return f"{verdict}, {lost} of {GOOD} good rows lost" if lost else verdict

    return run


def _of_the_bad(lab: Lab, bad: Row, images: list[bytes] | None, running: Running) -> str:
    if images:
        return RIGHT if images == [bad.right] else SILENT
    if lab.trap.asked:
        return f"{NAMED}, after it had asked there"
    words = status(lab.out, bad.url)
    if not words:
        return f"{SILENT} (row not named)" if running.words else MUTE
    return NAMED if lab.server.gets("bad.jpg") or "hash" in words else REFUSED


def all_pages(lab: Lab) -> str:
    """A login page for every row."""
    lab.server.behave = lies.page
    code, running = lab.gather(good(GOOD))
    if code is None:
        return hangs(LIMIT_S)
    if stored(lab.out):
        return SILENT
    return failed(running.words) if code else f"{NAMED} for each row, exit 0"


def _slowly(asked: liar.Asked, thing: Thing) -> Iterator[bytes | float]:
    yield 0.1
    yield from liar.honest(asked, thing)


def _kill(lab: Lab) -> None:
    lab.server.behave = _slowly
    running = lab.start(good(MANY))
    enough = lambda: sum(asked.path.endswith(".jpg") for asked in lab.server.asked) > MANY * 0.6  # noqa: E731
    wait_until(lambda: enough() or not running.alive(), LIMIT_S)
    running.kill()
    lab.server.behave = liar.honest


def killed(lab: Lab) -> str:
    """What lies under the final names after kill -9."""
    _kill(lab)
    return HALF if broken(lab.out) else CLEAN


def killed_again(lab: Lab) -> str:
    """The same command after it."""
    _kill(lab)
    code, running = lab.gather(good(MANY))
    return lab.all_right(good(MANY), code, running)


def cut_afterwards(lab: Lab) -> str:
    """A shard is cut in half behind its back, and the same command is run again."""
    lab.gather(good(MANY))
    shard = min(lab.out.rglob("*.tar"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 1024 * 512])
    code, running = lab.gather(good(MANY))
    return lab.all_right(good(MANY), code, running)


def disk_full(lab: Lab) -> str:
    """A disk with room for half of the pictures."""
    room = sum(len(row.right or b"") for row in good(MANY)) // 2
    lab.out.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={room}", "none", str(lab.out)]
    subprocess.run(words, check=True)
    try:
        code, running = lab.gather(good(MANY))
        return lab.all_right(good(MANY), code, running)
    finally:
        subprocess.run(["umount", "-l", str(lab.out)], check=True)


def two(lab: Lab) -> str:
    """Two processes, one folder, one moment."""
    lab.server.behave = _slowly
    first, second = lab.start(good(MANY)), lab.start(good(MANY))
    codes = [running.wait(LIMIT_S) for running in (first, second)]
    asked = sum(asked.path.endswith(".jpg") for asked in lab.server.asked)
    code = None if None in codes else min(code for code in codes if code is not None)
    verdict = lab.all_right(good(MANY), code, first)
    return f"{verdict}, everything fetched twice" if asked > MANY * 1.5 else verdict


@cache
def cases() -> tuple[tuple[str, Callable[[Lab], str]], ...]:
    """All of them; the file that no list may bring is made here."""
    secret = Path(tempfile.mkdtemp(prefix="g3m-bench-")) / "secret.png"
    secret.write_bytes(png())
    bad, true = f"{BASE}/bad.jpg", picture(6)
    data_url = "data:image/png;base64," + base64.b64encode(png()).decode()
    pinned = Row(bad, None, hashlib.sha256(picture(5000)).hexdigest())
    return (
        ("`file://` of this machine", one_bad(Row(secret.as_uri(), None))),
        ("`data:`", one_bad(Row(data_url, None))),
        ("`pipe:touch ran`", one_bad(Row("pipe:touch ran", None))),
        ("loopback as a decimal number", one_bad(Row("http://2130706433/secret.jpg", None))),
        ("redirect to loopback", one_bad(Row(bad, None), lies.redirect_to("http://127.0.0.1/secret.jpg"))),
        ("PNG of 30000 × 30000 pixels", one_bad(Row(bad, None), data=png_bomb())),
        ("TIFF named .jpg", one_bad(Row(bad, tiff()), data=tiff())),
        ("gzip on the way, unasked", one_bad(Row(bad, true), lies.gzipped, true)),
        ("gzip of a GiB of zeros", one_bad(Row(bad, None), lies.bomb, true)),
        ("picture cut, length given", one_bad(Row(bad, None), lies.cut, true)),
        ("picture cut, no length given", one_bad(Row(bad, None), lies.cut_without_length, true)),
        ("other picture than the list's sha256", one_bad(pinned, data=true)),
        ("one byte a second", one_bad(Row(bad, None), lies.trickle, true)),
        ("a body without end", one_bad(Row(bad, None), lies.endless, true)),
        ("login page for every row", all_pages),
        ("kill -9 in the middle", killed),
        ("…then the same command again", killed_again),
        ("a shard cut afterwards, then the same command", cut_afterwards),
        ("disk full", disk_full),
        ("two processes in one folder", two),
    )


def run(tool: Tool, case: Callable[[Lab], str], folder: Path) -> str:
    """One program, one case, servers and a folder of its own."""
    folder.mkdir(parents=True)
    things = {f"{number}.jpg": Thing(picture(number), "image/jpeg") for number in range(MANY)}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = Liar(things, liar.honest)
        trap = Liar({"secret.jpg": Thing(picture(6000), "image/jpeg")}, liar.honest)
        for each, host in ((server, PUBLIC), (trap, "127.0.0.1")):
            stack.callback(each.close)
            each.listen(host, 80)
        return case(Lab(tool, folder, server, trap))
