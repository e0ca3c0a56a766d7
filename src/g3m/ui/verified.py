"""What a verification found, for people and for programs; nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from g3m.core.receipt import add_counts
from g3m.core.treatment import CLASSES
from g3m.runners.run import Report
from g3m.steps.ledger import DAMAGE
from g3m.ui.figures import count_text, table
from g3m.ui.words import Speaker

SHOWN = 20
"""Findings named one by one on a terminal; the file has all."""


def report_body(report: Report) -> dict[str, Any]:
    """The report as JSON; classes that need no answer are counted only, the file at `path` has each."""
    return {
        "ok": report.ok,
        "datasets": list(report.manifests),
        "findings": [finding.to_dict() for finding in report.findings],
        "repaired": [finding.to_dict() for finding in report.repaired],
        "counts": report.counts,
        "looked": report.looked,
        "decoded": report.decoded,
        "path": report.path,
    }


def report_lines(report: Report, speaker: Speaker) -> Iterator[str]:
    """What was repaired, what agrees, how many pictures decode, and a table of everything found."""
    for finding in report.repaired:
        values = {"name": finding.dataset, "shard": finding.shard, "problem": finding.problem}
        yield speaker.say("repaired", **values)
    broken = {finding.dataset for finding in report.findings if finding.problem not in CLASSES}
    for name, body in report.manifests.items():
        if name not in broken:
            yield speaker.say("verified", name=name, shards=len(body.shards))
    for name, looked in report.looked.items():
        samples = count_text(report.manifests[name].samples)
        if name in report.decoded:
            decoded = count_text(report.decoded[name])
            yield speaker.say("verify-decoded", name=name, decoded=decoded, samples=samples)
        else:
            yield speaker.say("verify-looked", name=name, looked=count_text(looked), samples=samples)
    totals = add_counts(report.counts.values())
    if totals:
        yield ""
        head = (speaker.say("verify-class"), speaker.say("verify-count"), speaker.say("verify-meaning"))
        order = [name for name in (*DAMAGE, "extra", *CLASSES) if name in totals]
        rows = [(name, count_text(totals[name]), speaker.say(f"class-{name}")) for name in order]
        yield from table(head, rows, right=(1,))
    if report.path:
        yield speaker.say("verify-list", path=report.path)


def difference_lines(report: Report, speaker: Speaker) -> Iterator[str]:
    """What makes a verification fail, the first of it by name."""
    for finding in report.findings[:SHOWN]:
        where = f"{finding.shard}/{finding.key}" if finding.key else finding.shard
        values = {"shard": where, "problem": finding.problem, "detail": finding.detail}
        yield speaker.say("verify-found", name=finding.dataset, **values).rstrip()
    if len(report.findings) > SHOWN:
        yield speaker.say("verify-more", count=count_text(len(report.findings) - SHOWN))
