"""`g3m status`: what stands under a root and who works on it, from the files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from g3m.adapters.disk import Lease, read_document
from g3m.adapters.session import Session
from g3m.core.events import RouteSpeed
from g3m.core.gathering import READER
from g3m.core.receipt import Manifest, arrangement, latest_reasons, shard_receipt
from g3m.core.tally import Rows
from g3m.steps.check import manifests
from g3m.ui.figures import count_text, size_text, table
from g3m.ui.story import last_routes, last_rows
from g3m.ui.terminal import route_lines
from g3m.ui.words import Speaker

WIDTH = 100
ROUTES_SHOWN = 12
REASONS_SHOWN = 6


def state_of(name: str, body: Manifest | None, session: Session) -> str:
    """`done`, `part` (something is here) or `none`."""
    if body is not None:
        return "done"
    return "part" if session.store.receipt(name, "x").parent.is_dir() else "none"


def status(session: Session) -> dict[str, Any]:
    """What stands under the root and who works on it, from the files alone: no network."""
    here = {body.dataset: body for body in manifests(session, ()).values()}
    events, run = session.store.work / "events.jsonl", Lease(session.store.work / "lock").holder()
    parts = [holder for lease in session.store.part_leases() if (holder := lease.holder())]
    flowing = last_rows(events) if run or parts else {}
    begun = sorted(path.parent.name for path in session.store.work.glob("receipts/*/arrange.json"))
    datasets = []
    for name in dict.fromkeys((*session.recipes.names, *here, *begun)):
        body = here.get(name)
        if body is not None or state_of(name, None, session) != "none":
            datasets.append(dataset_status(name, body, flowing.get(name), session))
    downloads = {
        path.name.removesuffix(".part").partition("-")[2]: path.stat().st_size
        for path in sorted(session.store.part("").glob("*.part"))
    }
    routes = last_routes(events) if run or parts else ()
    return {
        "root": str(session.store.root),
        "run": run,
        "parts": parts,
        "routes": [asdict(route) for route in routes],
        "datasets": datasets,
        "downloads": downloads,
        "last_line": last_line(session.store.work / "g3m.log"),
    }


def dataset_status(
    name: str, body: Manifest | None, flowing: Rows | None, session: Session
) -> dict[str, Any]:
    """What stands of one dataset; `flowing` are the rows of tasks at work."""
    receipts = [
        receipt
        for path in session.store.receipt(name, "x").parent.glob("*.tar.json")
        if (receipt := shard_receipt(read_document(path) or "")) is not None
    ]
    arranged = arrangement(read_document(session.store.receipt(name, "arrange")) or "")
    planned = None
    if body is not None:
        planned = len(body.shards)
    elif arranged is not None:
        planned = len(arranged.shards)
    expected = session.recipes.get(name).expect.samples if name in session.recipes.names else None
    samples = sum(receipt.shard.samples for receipt in receipts)
    rows = Rows(done=samples, good=samples, reasons=latest_reasons(receipts))
    rows = rows.plus(Rows(done=sum(rows.reasons.values()))).plus(flowing or Rows())
    total = body.seen if body else arranged.samples if arranged else 0
    form = body.form if body else arranged.form if arranged else ""
    return {
        "name": name,
        "state": "done" if body else "part",
        "shards": len(receipts),
        "planned_shards": planned,
        "samples": samples,
        "expected_samples": body.expected_samples if body else expected,
        "rejected": dict(body.rejected if body else rows.reasons),
        "rows": {"done": rows.done, "good": rows.good, "total": total} if form == READER else None,
    }


def _left_out(rejected: Mapping[str, int]) -> str:
    """The biggest reasons; of a list of URLs there may be dozens."""
    biggest = sorted(rejected.items(), key=lambda item: -item[1])[:REASONS_SHOWN]
    named = [f"{count} {reason}" for reason, count in rejected.items() if (reason, count) in biggest]
    more = len(rejected) - len(named)
    return ", ".join([*named, f"and {more} more"] if more > 0 else named)


def _rows_line(name: str, rows: Mapping[str, int], speaker: Speaker) -> str:
    share = rows["good"] / rows["done"] if rows["done"] else 0.0
    done, total = count_text(rows["done"]), count_text(rows["total"])
    return speaker.say("status-rows", name=name, done=done, total=total, share=f"{share:.1%}")


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
            _left_out(row["rejected"]),
        )
        for row in facts["datasets"]
    ]
    if rows:
        yield from table(("dataset", "state", "shards", "samples", "left out"), rows, right=(2, 3))
    for row in facts["datasets"]:
        if row["rows"] is not None:
            yield _rows_line(row["name"], row["rows"], speaker)
    for name, size_bytes in facts["downloads"].items():
        yield f"{name}: {size_text(size_bytes)}"
    # A part may hold the root's lease beside its own.
    runs = dict.fromkeys((run["pid"], run["host"]) for run in (facts["run"], *facts["parts"]) if run)
    for pid, host in runs:
        yield speaker.say("running-by", pid=pid, host=host)
    if runs:
        yield from route_lines([RouteSpeed(**route) for route in facts["routes"]], WIDTH, ROUTES_SHOWN)
    else:
        yield speaker.say("running-not", root=facts["root"])
    if facts["last_line"]:
        yield speaker.say("last-line", line=facts["last_line"])


def last_line(path: Path) -> str:
    """The last line of a log, or nothing."""
    try:
        from g3m.adapters.plain import open_plain

        with open_plain(path) as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
