"""What the probes mean for the datasets: which ways carry each, how fast, and one command to type.

A dataset needs files; a file lies at one or more places; a place is reached over ways. Pure: the places
and ways come in as names, the outcomes as core/diagnosis.py read them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

MUCH_FASTER = 2.0
"""A longer command is only proposed if it brings more, or takes less than this part of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One part of a dataset: any of `places` will do. `size_bytes` is what lies there, if it is known."""

    dataset: str
    places: tuple[str, ...]
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to the outside: its proxy without login (empty: direct) and who named it.

    `origin` is a variable's name, `--proxy`, a config file, or `listener` for a proxy that was found
    running and that nothing names yet.
    """

    proxy: str = ""
    origin: str = ""

    @property
    def must_be_said(self) -> bool:
        """Whether `g3m get` uses it only if the command line says so."""
        return self.origin in ("--proxy", "listener")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Whether a place works over a way, and how fast if that was measured.

    `endpoint` is the hub that HF_ENDPOINT must name so that the place is used; empty if it is used now.
    `proxy_broken` is true where the way's proxy itself fails.
    """

    place: str
    way: Way
    works: bool
    rate_bytes_per_s: float | None = None
    endpoint: str = ""
    proxy_broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One dataset: the outcome that carries each part best, or the places of a part that none carries."""

    dataset: str
    carriers: tuple[Outcome, ...] = ()
    missing: tuple[str, ...] = ()
    size_bytes: int | None = None
    seconds: float | None = None
    """About how long the dataset takes at the measured speeds; None where one is not known."""

    @property
    def carried(self) -> bool:
        return not self.missing

    @property
    def rate_bytes_per_s(self) -> float | None:
        """The speed of its slowest part."""
        rates = [outcome.rate_bytes_per_s for outcome in self.carriers]
        return None if None in rates or not rates else min(rate for rate in rates if rate is not None)


def judge(needs: Sequence[Need], outcomes: Sequence[Outcome]) -> tuple[Verdict, ...]:
    """A verdict for each dataset, in the order of the needs."""
    names = dict.fromkeys(need.dataset for need in needs)
    return tuple(_judge([need for need in needs if need.dataset == name], outcomes) for name in names)


def _judge(needs: Sequence[Need], outcomes: Sequence[Outcome]) -> Verdict:
    carriers: list[Outcome] = []
    missing: list[str] = []
    seconds: list[float | None] = []
    for need in needs:
        fitting = [outcome for outcome in outcomes if outcome.works and outcome.place in need.places]
        if not fitting:
            missing += need.places
            continue
        best = max(fitting, key=_rank)
        carriers.append(best)
        rate = best.rate_bytes_per_s
        seconds.append(need.size_bytes / rate if rate and need.size_bytes is not None else None)
    sizes = [need.size_bytes for need in needs]
    return Verdict(
        dataset=needs[0].dataset,
        carriers=tuple(dict.fromkeys(carriers)),
        missing=tuple(dict.fromkeys(missing)),
        size_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
        seconds=None if missing or None in seconds else sum(time for time in seconds if time is not None),
    )


def _rank(outcome: Outcome) -> tuple[float, bool, bool]:
    """Fast before slow; at the same speed what is in use already, and what needs no proxy."""
    return outcome.rate_bytes_per_s or 0.0, not outcome.endpoint, not outcome.way.must_be_said


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to type: the datasets that can come, and what has to be said for it."""

    datasets: tuple[str, ...]
    proxy: str = ""
    endpoint: str = ""
    no_proxy: bool = False

    @property
    def command(self) -> str:
        """The line for a shell; empty if no dataset can come."""
        if not self.datasets:
            return ""
        words = [f"HF_ENDPOINT={shlex.quote(self.endpoint)}"] if self.endpoint else []
        words += ["g3m", "get", *map(shlex.quote, self.datasets)]
        words += ["--proxy", shlex.quote(self.proxy)] if self.proxy else []
        return " ".join([*words, "--no-proxy"] if self.no_proxy else words)


def choose(needs: Sequence[Need], outcomes: Sequence[Outcome]) -> Choice:
    """The shortest command that brings most datasets; a longer one only if it is worth it."""
    best: tuple[Choice, float] | None = None
    for endpoint, proxy in product(*_options(outcomes)):
        usable = [
            outcome
            for outcome in outcomes
            if outcome.endpoint in ("", endpoint)
            and (not outcome.way.must_be_said or outcome.way.proxy == proxy)
        ]
        # Another endpoint takes the place of the one in use.
        verdicts = [verdict for verdict in judge(needs, usable) if verdict.carried]
        choice = Choice(
            datasets=tuple(verdict.dataset for verdict in verdicts),
            proxy=proxy,
            endpoint=endpoint,
            no_proxy=not proxy and _only_broken(usable),
        )
        seconds = sum(verdict.seconds or 0.0 for verdict in verdicts)
        if best is None or _better(choice, seconds, *best):
            best = choice, seconds
    assert best is not None  # noqa: S101  # there is always the plain command
    return best[0]


def _options(outcomes: Iterable[Outcome]) -> tuple[list[str], list[str]]:
    """Endpoints and proxies that could be said, first what needs no word."""
    working = [outcome for outcome in outcomes if outcome.works]
    endpoints = dict.fromkeys(outcome.endpoint for outcome in working if outcome.endpoint)
    proxies = dict.fromkeys(outcome.way.proxy for outcome in working if outcome.way.must_be_said)
    return ["", *endpoints], ["", *proxies]


def _better(choice: Choice, seconds: float, best: Choice, best_seconds: float) -> bool:
    if len(choice.datasets) != len(best.datasets):
        return len(choice.datasets) > len(best.datasets)
    return seconds * MUCH_FASTER < best_seconds


def _only_broken(outcomes: Sequence[Outcome]) -> bool:
    """Whether each proxy that would be tried is broken itself: then what comes, comes directly."""
    proxied = [outcome for outcome in outcomes if outcome.way.proxy]
    return bool(proxied) and all(outcome.proxy_broken for outcome in proxied)
