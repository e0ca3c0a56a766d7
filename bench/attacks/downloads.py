"""One file from a server that lies, and the same after a kill, on a full disk, beside another process."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.attacks import liar, lies
from bench.attacks.goods import SAMPLES, members, tar
from bench.attacks.liar import Behaviour, Liar, Thing, wait_until
from bench.attacks.secret import certificate
from bench.attacks.trial import HERE, LIMIT_S, SILENT, Call, Running, g3m, judge, same, write_recipe

NAME = "00000.tar"
REVISION = "0" * 40
HALF = "**half a file under the final name**"
NEW = "the new version, whole"
CLEAN = "nothing under the final name"


@dataclass(frozen=True, slots=True)
class Job:
    """One file behind a server, and an empty folder for it."""

    folder: Path
    base: str
    data: bytes

    @property
    def url(self) -> str:
        return f"{self.base}/datasets/bench/one/resolve/{REVISION}/{NAME}"

    @property
    def out(self) -> Path:
        return self.folder / NAME


@dataclass(frozen=True, slots=True)
class Tool:
    """A program and how it is called; `needs` is a file that it cannot run without."""

    name: str
    call: Callable[[Job], Call]
    needs: str
    secure: bool = False
    """Whether it is served over TLS: g3m takes nothing without a digest from http."""


def _g3m(job: Job, *, known: bool = True) -> Call:
    recipe = write_recipe(job.folder / "bench.toml", NAME, job.data, job.url, known=known)
    root = job.folder / "root"
    variables = {"SSL_CERT_FILE": str(certificate()[0])} if job.base.startswith("https") else {}
    return Call(g3m("get", recipe, "--root", root, "-y", "--no-proxy"), root / "bench" / NAME, variables)


def _curl(job: Job) -> Call:
    return Call(
        ["curl", "-q", "-sS", "--fail", "-L", "--retry", "3", "-C", "-", "-o", NAME, job.url], job.out
    )


def _wget(job: Job) -> Call:
    return Call(["wget", "--no-config", "-nv", "-c", "--tries=4", "-O", NAME, job.url], job.out)


def _aria2(job: Job, *flags: str) -> Call:
    quiet = ["--no-conf", "--summary-interval=0", "--show-console-readout=false", "--console-log-level=error"]
    return Call(["aria2c", *quiet, "-c", *flags, "-o", NAME, job.url], job.out)


def _hf(job: Job, program: str) -> Call:
    variables = {"HF_ENDPOINT": job.base, "HF_HOME": str(job.folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    variables |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    words = [program, "download", "--repo-type", "dataset", "--revision", REVISION, "bench/one", NAME]
    return Call([*words, "--local-dir", "."], job.out, variables)


def _torchvision(job: Job, python: str, *md5: str) -> Call:
    return Call([python, str(HERE / "torchvision_download.py"), job.url, ".", NAME, *md5], job.out)


def tools(hf: str, python: str) -> list[Tool]:
    """The programs, as people call them for a large file; and what they can do beyond, where they can."""
    sha256, md5 = hashlib.sha256(the_file()).hexdigest(), hashlib.md5(the_file()).hexdigest()
    return [
        Tool("g3m", _g3m, sys.executable),
        Tool("g3m, no digest stated", lambda job: _g3m(job, known=False), sys.executable, secure=True),
        Tool("curl -C -", _curl, "curl"),
        Tool("wget -c", _wget, "wget"),
        Tool("aria2c -c", _aria2, "aria2c"),
        Tool("aria2c --checksum", lambda job: _aria2(job, f"--checksum=sha-256={sha256}"), "aria2c"),
        Tool("hf download", lambda job: _hf(job, hf), hf),
        Tool("torchvision", lambda job: _torchvision(job, python), python),
        Tool("torchvision, md5", lambda job: _torchvision(job, python, md5), python),
    ]


@cache
def the_file() -> bytes:
    """The file that all fetch: a ready shard."""
    return tar(members(0, SAMPLES * 3))


@dataclass(slots=True)
class Lab:
    """A server and a folder for one case and one program."""

    tool: Tool
    folder: Path
    server: Liar
    base: str

    def start(self, behave: Behaviour) -> tuple[Call, Running]:
        """Start the program before a server that behaves so."""
        self.server.behave = behave
        call = self.tool.call(Job(self.folder, self.base, the_file()))
        return call, Running(call, self.folder)

    def fetch(self, behave: Behaviour, limit_s: float = LIMIT_S) -> str:
        """Run the program to its end and judge."""
        call, running = self.start(behave)
        code = running.wait(limit_s)
        return judge(code, same(call.out, the_file()), running.words, limit_s)

    def begin(self) -> Path:
        """Run the program until it has half of the file, then kill -9; returns where the file is to be."""
        call, running = self.start(lies.half)
        wait_until(lambda: self.server.sent_bytes >= len(the_file()) // 2 or not running.alive(), LIMIT_S)
        self.server.closing.wait(4)  # what came is written, journals too
        running.kill()
        return call.out


def lying(behave: Behaviour) -> Callable[[Lab], str]:
    """A fresh download from a server that behaves so."""
    return lambda lab: lab.fetch(behave)


def resuming(behave: Behaviour) -> Callable[[Lab], str]:
    """Killed in the middle; then the same command before a server that behaves so."""

    def run(lab: Lab) -> str:
        lab.begin()
        return lab.fetch(behave)

    return run


def replaced(behave: Behaviour) -> Callable[[Lab], str]:
    """Killed in the middle; then the server has another version: other captions and ETag, the same length."""

    def run(lab: Lab) -> str:
        out = lab.begin()
        new = the_file().replace(b"picture number", b"drawing number")
        lab.server.things[NAME] = Thing(new)
        verdict = lab.fetch(behave)
        return NEW if same(out, new) and verdict == SILENT else verdict

    return run


def cut_and_again(lab: Lab) -> str:
    """Half of the file came as if it were the whole; then the same command before an honest server."""
    lab.fetch(lies.cut_without_length)
    return lab.fetch(liar.honest)


def killed(lab: Lab) -> str:
    """What lies under the final name after kill -9."""
    return HALF if same(lab.begin(), the_file()) is False else CLEAN


def leftover(lab: Lab) -> str:
    """A file of the right size and other bytes is there already."""
    call = lab.tool.call(Job(lab.folder, lab.base, the_file()))
    call.out.parent.mkdir(parents=True, exist_ok=True)
    call.out.write_bytes(lies.flipped(the_file()))
    return lab.fetch(liar.honest)


def disk_full(lab: Lab) -> str:
    """A disk with room for half of the file; without a namespace of our own, a limit on the size of files."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={len(the_file()) // 2}", "none", str(lab.folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        plain = lab.tool.call
        limit = f"--fsize={len(the_file()) // 2}"

        def limited(job: Job) -> Call:
            call = plain(job)
            return Call(["prlimit", limit, *call.command], call.out, call.variables)

        lab.tool = Tool(lab.tool.name, limited, lab.tool.needs)
        return lab.fetch(liar.honest)
    try:
        return lab.fetch(liar.honest)
    finally:
        subprocess.run(["umount", "-l", str(lab.folder)], check=True)


def two(lab: Lab) -> str:
    """Two processes, one folder, one moment."""
    call, first = lab.start(lies.slow)
    _, second = lab.start(lies.slow)
    codes = [running.wait() for running in (first, second)]
    right = same(call.out, the_file())
    if right or None in codes:
        return judge(None if None in codes else 0, right, first.words)
    return SILENT if 0 in codes and right is False else judge(max(codes), right, first.words + second.words)


CASES: tuple[tuple[str, Callable[[Lab], str]], ...] = (
    ("cut in the middle, length given", lying(lies.cut)),
    ("cut in the middle, no length given", lying(lies.cut_without_length)),
    ("…then the same command, honest server", cut_and_again),
    ("half the file, and its length said to be that", lying(lies.short)),
    ("login page with status 200", lying(lies.page)),
    ("one wrong byte, same size, same ETag", lying(lies.other_bytes)),
    ("gzip on the way, unasked", lying(lies.gzipped)),
    ("429 with Retry-After, twice", lying(lies.busy)),
    ("one byte a second", lying(lies.trickle)),
    ("a body without end", lying(lies.endless)),
    ("kill -9 in the middle", killed),
    ("…then the same command again", resuming(liar.honest)),
    ("…Range ignored (200)", resuming(lies.range_ignored)),
    ("…206, right header, wrong bytes", resuming(lies.range_wrong)),
    ("…new version, server knows If-Range", replaced(liar.honest)),
    ("…new version, server does not", replaced(lies.careless)),
    ("…login page where a range is asked for", resuming(lies.page_on_range)),
    ("a leftover of the right size, wrong bytes", leftover),
    ("disk full", disk_full),
    ("two processes in one folder", two),
)


def cases() -> tuple[tuple[str, Callable[[Lab], str]], ...]:
    """All of them; the certificate is made before threads ask for it."""
    certificate()
    return CASES


def run(tool: Tool, case: Callable[[Lab], str], folder: Path) -> str:
    """One program, one case, a server and a folder of its own."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = Liar({NAME: Thing(the_file())}, liar.honest)
        stack.callback(server.close)
        port = server.listen(secret=certificate()[1] if tool.secure else None)
        scheme = "https" if tool.secure else "http"
        return case(Lab(tool, folder, server, f"{scheme}://127.0.0.1:{port}"))
