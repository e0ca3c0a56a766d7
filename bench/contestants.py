"""The programs that are compared: how each is called for a file, and what one run of it took.

`g3m` is the installed command with a recipe of ready shards: its figures hold the start of Python, the
journal, every sync, the check of the sha256 and the shard's adoption. `g3m, fetch step alone` calls that step
in a process of its own (bench/step.py). The peers get the options that make them fast here; none of them
checks or syncs what it wrote unless the row says so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from files import File, write_recipe
from link import Source

BENCH = Path(__file__).parent
PEERS = Path(os.environ.get("G3M_BENCH_PEERS", BENCH.parent / ".cache" / "bench"))
REVISION = "0" * 40
SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """One file, its sources in order, and an empty folder to work in."""

    file: File
    sources: Sequence[Source]
    folder: Path
    per_server: int = 16
    certificate: str = ""

    @property
    def urls(self) -> list[str]:
        return [source.url(self.file.name) for source in self.sources]

    @property
    def out(self) -> Path:
        return self.folder / self.file.name


@dataclass(frozen=True, slots=True)
class Call:
    """A command, what it adds to the environment, and where the file is to lie afterwards."""

    command: list[str]
    out: Path
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Took:
    """One run: `code` is None if it was stopped at its limit; memory is the sum over its processes."""

    code: int | None
    wall_s: float
    cpu_s: float
    peak_bytes: int
    started_s: float
    memory: list[tuple[float, int]] = field(default_factory=list)


def g3m(job: Job, *flags: str) -> Call:
    recipe = write_recipe(job.folder / "bench.toml", [job.file], [job.urls])
    root = job.folder / "root"
    command = [sys.executable, "-m", "g3m", "get", str(recipe), "--root", str(root), "-y", "--json", *flags]
    return Call(command, root / "bench" / job.file.name, _certificate(job))


def g3m_step(job: Job) -> Call:
    recipe = write_recipe(job.folder / "bench.toml", [job.file], [job.urls])
    out = job.folder / "step.out"
    command = [sys.executable, str(BENCH / "step.py"), str(recipe), str(job.folder / "root"), str(out)]
    return Call(command, out, _certificate(job))


def aria2(job: Job, *flags: str) -> Call:
    command = [
        *("aria2c", "--no-conf", "--quiet", f"-x{job.per_server}", "-s16", "-k1M", "--file-allocation=none"),
        *("--max-tries=0", "--timeout=10", "--connect-timeout=5", "--continue=true"),
        *([f"--ca-certificate={job.certificate}"] if job.certificate else []),
        *flags,
        *("--dir", str(job.folder), "--out", job.file.name, *job.urls),
    ]
    return Call(command, job.out)


def aria2_checked(job: Job, *flags: str) -> Call:
    return aria2(job, f"--checksum=sha-256={job.file.sha256}", *flags)


def curl(job: Job, *flags: str) -> Call:
    trust = ["--cacert", job.certificate] if job.certificate else []
    return Call(["curl", "-q", "-sS", "--fail", *trust, *flags, "-o", str(job.out), job.urls[0]], job.out)


def curl_checked(job: Job, *, sync: bool = False) -> Call:
    """curl, then what g3m does besides: the digest (OpenSSL's is the fast one), and with `sync` the sync."""
    line = '"$@" && openssl sha256 "$0" >/dev/null' + (' && sync "$0"' if sync else "")
    return Call(["sh", "-c", line, str(job.out), *curl(job).command], job.out)


def wget(job: Job, *flags: str) -> Call:
    trust = [f"--ca-certificate={job.certificate}"] if job.certificate else []
    return Call(["wget", "-q", "--no-config", *trust, *flags, "-O", str(job.out), job.urls[0]], job.out)


def hf(job: Job) -> Call:
    """The hub's own client, over plain HTTP; its chunk protocol needs a service that no mirror offers."""
    variables = {"HF_ENDPOINT": job.sources[0].base, "HF_HOME": str(job.folder / "hf")}
    variables |= {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [found("hf"), "download", "--repo-type", "dataset", "--revision", REVISION]
    return Call([*command, "bench/one", job.file.name, "--local-dir", str(job.folder)], job.out, variables)


def aws(job: Job) -> Call:
    config = job.folder / "aws.ini"
    config.write_text("[default]\ns3 =\n  max_concurrent_requests = 16\n", encoding="utf-8")
    variables = {"AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [found("aws"), "s3", "cp", "--no-sign-request", "--only-show-errors", "--region", "us-east-1"]
    address = ["--endpoint-url", job.sources[0].base, f"s3://bench/{job.file.name}", str(job.out)]
    return Call([*command, *address], job.out, variables)


def _certificate(job: Job) -> dict[str, str]:
    return {"SSL_CERT_FILE": job.certificate} if job.certificate else {}


def found(name: str) -> str:
    """A peer in the benchmark's own environment, or on the path; itself if there is none."""
    own = PEERS / "bin" / name
    return str(own) if own.exists() else shutil.which(name) or name


def available(name: str) -> bool:
    """Whether the program of a contestant, the first word of its name, is on this machine."""
    word = name.split(maxsplit=1)[0].rstrip(",")
    return word == "g3m" or shutil.which(found(word)) is not None


def versions() -> list[str]:
    """What each program says of its version; how to get it where it is missing."""
    asked = {
        "g3m": [sys.executable, "-m", "g3m", "--version"],
        "aria2": ["aria2c", "--version"],
        "curl": ["curl", "--version"],
        "wget": ["wget", "--version"],
        "hf": [found("hf"), "--version"],
        "aws": [found("aws"), "--version"],
        "nginx": [_nginx(), "-v"],
    }
    lines = []
    for name, command in asked.items():
        try:
            told = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
            text = (told.stdout or told.stderr).strip().splitlines()[0]
        except (OSError, IndexError):
            text = f"{name}: not here, left out; bench/fetch.py says how to install it"
        text = text.partition(" (")[0]
        lines.append(text if name in text.lower() else f"{name} {text}")
    return lines


def _nginx() -> str:
    return shutil.which("nginx") or "/usr/sbin/nginx"


def environment() -> dict[str, str]:
    """Nothing of the caller's proxies, tokens and settings."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "HOME": "/nonexistent", "NO_COLOR": "1"}


class Process:
    """A running contestant in a process group of its own; its output goes to `folder/said`."""

    def __init__(self, call: Call, folder: Path) -> None:
        with open(folder / "said", "ab") as said, open(folder / "errors", "ab") as errors:
            self.started_s = time.monotonic()
            self._process = subprocess.Popen(
                call.command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
                env={**environment(), **call.variables},
                cwd=folder,
                start_new_session=True,
            )
        self._memory: list[tuple[float, int]] = []
        self._peak_bytes = 0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()

    def wait(self, limit_s: float, last_signal: signal.Signals = signal.SIGKILL) -> Took:
        """Wait for its end; at the limit it gets a signal (and ten seconds to obey)."""
        late = threading.Timer(limit_s, self._signal, [last_signal])
        later = threading.Timer(limit_s + 10, self._signal, [signal.SIGKILL])
        for timer in (late, later):
            timer.start()
        try:
            _, status, usage = os.wait4(self._process.pid, 0)
        except BaseException:
            self._signal(signal.SIGKILL)
            raise
        finally:
            wall_s = time.monotonic() - self.started_s
            self._ended.set()
            for timer in (late, later):
                timer.cancel()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._signal(signal.SIGKILL)  # what a shell left behind
        self._watch.join()
        code = None if wall_s >= limit_s else self._process.returncode
        cpu_s = usage.ru_utime + usage.ru_stime
        return Took(code, wall_s, cpu_s, self._peak_bytes, self.started_s, self._memory)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            now_bytes = peak_bytes = 0
            for pid in _group(self._process.pid):
                now, peak = _memory(pid)
                now_bytes, peak_bytes = now_bytes + now, peak_bytes + peak
            self._peak_bytes = max(self._peak_bytes, peak_bytes)
            self._memory.append((time.monotonic() - self.started_s, now_bytes))


def _group(leader: int) -> list[int]:
    """The leader and its children; wget, curl and the others have no grandchildren."""
    try:
        text = Path(f"/proc/{leader}/task/{leader}/children").read_text(encoding="ascii")
    except OSError:
        return [leader]
    return [leader, *map(int, text.split())]


def _memory(pid: int) -> tuple[int, int]:
    """Resident now, and at most so far; the system begins to count anew when a program is started."""
    now = peak = 0
    with (
        contextlib.suppress(OSError),
        open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file,
    ):
        for line in file:
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) * 1024
            elif line.startswith("VmRSS:"):
                now = int(line.split()[1]) * 1024
    return now, peak


def leave_on_signal() -> None:
    """Clean up after SIGTERM as after an exception."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def run(call: Call, folder: Path, limit_s: float = 600) -> Took:
    """Run a contestant to its end."""
    return Process(call, folder).wait(limit_s)
