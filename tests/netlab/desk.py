"""A user in the lab: the installed `g3m` run on a machine behind the wall, and what it said."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.netlab.dataset import Shard
from tests.netlab.lab import Client
from tests.netlab.namespaces import PATH
from tests.netlab.servers import PASSWORD, SECRET, USER

STALL_S = 1.5
"""Long for a host that answers within a millisecond, short for a test."""

LIMIT_S = 90
INHERITED = ("PYTHONPATH",)
HUB_TOKEN = "hf_canaryTokenOfTheLab"
SIGNATURE = "canary-signature"
SECRETS = (USER, PASSWORD, SECRET, HUB_TOKEN, SIGNATURE)
SMALL_BYTES = 2_000_000


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """All that was printed."""
        return f"{self.out}\n{self.err}"

    @property
    def story(self) -> str:
        """What was printed without the ticks, for whoever reads a failure."""
        ticks = ('"event": "Progressed"', '"event": "RoutesMeasured"')
        lines = self.words.splitlines()
        return "\n".join(line for line in lines if not any(tick in line for tick in ticks))

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Every line of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind, from a run with --json."""
        return [document for document in self.documents if document.get("event") == kind]

    @property
    def failures(self) -> dict[tuple[str, str], str]:
        """Place and way of every route that failed once or for good, and the last reason."""
        told = [*self.events("Retrying"), *self.events("RouteDropped")]
        return {(event["place"], event["way"]): event["reason"] for event in told}

    @property
    def carriers(self) -> set[tuple[str, str]]:
        """Place and way of every route over which bytes came."""
        return {(event["place"], event["way"]) for event in self.events("RouteChosen")}


@dataclass
class Desk:
    """A user's folder on a client, and the environment of a plain user who trusts the lab."""

    client: Client
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "data"

    def g3m(self, *words: str | Path, limit_s: float = LIMIT_S, **variables: str) -> Ran:
        """Run g3m to its end; no secret of the lab may ever be printed."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "PATH": PATH,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "G3M_LANG": "en",
            "G3M_STALL_TIMEOUT_S": str(STALL_S),
            "SSL_CERT_FILE": str(self.client.lab.authority.bundle),
            **self.variables,
            **variables,
        }
        program = Path(sys.executable).with_name("g3m")
        done = self.client.run([program, *words], environment, limit_s=limit_s, cwd=self.folder)
        ran = Ran(done.returncode, done.stdout, done.stderr)
        for secret in SECRETS:
            assert secret not in ran.words, f"g3m printed a secret:\n{ran.words}"
        assert self.leaks() == []
        return ran

    def leaks(self) -> list[Path]:
        """Documents below the user's folder, journals and logs among them, that hold a secret."""
        documents = [
            path for path in self.folder.rglob("*") if path.is_file() and path.stat().st_size < SMALL_BYTES
        ]
        contents = {path: path.read_bytes() for path in documents}
        return [path for path, content in contents.items() if any(s.encode() in content for s in SECRETS)]

    def get(self, recipe: Path, *flags: str, **variables: str) -> Ran:
        """`g3m get` as a program reads it: every event a line."""
        return self.g3m("get", recipe, "--yes", "--json", "--root", self.root, *flags, **variables)

    def has(self, shard: Shard) -> bool:
        """Whether the shard stands in the dataset's folder, byte for byte."""
        found: Sequence[Path] = sorted((self.root / "lab").glob("*.tar"))
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in found] == [shard.sha256]
