"""Network namespaces with names of one run's own, and nothing left of them, also not after a kill.

A run registers itself by a folder below `/run/g3m-netlab` with a locked file in it. A lock that can be had
belongs to a run that is dead, whoever carries its number now; the next run takes away what it left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

REGISTRY = Path("/run/g3m-netlab")
HOSTS = Path("/etc/netns")
"""`ip netns exec` lays the files of `/etc/netns/NAME` over those of `/etc`."""

SHARED_MEMORY = Path("/dev/shm")
"""Where squid leaves files that begin with the run's name."""

PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


class LabError(Exception):
    """The lab cannot be built, or a server of it did not come up."""


def call(*words: str | Path, given: str = "") -> str:
    """Run a program of the system and return its output; LabError with its own words if it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": PATH},
    )
    if done.returncode:
        raise LabError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@dataclass
class Namespace:
    """One machine of the lab."""

    name: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ip(self, *lines: str) -> None:
        """Configure addresses, routes and links."""
        call("ip", "-n", self.name, "-batch", "-", given="\n".join(lines) + "\n")

    def call(self, *words: str | Path, given: str = "") -> str:
        """Run a program to its end in here."""
        return call("ip", "netns", "exec", self.name, *words, given=given)

    def start(
        self, words: Sequence[str | Path], log: Path, variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a server, in a process group of its own so that all of it can be ended."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={"PATH": PATH, **variables},
            )
        self.started.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a server and its children."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        self.started.remove(process)

    def listening(self, endpoint: str) -> bool:
        """Whether anybody takes TCP connections at `ADDRESS:PORT`, or at `:PORT` of any address."""
        return bool(self.call("ss", "-Hltn", f"src {endpoint}").strip())

    def write_names(self, names: Mapping[str, str], nameserver: str) -> None:
        """What this machine takes names for; written in place, because a mount holds on to the file itself."""
        folder = HOSTS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{address} {name}\n" for name, address in names.items())
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{lines}", encoding="utf-8")
        (folder / "resolv.conf").write_text(f"nameserver {nameserver}\noptions timeout:1 attempts:1\n")
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")


class Namespaces:
    """The namespaces of this run, and a folder for its configurations and logs."""

    def __init__(self, token: str, folder: Path) -> None:
        self.token = token
        self.folder = folder
        self._open: dict[str, Namespace] = {}

    def add(self, name: str) -> Namespace:
        """A machine that is connected to nothing."""
        made = Namespace(f"{self.token}-{name}")
        call("ip", "netns", "add", made.name)
        self._open[made.name] = made
        made.ip("link set lo up")
        return made

    def remove(self, namespace: Namespace) -> None:
        """Take a machine away, with all that runs on it."""
        for process in list(namespace.started):
            namespace.stop(process)
        del self._open[namespace.name]
        _demolish(namespace.name)

    def close(self) -> None:
        """Take all of them away."""
        for namespace in list(self._open.values()):
            self.remove(namespace)
        _forget(self.token)

    @staticmethod
    def connect(one: Namespace, end: str, other: Namespace, other_end: str) -> None:
        """A cable between two machines; an end is `INTERFACE ADDRESS/BITS`."""
        names = [end.split()[0], other_end.split()[0]]
        call(
            *("ip", "link", "add", names[0], "netns", one.name, "type", "veth"),
            *("peer", "name", names[1], "netns", other.name),
        )
        for namespace, text in ((one, end), (other, other_end)):
            interface, address = text.split()
            namespace.ip(f"addr add {address} dev {interface}", f"link set {interface} up")


@contextmanager
def namespaces() -> Iterator[Namespaces]:
    """The namespaces of one run; those of dead runs are taken away first."""
    REGISTRY.mkdir(mode=0o755, exist_ok=True)
    token = f"g3m{os.getpid()}"
    folder = REGISTRY / token
    with _locked(REGISTRY / "lock"):
        _sweep()
        folder.mkdir(mode=0o755)
        lock = (folder / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
    made = Namespaces(token, folder)
    try:
        yield made
    finally:
        made.close()
        with _locked(REGISTRY / "lock"), lock:
            shutil.rmtree(folder)


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _sweep() -> None:
    """Take away what runs left that are dead."""
    for folder in [path for path in REGISTRY.iterdir() if path.is_dir()]:
        with (folder / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            left = [*Path("/run/netns").glob(f"{folder.name}-*"), *HOSTS.glob(f"{folder.name}-*")]
            for name in {path.name for path in left}:
                _demolish(name)
            _forget(folder.name)
            shutil.rmtree(folder)


def _demolish(name: str) -> None:
    if Path("/run/netns", name).exists():
        for number in call("ip", "netns", "pids", name).split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)
        call("ip", "netns", "delete", name)
    shutil.rmtree(HOSTS / name, ignore_errors=True)


def _forget(token: str) -> None:
    for path in SHARED_MEMORY.glob(f"{token}-*"):
        path.unlink(missing_ok=True)
