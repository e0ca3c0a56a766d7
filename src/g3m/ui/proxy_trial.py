"""`g3m proxy test`: delays of all, throughput of the chosen node, and of others if the user consents."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event as Flag
from types import FrameType
from typing import Any

from g3m.adapters.sampling import Limits, Sample
from g3m.core.cores import Node, choosable, group_for
from g3m.core.errors import Interrupted, UsageError
from g3m.steps.choices import Choices
from g3m.steps.nodes import (
    Traced,
    Trial,
    Wish,
    best,
    delay_url,
    look_around,
    measure_each,
    target_of,
    trace,
)
from g3m.ui.options import Context, print_json, print_lines
from g3m.ui.proxy_views import chain_text, traced_row, trial_lines

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIMITS = Limits()
SECONDS_EACH = 4
"""Two of reading, and about as long to connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a user wants to know about which nodes."""

    wish: Wish
    names: tuple[str, ...]
    group: str
    dataset: str
    url: str
    count: int
    timeout_s: float


def run_trial(question: Question, context: Context, choices: Choices, agreed: Callable[[str], bool]) -> None:
    """Test, measure, and print a table or JSON; `agreed` asks for consent to choose other nodes."""
    session = context.session
    found = look_around(session, question.wish)
    core, target = found.need_core(), target_of(session, question.dataset, question.url)
    first = trace(found, target, LIMITS, session)
    known = core.nodes()
    group = _group(question, known, first)
    now, names = known[group].now, _names(question, known[group], known)
    url = delay_url(found.version, target)
    delays = core.delays_ms(names, url, int(question.timeout_s * 1000)) if url else {}
    others = [name for name in names if name != now]
    trial = Trial(
        core=core,
        group=group,
        names=tuple(others) if question.names else best(others, delays, question.count),
        choices=choices,
    )
    traces, restored = {now: first}, None
    if trial.names and agreed(_words(trial, now, context)):
        context.tell(context.speaker.say("proxy-felt"))
        with _stop_on_signals(session.stop):
            restored = measure_each(
                trial, lambda: trace(found, target, LIMITS, session), traces.__setitem__, session
            )
        key = "proxy-put-back" if restored else "proxy-not-put-back"
        context.tell(context.speaker.say(key, group=group, former=now))
    elif trial.names:
        context.tell(context.speaker.say("proxy-measure-yes"))
    rows = [_row(name, now, delays, traces) for name in dict.fromkeys([now, *names])]
    if context.json:
        print_json({"host": first.sample.host, "group": group, "nodes": rows, "restored": restored})
        return
    head = context.speaker.say("proxy-tested", host=first.sample.host, group=group)
    print_lines([head, *trial_lines(rows, context.speaker)])
    fastest = max(rows, key=lambda row: row["rate_bytes_per_s"] or 0.0)
    if fastest["rate_bytes_per_s"] and not fastest["chosen"]:
        words = shlex.join(["g3m", "proxy", "use", "--group", group, "--", fastest["name"]])
        context.say("proxy-fastest", node=fastest["name"], command=words)


def _words(trial: Trial, now: str, context: Context) -> str:
    names, seconds = ", ".join(trial.names), SECONDS_EACH
    say = context.speaker.say
    return say("proxy-may-measure", names=names, group=trial.group, seconds=seconds, former=now)


def _group(question: Question, known: dict[str, Node], first: Traced) -> str:
    """The group to choose in; UsageError if the host does not go through it, for then nothing is learnt."""
    chain = first.link.chain if first.link else ()
    member = question.names[0] if question.names else ""
    group = group_for(known, chain, member=member, named=question.group)
    if first.link is not None and group not in chain:
        way = f"rule {first.link.rule}, {chain_text(first.link)}"
        raise UsageError(f"{first.sample.host} does not go through {group!r}: {way}", hint=_OTHER_WAY)
    return group


_OTHER_WAY = (
    "only a rule in the core's config changes that; --url measures another host",
    "只有修改内核配置中的规则才能改变；--url 可换一个主机测量",
)


def _names(question: Question, group: Node, known: dict[str, Node]) -> tuple[str, ...]:
    possible = choosable(group, known)
    strangers = [name for name in question.names if name not in possible]
    if strangers:
        raise UsageError(
            f"{group.name!r} has no node {strangers[0]!r}",
            hint=("`g3m proxy nodes` lists groups and nodes", "`g3m proxy nodes` 会列出分组和节点"),
        )
    return tuple(dict.fromkeys(question.names)) or possible


def _row(name: str, now: str, delays: dict[str, int], traces: dict[str, Traced]) -> dict[str, Any]:
    measured = traced_row(traces.get(name, _NOT_MEASURED))
    return {"name": name, "chosen": name == now, "delay_ms": delays.get(name), **measured}


_NOT_MEASURED = Traced(Sample(host=""))


@contextmanager
def _stop_on_signals(stop: Flag) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP ask to stop, as often as they come: the choice must be put back first."""
    numbers: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)
        stop.set()

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    except Interrupted as error:
        error.exit_code = 128 + numbers[0] if numbers else error.exit_code
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
