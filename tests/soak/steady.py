"""What runs all the time: `g3m view`, `g3m share`, a loader, and a download that takes as long as the soak."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.netlab.lab import ADDRESSES, MIRROR, ORIGIN
from tests.netlab.ways import WAYS
from tests.soak.adversary import Adversary
from tests.soak.scene import BY_SIGNAL, HANG_S, Scene, Seat
from tests.soak.watch import Watcher
from tests.web.crawl import Answer, Client, Parsed, walk
from tests.whole.disk import check_all_whole, litter

PAGES = 25
"""Addresses that one visit asks for."""

STATUSES = {200, 302, 303, 404, 503}
"""What may be answered, whatever is taken away under the pages; 500 only with an error of g3m's own."""

ERROR_CODE = re.compile(r"G3M-E\d+")


def first_line(path: Path, process: subprocess.Popen[bytes]) -> str:
    """What a server prints when it is up."""
    while process.poll() is None:
        text = path.read_text()
        if "\n" in text:
            return text.partition("\n")[0]
        time.sleep(0.05)
    raise AssertionError(f"{path} ended with {process.returncode}")


@dataclass
class View:
    """`g3m view` on a root that comes and goes, and somebody who looks at it now and then."""

    scene: Scene
    adversary: Adversary
    watcher: Watcher
    live: Path
    process: subprocess.Popen[bytes] = field(init=False)
    client: Client = field(init=False)

    def start(self) -> None:
        log = self.scene.folder / "logs/view"
        words = ["view", "--port", "0", "--root", str(self.live), "--jobs", "2"]
        self.process = self.scene.start(self.scene.g3m(*words), log)
        self.client = Client(first_line(log.with_name("view.out"), self.process))
        self.watcher.watch("view", self.process.pid)
        self.adversary.viewed = self.process.pid

    def round(self, number: int) -> None:
        """One visit."""
        tally = self.scene.tally
        try:
            for path, answer in walk(self.client.get, most=PAGES):
                tally.count("requests: view")
                tally.count("bytes: view", len(answer.body))
                if answer.status not in STATUSES:
                    self._judge(path, answer)
        except (OSError, AssertionError, ValueError) as error:
            tally.fail(f"view, visit {number}: {type(error).__name__}: {error}")
        tally.count("rounds: view")

    def _judge(self, path: str, answer: Answer) -> None:
        """A page about an error that has a code is an answer; anything else broke down."""
        said = Parsed(answer.body.decode()).text if answer.is_page else ""
        code = ERROR_CODE.search(said)
        if answer.status == 500 and code:
            self.scene.tally.count(f"view refused: {code[0]}")
        else:
            self.scene.tally.fail(f"view answers {path} with {answer.status}: {said[:500]}")

    def stop(self) -> None:
        self.adversary.viewed = 0
        end(self.scene, self.process, "view", {0, 143})


@dataclass
class Share:
    """`g3m share` of what was fetched undisturbed, beyond the wall, for the other machines."""

    scene: Scene
    watcher: Watcher
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, root: Path) -> str:
        """Its address."""
        log = self.scene.folder / "logs/share"
        netns = ["ip", "netns", "exec", self.scene.lab.hosts["mirror"].name]
        words = ["share", "--host", ADDRESSES[MIRROR], "--port", "0", "--root", str(root)]
        self.process = self.scene.start([*netns, *self.scene.g3m(*words)], log)
        address = first_line(log.with_name("share.out"), self.process)
        self.watcher.watch("share", self.process.pid)
        return address

    def stop(self) -> None:
        end(self.scene, self.process, "share", {0})


@dataclass
class Loader:
    """A process that reads epoch after epoch, from the disk and over the net in turn."""

    scene: Scene
    seat: Seat
    watcher: Watcher
    pause_s: float
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, root: Path) -> None:
        base = f"https://{ORIGIN}/{root.relative_to(self.scene.files).as_posix()}"
        places = [str(root / "ready"), f"{base}/ready/", str(root / "coco/coco_valid")]
        words = [*self.scene.python, "-m", "tests.soak.epochs"]
        self.process = self.seat.start([*words, str(self.pause_s), *places], self._log)
        self.watcher.watch("loader", self.process.pid)

    @property
    def _log(self) -> Path:
        return self.scene.folder / "logs/loader"

    @property
    def epochs(self) -> int:
        return self._log.with_name("loader.out").read_text().count("\n") * 2

    def stop(self) -> None:
        """End it, and look at what it read: every epoch of a place, the same samples."""
        tally = self.scene.tally
        told = [json.loads(line) for line in self._log.with_name("loader.out").read_text().splitlines()]
        digests: dict[str, set[str]] = {}
        for one in told:
            if "error" in one:
                tally.count(f"loader met: {one['error']}")
                continue
            tally.count("epochs: loader", 2)
            tally.count("samples: loader", 2 * one["samples"])
            digests.setdefault(one["place"].strip("/").rpartition("/")[2], set()).add(one["digest"])
        for name, own in digests.items():
            if len(own) != 1:
                tally.fail(f"the loader read {len(own)} different things of {name}")
        if self.process.poll() is not None:
            tally.fail(f"the loader ended by itself with {self.process.returncode}")
        end(self.scene, self.process, "loader", {-signal.SIGTERM})


@dataclass
class Long:
    """A download so slow that it is under way for the whole time; stopped at the end, and then finished."""

    scene: Scene
    seat: Seat
    adversary: Adversary
    watcher: Watcher
    bwlimit: str
    starts: int = 0
    is_over: bool = False

    @property
    def root(self) -> Path:
        return self.scene.folder / "long"

    def _words(self, *more: str) -> list[str]:
        proxies = [
            word for name in ("squid", "tinyproxy", "microsocks") for word in ("--proxy", WAYS[name].url)
        ]
        words = ["get", "long", "--yes", "--quiet", "--root", str(self.root), *proxies]
        return self.scene.g3m(*words, *more)

    def round(self, number: int) -> None:
        """Keep it running: it may give up where every route is dead, and is then started again."""
        self.adversary.expose(self.seat, "network")
        log = self.scene.folder / f"logs/long-{number}"
        process = self.seat.start(self._words("--bwlimit", self.bwlimit), log)
        with self.seat.lock:
            self.seat.process = process
        self.watcher.watch("long get", process.pid)
        code = process.wait()
        self.scene.look_at(log, code)
        self.scene.tally.count(f"long get ended with: {code}")
        if code not in {0, 5, 7, *BY_SIGNAL}:
            self.scene.tally.fail(f"the long get ended with {code}")
        if code == 0:
            self.scene.tally.fail("the long get came to its end before the soak did")
            shutil.rmtree(self.root)

    def finish(self) -> None:
        """Without a limit and in peace, it goes on to its end."""
        self.adversary.expose(self.seat)
        code = self.seat.run(self._words(), self.scene.folder / "logs/long-last")
        tally = self.scene.tally
        try:
            shards = check_all_whole(self.root)
        except AssertionError as error:
            tally.fail(f"the long get: {error}")
            return
        (made,) = self.root.rglob("*.tar")
        same = made.read_bytes() == (self.scene.files / "long-0000.tar").read_bytes()
        if (code, shards, same, litter(self.root)) != (0, 1, True, []):
            tally.fail(f"the long get: {code}, {shards} shards, same bytes: {same}, {litter(self.root)}")
        tally.count("bytes: long get", made.stat().st_size)


def end(scene: Scene, process: subprocess.Popen[bytes], name: str, codes: set[int]) -> None:
    """End a server by SIGTERM; its words must hold no breakdown."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(timeout=HANG_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
        scene.tally.fail(f"{name} does not end")
    if code not in codes:
        scene.tally.fail(f"{name} ended with {code}")
    scene.look_at(scene.folder / "logs" / name, code)
