"""What `g3m doctor` shows of the network: JSON with everything, and one screen for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from g3m.core.diagnosis import PROXY_WIDE, fake_addresses
from g3m.core.errors import Bilingual
from g3m.core.verdicts import Choice, Verdict, Way, choose, judge
from g3m.steps.diagnose import Finding, Survey
from g3m.steps.nodes import Found
from g3m.ui.figures import duration_text, size_text
from g3m.ui.proxy_views import WARNINGS, status
from g3m.ui.words import Speaker

NETWORK_SCHEMA = 1
WIDTH, HEIGHT = 100, 24
"""One screen."""

COLUMN = 30
"""Hosts longer than this push their line to the right."""

FEWEST_ROWS = 6
_WIDE = re.compile(r"[\u2e80-\uffff]|[^\s\u2e80-\uffff]+|\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found out, in the order of the survey."""

    survey: Survey
    names: tuple[str, ...] = ()
    """The datasets and groups as they were named."""

    findings: tuple[Finding, ...] = ()
    around: Found = field(default_factory=Found)
    notes: tuple[Bilingual, ...] = ()
    seconds: float = 0.0
    has_token: bool = False

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return judge(self.survey.needs, [finding.outcome for finding in self.findings])

    @property
    def choice(self) -> Choice:
        choice = choose(self.survey.needs, [finding.outcome for finding in self.findings])
        everything = set(choice.datasets) == {need.dataset for need in self.survey.needs}
        return replace(choice, datasets=self.names) if everything and self.names else choice

    @property
    def broken(self) -> dict[Way, Finding]:
        """The ways whose proxy itself fails, whatever is asked for, each with one finding that says how."""
        found: dict[Way, Finding] = {}
        for way in self.survey.ways:
            mine = [finding for finding in self.findings if finding.line.way == way]
            if mine and all(finding.cause.key in PROXY_WIDE for finding in mine):
                found[way] = mine[0]
        return found

    @property
    def hosts_with_token(self) -> tuple[str, ...]:
        hops = [hop for finding in self.findings for hop in finding.probe.hops]
        return tuple(sorted({hop.host for hop in hops if hop.signed_in}))

    @property
    def hosts_without_token(self) -> tuple[str, ...]:
        hops = [hop for finding in self.findings for hop in finding.probe.hops]
        return tuple(sorted({hop.host for hop in hops if hop.stage != "dns"} - set(self.hosts_with_token)))


def network(report: Report) -> dict[str, Any]:
    """The JSON form; the schema rises when a key changes its meaning or goes."""
    return {
        "schema": NETWORK_SCHEMA,
        "seconds": round(report.seconds, 2),
        "ways": [{"way": way_name(way), "from": way.origin or None} for way in report.survey.ways],
        "places": [
            {
                "place": place.name,
                "in_use": not place.endpoint,
                "datasets": [need.dataset for need in report.survey.needs if place.name in need.places],
            }
            for place in report.survey.places
        ],
        "probes": [_probe(finding) for finding in report.findings],
        "datasets": [_verdict(verdict) for verdict in report.verdicts],
        "token_sent_to": list(report.hosts_with_token),
        "notes": [note[0] for note in report.notes],
        **_machine(report.around),
        "command": report.choice.command or None,
    }


def _machine(around: Found) -> dict[str, Any]:
    """The core and the proxies that run here, as `g3m proxy status --json` has them."""
    body = status(around, None)
    return {"core": body["core"], "core_warnings": body["warnings"], "listeners": body["listeners"]}


def _probe(finding: Finding) -> dict[str, Any]:
    hops = [
        asdict(hop) | {"flags": sorted(hop.flags), "addresses": list(hop.addresses)}
        for hop in finding.probe.hops
    ]
    return {
        "place": finding.line.place.name,
        "way": way_name(finding.line.way),
        "file": finding.file,
        "wanted_bytes": finding.probe.wanted_bytes,
        "works": finding.cause.works,
        "cause": finding.cause.key,
        "host": finding.cause.host,
        "words": finding.cause.words[0],
        "rate_bytes_per_s": finding.probe.rate_bytes_per_s,
        "speeds": [asdict(speed) for speed in finding.probe.speeds],
        "hops": hops,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "dataset": verdict.dataset,
        "carried": verdict.carried,
        "over": [{"place": one.place, "way": way_name(one.way)} for one in verdict.carriers],
        "missing": list(verdict.missing),
        "size_bytes": verdict.size_bytes,
        "rate_bytes_per_s": verdict.rate_bytes_per_s,
        "seconds": None if verdict.seconds is None else round(verdict.seconds),
    }


def way_name(way: Way) -> str:
    """`direct`, or the proxy's address without a login."""
    return way.proxy or "direct"


def network_lines(report: Report, speaker: Speaker) -> Iterator[str]:
    """One screen for people: ways, hosts, datasets, a command."""
    head = [*_head_lines(report, speaker)]
    tail = [*_tail_lines(report, speaker)]
    room = max(FEWEST_ROWS, HEIGHT - len(head) - len(tail))
    yield from head
    yield from _host_lines(report, room, speaker)
    yield from tail


def _head_lines(report: Report, speaker: Speaker) -> Iterator[str]:
    survey, broken = report.survey, report.broken
    time = duration_text(report.seconds)
    yield speaker.say("doctor-head", places=len(survey.places), ways=len(survey.ways), time=time)
    core, version = report.around.core, report.around.version
    if core is not None and version is not None:
        mode = report.around.state.mode or "?"
        values = {"kind": version.kind, "number": version.number, "controller": core.controller}
        yield from _wrapped(speaker.say("doctor-core", mode=mode, **values))
    for risk in report.around.risks:
        yield from _wrapped(speaker.say(WARNINGS[risk]))
    for item in report.around.listeners:
        if item.owner == "other":
            yield speaker.say("doctor-other-user", port=item.port)
    for way in survey.ways:
        if way.proxy:
            text = _way_line(way, speaker)
            if way in broken:
                cause = speaker.pick(broken[way].cause.words)
                text = speaker.say("doctor-broken", way=text, cause=cause)
            yield from _wrapped(text)
    for note in report.notes:
        yield from _wrapped(speaker.say("doctor-note", note=speaker.pick(note)))
    fake = [hop for finding in report.findings for hop in finding.probe.hops if fake_addresses(hop)]
    if fake:
        yield from _wrapped(speaker.say("doctor-fake", host=fake[0].host, address=fake[0].addresses[0]))


def _way_line(way: Way, speaker: Speaker) -> str:
    scheme, host = way.proxy.partition("://")[0], _label(way, speaker)
    if way.origin == "listener":
        return speaker.say("doctor-way-found", way=host, scheme=scheme)
    known = way.origin.startswith("--") or way.origin.lower().endswith("_proxy")
    origin = way.origin if known else speaker.say("doctor-way-config")
    return speaker.say("doctor-way", way=host, scheme=scheme, origin=origin)


def _tail_lines(report: Report, speaker: Speaker) -> Iterator[str]:
    for line in _verdict_lines(report.verdicts, speaker):
        yield from _wrapped(line)
    if report.has_token:
        seen, others = ", ".join(report.hosts_with_token), len(report.hosts_without_token)
        kept = speaker.say("doctor-token-kept")
        yield from _wrapped(speaker.say("doctor-token-seen", hosts=seen, others=others) if seen else kept)
    choice = report.choice
    if not choice.datasets:
        yield from _wrapped(speaker.say("doctor-no-command"))
        return
    known = [verdict.seconds for verdict in report.verdicts if verdict.carried]
    total = None if None in known else sum(seconds for seconds in known if seconds is not None)
    time = speaker.say("doctor-time", time=duration_text(total)) if total and total >= 60 else ""
    line = speaker.say("doctor-command", command=choice.command, time=time)
    # A command is copied: it is never broken into lines.
    yield line if _columns(line) <= WIDTH else speaker.say("doctor-command", command=choice.command, time="")


def _verdict_lines(verdicts: Sequence[Verdict], speaker: Speaker) -> Iterator[str]:
    """Datasets that fare alike share a line."""
    groups: dict[tuple[bool, tuple[str, ...]], list[Verdict]] = {}
    for verdict in verdicts:
        ways = sorted({_label(one.way, speaker) for one in verdict.carriers})
        key = verdict.carried, tuple(ways) if verdict.carried else verdict.missing
        groups.setdefault(key, []).append(verdict)
    for (carried, what), group in groups.items():
        names = ", ".join(verdict.dataset for verdict in group)
        if not carried:
            yield speaker.say("doctor-not-carried", names=names, places=", ".join(what))
            continue
        rates = [verdict.rate_bytes_per_s for verdict in group if verdict.rate_bytes_per_s]
        rate = speaker.say("doctor-at", rate=size_text(min(rates))) if rates else ""
        yield speaker.say("doctor-carried", names=names, ways=" + ".join(what), rate=rate)


Row = tuple[str, list[tuple[str, str]]]
"""Hosts that fare alike, and for each way what was found."""


def _rows(report: Report, speaker: Speaker, *, brief: bool = False) -> list[Row]:
    broken = report.broken
    places: dict[str, list[tuple[str, str]]] = {}
    for place in report.survey.places:
        mine = [f for f in report.findings if f.line.place == place and f.line.way not in broken]
        texts: dict[str, list[str]] = {}
        for finding in sorted(mine, key=lambda one: bool(one.line.way.proxy)):
            text = finding_text(finding, speaker, brief=brief)
            texts.setdefault(text, []).append(_label(finding.line.way, speaker))
        places[place.name] = [(", ".join(ways), text) for text, ways in texts.items()]
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, found in places.items():
        # Only what fails alike is put together: every speed belongs to one host.
        groups.setdefault(tuple(found), []).append(name)
    return [(", ".join(names), list(found)) for found, names in groups.items() if found]


def finding_text(finding: Finding, speaker: Speaker, *, brief: bool = False) -> str:
    """What a probe found, in a few words: the speed, or the cause; `brief` leaves out a good redirect."""
    cause, first = finding.cause, finding.probe.hops[0].host
    if not cause.works:
        words = speaker.pick(cause.words)
        return words if cause.host == first else speaker.say("doctor-leads", host=cause.host, cause=words)
    text = _speed_text(finding, speaker)
    direct = brief or cause.host == first
    return text if direct else speaker.say("doctor-over", speed=text, host=cause.host)


def _speed_text(finding: Finding, speaker: Speaker) -> str:
    rates = {one.connections: one.rate_bytes_per_s for one in finding.probe.speeds if one.rate_bytes_per_s}
    key = finding.cause.key
    if key == "throttled":
        count, several = max(rates.items())
        return speaker.say(
            "doctor-throttled", one=size_text(rates[1]), several=size_text(several), count=count
        )
    if not rates or key in ("whole-only", "breaks"):
        return speaker.pick(finding.cause.words)
    best = size_text(finding.probe.rate_bytes_per_s)
    return speaker.say("doctor-slow" if key == "slow" else "doctor-rate", rate=best)


def _label(way: Way, speaker: Speaker) -> str:
    return way.proxy.partition("://")[2].rpartition("@")[2] if way.proxy else speaker.say("doctor-direct")


def _host_lines(report: Report, room: int, speaker: Speaker) -> list[str]:
    """The hosts in as many lines as there is room: one for each way, or one for each host, or the first."""
    lines = list(_row_lines(_rows(report, speaker), speaker))
    if len(lines) > room:
        lines = list(_joined_lines(_rows(report, speaker, brief=True), speaker))
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], speaker.say("doctor-more", count=len(lines) - room + 1)]


def _row_lines(rows: Sequence[Row], speaker: Speaker) -> Iterator[str]:
    column = max((len(names) for names, _ in rows if len(names) <= COLUMN), default=0) + 2
    for names, found in rows:
        head = speaker.say("doctor-host", host=f"{names}  ".ljust(column))
        for ways, text in found:
            yield from _wrapped(f"{head}{ways}: {text}", 12 + column)
            head = " " * (10 + column)


def _joined_lines(rows: Sequence[Row], speaker: Speaker) -> Iterator[str]:
    for names, found in rows:
        head = speaker.say("doctor-host", host=names)
        yield from _wrapped(f"{head}  " + "; ".join(f"{ways}: {text}" for ways, text in found), 12)


def _wrapped(text: str, indent: int = 10) -> Iterator[str]:
    """Lines of at most `WIDTH` columns; Chinese may break between any two characters."""
    line, width = "", 0
    for part in _WIDE.findall(text):
        part_width = _columns(part)
        if width + part_width > WIDTH and line.strip() and not part.isspace():
            yield line.rstrip()
            line, width = " " * indent, indent
        line, width = line + part, width + part_width
    yield line.rstrip()


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
