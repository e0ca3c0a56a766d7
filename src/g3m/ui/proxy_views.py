"""What the commands of `g3m proxy` show: rows for JSON, lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from g3m.adapters.listeners import Listener
from g3m.core.cores import CONTROLLER_PORTS, Link, Node
from g3m.steps.nodes import Found, Traced
from g3m.ui.figures import size_text, table
from g3m.ui.shell_lines import without_login
from g3m.ui.words import Speaker, printable

WARNINGS = {
    "open-controller": "proxy-warn-controller",
    "empty-secret": "proxy-warn-secret",
    "open-proxy": "proxy-warn-open",
}
OWNERS = {"yours": "proxy-yours", "system": "proxy-system", "other": "proxy-other"}
CORE_OWNERS = {"yours": "proxy-yours", "other": "proxy-other-core"}


def status(found: Found, traced: Traced | None) -> dict[str, Any]:
    """`g3m proxy status --json`."""
    core: dict[str, Any] | None = None
    if found.core is not None and found.version is not None:
        core = {
            "controller": str(found.core.controller),
            "kind": found.version.kind,
            "version": found.version.number,
            "mode": found.state.mode,
            "ports": found.state.ports,
            "owner": found.owner,
        }
    return {
        "core": core,
        "locked": found.locked.message if found.locked else None,
        "proxy": without_login(found.proxy) or None,
        "listeners": [
            {
                "port": item.port,
                "speaks": list(item.speaks),
                "wants_login": item.wants_login,
                "owner": item.owner,
                "uid": item.uid,
            }
            for item in found.listeners
        ],
        "host": traced_row(traced) if traced else None,
        "warnings": list(found.risks),
    }


def traced_row(traced: Traced) -> dict[str, Any]:
    """A sample and the way it took, for JSON."""
    sample, link = traced.sample, traced.link
    return {
        "host": sample.host,
        "first_byte_s": sample.first_byte_s,
        "rate_bytes_per_s": sample.rate_bytes_per_s,
        "problem": sample.problem or None,
        "rule": link.rule if link else None,
        "chain": list(link.chain) if link else None,
    }


def status_lines(found: Found, traced: Traced | None, speaker: Speaker) -> Iterator[str]:
    """`g3m proxy status` for people."""
    yield from _core_lines(found, speaker)
    if found.proxy:
        yield speaker.say("proxy-used", proxy=without_login(found.proxy))
    for item in found.listeners:
        yield _listener_line(item, speaker)
    if not found.proxy and not found.listeners:
        yield speaker.say("proxy-none")
    if traced is not None:
        yield from _traced_lines(traced, found, speaker)
    for risk in found.risks:
        yield speaker.say(WARNINGS[risk])


def _core_lines(found: Found, speaker: Speaker) -> Iterator[str]:
    if found.locked is not None:
        hint = speaker.pick(found.locked.hint)
        yield speaker.say("proxy-locked", message=found.locked.message, hint=hint)
    elif found.core is None or found.version is None:
        yield speaker.say("proxy-no-core", ports=", ".join(map(str, CONTROLLER_PORTS)))
    else:
        owner = speaker.say(CORE_OWNERS[found.owner]) if found.owner in CORE_OWNERS else ""
        kind, number = found.version.kind, found.version.number
        yield speaker.say(
            "proxy-core", kind=kind, number=number, controller=found.core.controller, owner=owner
        )
        yield speaker.say("proxy-mode", mode=found.state.mode or "?")
        if found.state.ports:
            ports = ", ".join(f"{name} {port}" for name, port in found.state.ports.items())
            yield speaker.say("proxy-ports", ports=ports)


def _listener_line(item: Listener, speaker: Speaker) -> str:
    login = speaker.say("proxy-wants-login") if item.wants_login else ""
    owner = speaker.say(OWNERS[item.owner], uid=item.uid) if item.owner in OWNERS else ""
    speaks = ", ".join(item.speaks)
    return speaker.say("proxy-listener", port=item.port, speaks=speaks, login=login, owner=owner)


def _traced_lines(traced: Traced, found: Found, speaker: Speaker) -> Iterator[str]:
    sample, link = traced.sample, traced.link
    answer = sample.problem or speaker.say("proxy-answer", time=milliseconds(sample.first_byte_s))
    yield speaker.say("proxy-host", host=sample.host, answer=answer)
    if link is not None:
        yield speaker.say("proxy-way", rule=link.rule or "-", chain=chain_text(link))
        if len(link.chain) == 1 and found.state.mode != "global":
            yield speaker.say("proxy-way-fixed", node=link.chain[0])
    elif found.core is not None:
        yield speaker.say("proxy-way-unknown")


def chain_text(link: Link) -> str:
    """The way of a connection: groups from the outside in, the node last."""
    return " > ".join(link.chain)


def milliseconds(seconds: float | None) -> str:
    """A short time.

    >>> milliseconds(0.0123), milliseconds(None)
    ('12 ms', '-')
    """
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def nodes(known: Mapping[str, Node], wanted: Sequence[str]) -> dict[str, Any]:
    """`g3m proxy nodes --json`."""
    return {
        "groups": [
            {
                "name": group.name,
                "kind": group.kind,
                "by_hand": group.is_chosen_by_hand,
                "now": group.now,
                "nodes": list(group.members),
            }
            for group in known.values()
            if group.name in wanted
        ],
        "nodes": [
            {"name": node.name, "kind": node.kind, "delay_ms": node.delay_ms}
            for node in known.values()
            if not node.is_group
        ],
    }


def node_lines(known: Mapping[str, Node], wanted: Sequence[str], speaker: Speaker) -> Iterator[str]:
    """`g3m proxy nodes` for people: some groups, those that are chosen by hand first."""
    groups = [node for node in known.values() if node.name in wanted]
    for group in sorted(groups, key=lambda item: not item.is_chosen_by_hand):
        yield f"{_plain(group.name)} ({_plain(group.kind)})"
        for name in group.members:
            node = known.get(name, Node(name=name, kind="?"))
            mark = "*" if name == group.now else " "
            yield f"  {mark} {delay_text(node.delay_ms, speaker):>8}  {_plain(name)} ({_plain(node.kind)})"


def delay_text(delay_ms: int | None, speaker: Speaker) -> str:
    """The result of a delay test."""
    if delay_ms is None:
        return "-"
    return f"{delay_ms} ms" if delay_ms else speaker.say("proxy-failed")


def trial_lines(rows: list[dict[str, Any]], speaker: Speaker) -> Iterator[str]:
    """The table of `g3m proxy test`; a row is what its JSON says of a node."""
    # Names come last: many are as wide as two letters, and would push the columns apart.
    columns = ("proxy-column-delay", "proxy-column-rate", "proxy-column-first", "proxy-column-node")
    body = [
        [
            "*" if row["chosen"] else "",
            delay_text(row["delay_ms"], speaker),
            f"{size_text(row['rate_bytes_per_s'])}/s" if row["rate_bytes_per_s"] else "-",
            milliseconds(row["first_byte_s"]),
            _plain(row["name"]) + _remark(row, speaker),
        ]
        for row in rows
    ]
    yield from table(["", *(speaker.say(key) for key in columns)], body, right=(1, 2, 3))


def _remark(row: Mapping[str, Any], speaker: Speaker) -> str:
    if row["problem"]:
        return f": {_plain(row['problem'])}"
    chain = row["chain"]
    if chain and row["name"] not in chain:
        return f": {speaker.say('proxy-elsewhere', chain=_plain(' > '.join(chain)))}"
    return ""


def _plain(text: str) -> str:
    """A stranger's text on one line."""
    return printable(text).replace("\n", "?").replace("\t", "?")
