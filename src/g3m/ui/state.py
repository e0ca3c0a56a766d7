"""`g3m status`: what stands under a root and who works on it, from the files alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from g3m.adapters.disk import Lease, read_document
from g3m.adapters.session import Session
from g3m.core.events import RouteSpeed
from g3m.core.receipt import Manifest, shard_receipt
from g3m.steps.check import manifests
from g3m.ui.figures import count_text, size_text, table
from g3m.ui.story import last_routes
from g3m.ui.terminal import route_lines
from g3m.ui.words import Speaker

WIDTH = 100
ROUTES_SHOWN = 12


def state_of(name: str, body: Manifest | None, session: Session) -> str:
    """`done`, `part` (something is here) or `none`."""
    if body is not None:
        return "done"
    return "part" if session.store.receipt(name, "x").parent.is_dir() else "none"


def status(session: Session) -> dict[str, Any]:
    """What stands under the root and who works on it, from the files alone: no network."""
    here = {body.dataset: body for body in manifests(session, ()).values()}
    datasets = []
    for name in dict.fromkeys((*session.recipes.names, *here)):
        body = here.get(name)
        if body is None and state_of(name, None, session) == "none":
            continue
        datasets.append(_dataset_status(name, body, session))
    parts = {
        path.name.removesuffix(".part").partition("-")[2]: path.stat().st_size
        for path in sorted(session.store.part("").glob("*.part"))
    }
    run = Lease(session.store.work / "lock").holder()
    routes = last_routes(session.store.work / "events.jsonl") if run else ()
    return {
        "root": str(session.store.root),
        "run": run,
        "routes": [asdict(route) for route in routes],
        "datasets": datasets,
        "downloads": parts,
        "last_line": last_line(session.store.work / "g3m.log"),
    }


def _dataset_status(name: str, body: Manifest | None, session: Session) -> dict[str, Any]:
    receipts = [
        receipt
        for path in session.store.receipt(name, "x").parent.glob("*.tar.json")
        if (receipt := shard_receipt(read_document(path) or "")) is not None
    ]
    planned = None
    if body is not None:
        planned = len(body.shards)
    elif receipts or session.store.receipt(name, "arrange").is_file():
        planned = _planned_shards(name, session)
    return {
        "name": name,
        "state": "done" if body else "part",
        "shards": len(receipts),
        "planned_shards": planned,
        "samples": sum(receipt.shard.samples for receipt in receipts),
        "expected_samples": body.expected_samples if body else session.recipes.get(name).expect.samples,
        "rejected": dict(body.rejected) if body else {},
    }


def _planned_shards(name: str, session: Session) -> int | None:
    try:
        body = json.loads(read_document(session.store.receipt(name, "arrange")) or "")
        return len(body["shards"])
    except (ValueError, KeyError, TypeError):
        return None


def status_lines(session: Session, speaker: Speaker) -> Iterator[str]:
    """`g3m status` for people."""
    facts = status(session)
    rows = [
        (
            row["name"],
            speaker.say(f"state-{row['state']}"),
            f"{row['shards']} of {row['planned_shards']}"
            if row["planned_shards"] is not None
            else str(row["shards"]),
            count_text(row["samples"]),
            ", ".join(f"{count} {reason}" for reason, count in row["rejected"].items()),
        )
        for row in facts["datasets"]
    ]
    if rows:
        yield from table(("dataset", "state", "shards", "samples", "left out"), rows, right=(2, 3))
    for name, size_bytes in facts["downloads"].items():
        yield f"{name}: {size_text(size_bytes)}"
    run = facts["run"]
    if run:
        yield speaker.say("running-by", pid=run["pid"], host=run["host"])
        yield from route_lines([RouteSpeed(**route) for route in facts["routes"]], WIDTH, ROUTES_SHOWN)
    else:
        yield speaker.say("running-not", root=facts["root"])
    if facts["last_line"]:
        yield speaker.say("last-line", line=facts["last_line"])


def last_line(path: Path) -> str:
    """The last line of a log, or nothing."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
