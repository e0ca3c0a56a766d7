"""What the soak plays in: the netlab, what its hosts serve, and the machines behind the wall where g3m works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.netlab import servers
from tests.netlab.lab import ADDRESSES, HUB_MIRROR, MIRROR, ORIGIN, PROXY_SERVERS, Client, Lab, open_lab
from tests.netlab.namespaces import PATH, Namespace
from tests.netlab.servers import Command, Maker
from tests.soak.drawn import LIAR_PORT, PICTURE_NAMES, PICTURES_PORT, Size, draw

REPOSITORY = Path(__file__).parents[2]
STALL_S = 3.0
HANG_S = 900.0
"""Whatever a command meets, it is over by then."""

BY_SIGNAL = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 130, 143}
"""How a command ends that was sent one: by its number, where g3m did not listen yet or no more."""

LAUNCH = """
import runpy, g3m.core.samples
g3m.core.samples.SHARD_SAMPLES = {samples}
runpy.run_module("g3m", run_name="__main__", alter_sys=True)
"""
"""`python -m g3m` with small shards, so that little data makes many."""


@dataclass
class Tally:
    """What happened so far; shared by all threads."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, times: int = 1) -> None:
        with self.lock:
            self.counts[what] += times

    def fail(self, words: str) -> None:
        """What is wrong is said at once: the end may be an hour away."""
        with self.lock:
            self.failures.append(words)
            print(f"FAILED  {words}", file=sys.stderr, flush=True)

    def among(self, kind: str) -> dict[str, int]:
        """The counts whose names begin so, without that beginning."""
        with self.lock:
            return {
                name.partition(": ")[2]: number
                for name, number in sorted(self.counts.items())
                if name.startswith(f"{kind}: ")
            }


@dataclass
class Seat:
    """A machine behind the wall, what runs on it now, and what may be done to it."""

    name: str
    client: Client
    scene: Scene
    exposed: frozenset[str] = frozenset()
    """Of `network`, `pictures`, `kill`, `worker`."""

    process: subprocess.Popen[bytes] | None = None
    said: Path = Path()
    """What that process prints."""

    lock: threading.Lock = field(default_factory=threading.Lock)

    def names(self, **poisoned: str) -> None:
        """What it takes names for."""
        self.client.names(**{**dict.fromkeys(PICTURE_NAMES, ADDRESSES[ORIGIN]), **poisoned})

    def start(self, words: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        """A process on this machine; what it says goes to `LOG.out` and `LOG.err`."""
        netns = ["ip", "netns", "exec", self.client.namespace.name]
        return self.scene.start([*netns, *words], log)

    def run(self, words: Sequence[str | Path], log: Path) -> int:
        """A process that others may kill meanwhile, to its end; -9 if it was killed."""
        process = self.start(words, log)
        with self.lock:
            self.process, self.said = process, log.with_name(f"{log.name}.out")
        try:
            code = process.wait(timeout=HANG_S)
        except subprocess.TimeoutExpired:
            self.scene.tally.fail(f"{log.name} hangs")
            process.kill()
            code = process.wait()
        finally:
            with self.lock:
                self.process = None
        self.scene.look_at(log, code)
        return code

    def kill(self, number: signal.Signals) -> bool:
        """Send a signal to what runs here; False if nothing does. Ctrl-C waits until Python has started."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                return False
            if number == signal.SIGINT and not self.said.stat().st_size:
                return False
            self.process.send_signal(number)
            return True


@dataclass
class Server:
    """A shared server that can die and return."""

    namespace: Namespace
    maker: Maker
    process: subprocess.Popen[bytes]


@dataclass
class Scene:
    """The standing lab, the drawn data and one user's environment."""

    lab: Lab
    folder: Path
    size: Size
    seed: int
    tally: Tally = field(default_factory=Tally)
    servers: dict[str, Server] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def files(self) -> Path:
        """What origin and mirror serve."""
        return self.folder / "files"

    @property
    def recipes(self) -> Path:
        return self.folder / "recipes"

    @property
    def variables(self) -> dict[str, str]:
        inherited = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        own = {"HOME": "home", "TMPDIR": "tmp", "XDG_CONFIG_HOME": "home/.config"}
        return {
            **inherited,
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "G3M_LANG": "en",
            "G3M_STALL_TIMEOUT_S": str(STALL_S),
            "G3M_CACHE_LIMIT": "0",
            "OMP_NUM_THREADS": "1",
            "SSL_CERT_FILE": str(self.lab.authority.bundle),
            **{name: str(self.folder / path) for name, path in own.items()},
        }

    @property
    def python(self) -> list[str]:
        """Python with what the tests have, for programs of the soak's own."""
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        return ["env", f"PYTHONPATH={path}", sys.executable]

    def g3m(self, *words: str | Path) -> list[str]:
        """The command line of g3m; a warning is an error."""
        launch = LAUNCH.format(samples=self.size.pictures_per_shard)
        return [sys.executable, "-W", "error", "-c", launch, *map(str, words)]

    def start(self, words: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        """A process on the machine of the soak itself."""
        out, err = (log.with_name(f"{log.name}.{end}") for end in ("out", "err"))
        with out.open("ab") as output, err.open("ab") as errors:
            process = subprocess.Popen(
                [str(word) for word in words],
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        with self.tally.lock:
            self.started = [*(one for one in self.started if one.poll() is None), process]
        return process

    def end_all(self) -> None:
        """Leave nothing running, however the soak ended."""
        for process in self.started:
            process.kill()
            process.wait()

    def look_at(self, log: Path, code: int) -> None:
        """Whatever happened, no command breaks down; its words are kept if one did."""
        err = log.with_name(f"{log.name}.err")
        words = err.read_text(errors="replace")
        if "Traceback" in words or "Warning:" in words:
            self.tally.fail(f"{log.name} ({code}): {words[-1500:]}")
            shutil.copy(err, self.folder / "kept")
        for path in (err, log.with_name(f"{log.name}.out")):
            path.unlink()

    def kill_server(self, name: str) -> None:
        """kill -9 for a server and its children."""
        server = self.servers[name]
        server.namespace.stop(server.process)

    def start_server(self, name: str) -> None:
        """Let it return."""
        server = self.servers[name]
        server.process = self.lab.start(name, server.namespace, server.maker)

    def serve(self, name: str, leg: str, module: str, port: int, *words: str | Path) -> None:
        """A server of our own on one of the hosts, which can die and return like the others."""
        address = ADDRESSES[HUB_MIRROR] if leg == "mirror" else ADDRESSES[ORIGIN]

        def make(_: object) -> Command:
            command = (*self.python, "-m", module, address, str(port), *map(str, words))
            return Command(command, (f"{address}:{port}",))

        host = self.lab.hosts[leg]
        self.servers[name] = Server(host, make, self.lab.start(name, host, make))


@contextmanager
def open_scene(folder: Path, size: Size, seed: int) -> Iterator[Scene]:
    """Draw everything, build the lab and one machine for each kind of work."""
    for name in ("files", "recipes", "home", "tmp", "logs", "kept"):
        (folder / name).mkdir(parents=True)
    draw(folder, size, seed)
    with ExitStack() as stack:
        lab = stack.enter_context(open_lab(folder / "files"))
        scene = Scene(lab, folder, size, seed)
        stack.callback(scene.end_all)
        _know_servers(scene)
        for name in ("get", "gather", "long", "loader"):
            scene.seats[name] = Seat(name, stack.enter_context(lab.client()), scene)
            scene.seats[name].names()
        yield scene


def _know_servers(scene: Scene) -> None:
    """Those of the lab, by name, and the two of the soak."""
    lab = scene.lab
    for (name, maker), process in zip(PROXY_SERVERS.items(), lab.hosts["proxy"].started, strict=True):
        scene.servers[name] = Server(lab.hosts["proxy"], maker, process)
    for name, host in (("origin", ORIGIN), ("mirror", MIRROR)):
        maker = servers.nginx(ADDRESSES[host], host, scene.files)
        scene.servers[name] = Server(lab.hosts[name], maker, lab.hosts[name].started[0])
    lies = (scene.files, str(scene.seed))
    scene.serve("liar", "mirror", "tests.soak.lying_host", LIAR_PORT, *lies)
    scene.serve("pictures", "origin", "tests.soak.pictures", PICTURES_PORT)
