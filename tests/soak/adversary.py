"""What goes wrong during the soak, in a seeded order: routes and hosts that come and go, rates, poison, kills.

Every fault is taken back after a while. All kinds are drawn in turn, in a new order each time, so that a short run has
met each of them too; one for which there is no victim at the moment is tried again.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.netlab.lab import ADDRESSES, MIRROR, NOWHERE
from tests.netlab.namespaces import LabError
from tests.soak.scene import Scene, Seat
from tests.soak.watch import command_line, descendants, processes

PROXIES = ("squid", "tinyproxy", "microsocks")
WALLED = {
    "get": ("origin", "mirror", "hub_mirror", "proxy"),
    "long": ("origin", "mirror", "hub_mirror", "proxy"),
    "loader": ("origin",),
    "gather": ("origin",),
}
MODES = ("drop", "unreach", "rst", "sni-rst", "sni-drop", "cut", "cutrst", "end", "endrst")
WITH_BYTES = ("cut", "cutrst", "end", "endrst")
POISONS = {"mirror": ADDRESSES[MIRROR], "dead": NOWHERE, "none": "", "self": "127.0.0.1"}
RATES = ("4mbit", "8mbit", "16mbit", "32mbit")
WORKER = "g3m.adapters.worker"
RETURN_TRIES = 5


@dataclass(frozen=True)
class Pace:
    """Seconds between two faults, and how long one lasts: the least and the most of each."""

    pause_s: tuple[float, float] = (1.0, 5.0)
    lasts_s: tuple[float, float] = (2.0, 15.0)


@dataclass
class Fault:
    """One that is in force: whom or what it touches, until when, and how it is taken back."""

    touches: str
    due_s: float
    undo: Callable[[], None]


class Adversary:
    """Runs on a thread of its own inside a `with` block, and leaves the scene as it was."""

    def __init__(self, scene: Scene, pace: Pace, seed: int) -> None:
        self.scene = scene
        self.pace = pace
        self.viewed = 0
        """The number of a `g3m view` whose decoding workers may be killed."""
        self._random = random.Random(seed)
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="adversary", daemon=True)
        self._kinds: dict[str, Callable[[], str]] = {
            "wall": self._wall,
            "names": self._names,
            "proxy": lambda: self._server(PROXIES),
            "host": lambda: self._server(("origin", "mirror")),
            "liar": lambda: self._server(("liar",)),
            "pictures": self._pictures,
            "rate": self._rate,
            "SIGKILL": lambda: self._kill(signal.SIGKILL),
            "SIGTERM": lambda: self._kill(signal.SIGTERM),
            "SIGINT": lambda: self._kill(signal.SIGINT),
            "worker": self._worker,
        }

    def __enter__(self) -> Adversary:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._take_back(lambda fault: True)

    @property
    def missing(self) -> list[str]:
        """The kinds that have not been met yet."""
        met = {name.partition(" ")[0] for name in self.scene.tally.among("fault")}
        return [kind for kind in self._kinds if kind not in met]

    def expose(self, seat: Seat, *kinds: str) -> None:
        """From now on these may be done to a seat; what is in force on it otherwise is taken back."""
        with self._lock:
            seat.exposed = frozenset(kinds)
            if "network" not in kinds:
                self._take_back(lambda fault: fault.touches == seat.name)

    @property
    def is_at_work(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._play()
        except Exception as error:
            self.scene.tally.fail(f"the adversary broke down: {error!r}")

    def _play(self) -> None:
        deck: list[str] = []
        while not self._ended.wait(self._random.uniform(*self.pace.pause_s)):
            if not deck:
                deck = list(self._kinds)
                self._random.shuffle(deck)
            kind = deck.pop()
            with self._lock:
                self._take_back(lambda fault: fault.due_s <= time.monotonic())
                done = self._kinds[kind]()
            if done:
                self.scene.tally.count(f"fault: {kind} {done}")
            elif kind in self.missing:
                deck.insert(0, kind)

    def _take_back(self, which: Callable[[Fault], bool]) -> None:
        with self._lock:
            for fault in [fault for fault in self._faults if which(fault)]:
                self._faults.remove(fault)
                fault.undo()

    def _until_later(self, touches: str, undo: Callable[[], None]) -> None:
        self._faults.append(Fault(touches, time.monotonic() + self._random.uniform(*self.pace.lasts_s), undo))

    def _seat(self, kind: str) -> Seat | None:
        seats = [seat for seat in self.scene.seats.values() if kind in seat.exposed]
        return self._random.choice(seats) if seats else None

    def _wall(self) -> str:
        seat = self._seat("network")
        if seat is None:
            return ""
        host, mode = self._random.choice(WALLED[seat.name]), self._random.choice(MODES)
        size = f":{self._random.randrange(50_000, 2_000_000)}" if mode in WITH_BYTES else ""
        if host == "hub_mirror" and mode.startswith("sni"):
            mode = "rst"  # that place is asked without TLS
        seat.client.wall(**{host: mode + size})
        self._until_later(seat.name, lambda: seat.client.wall(**{host: "open"}))
        return mode

    def _names(self) -> str:
        seat = self._seat("network")
        if seat is None or seat.name == "gather":
            return ""  # a name that does not exist is a lasting reason for a row
        host, poison = self._random.choice(("origin", "mirror")), self._random.choice(list(POISONS))
        seat.names(**{host: POISONS[poison]})
        self._until_later(seat.name, seat.names)
        return poison

    def _server(self, names: tuple[str, ...]) -> str:
        name = self._random.choice(names)
        touches = f"server {name}"
        if any(fault.touches == touches for fault in self._faults):
            return ""
        self.scene.kill_server(name)
        self._until_later(touches, lambda: self._let_return(name))
        return name

    def _pictures(self) -> str:
        if "pictures" not in self.scene.seats["gather"].exposed or any(
            fault.touches == "gather" for fault in self._faults
        ):
            return ""
        self.scene.kill_server("pictures")
        self._until_later("gather", lambda: self._let_return("pictures"))
        return "die"

    def _let_return(self, name: str) -> None:
        for attempt in range(RETURN_TRIES):
            try:
                self.scene.start_server(name)
                return
            except LabError as error:
                with suppress(ProcessLookupError, ValueError):
                    server = self.scene.servers[name]
                    server.namespace.stop(server.namespace.started[-1])
                if attempt == RETURN_TRIES - 1:
                    self.scene.tally.fail(f"the lab's own {name} does not return: {error}")

    def _rate(self) -> str:
        leg, rate = self._random.choice(("origin", "mirror", "proxy")), self._random.choice(RATES)
        wall, host = self.scene.lab.wall, self.scene.lab.hosts[leg]
        wall.throttle(host, rate)
        self._until_later(f"leg {leg}", lambda: wall.throttle(host, ""))
        return rate

    def _kill(self, number: signal.Signals) -> str:
        seat = self._seat("kill")
        return seat.name if seat is not None and seat.kill(number) else ""

    def _worker(self) -> str:
        roots = {"view": self.viewed} if self.viewed else {}
        for seat in self.scene.seats.values():
            with seat.lock:
                if "worker" in seat.exposed and seat.process is not None:
                    roots[seat.name] = seat.process.pid
        table = processes()
        found = [
            (name, one.pid)
            for name, pid in roots.items()
            for one in descendants(pid, table)
            if WORKER in command_line(one.pid)
        ]
        if not found:
            return ""
        name, pid = self._random.choice(found)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return name
        return ""
