"""What a row of a crowd must pass before each request: its name, robots.txt, its host's limit.

A row waits before the first door that is shut, and passes all of them anew at every hop of a redirect. Which
proxy carries it is chosen here too.
"""

from __future__ import annotations

from collections import Counter

from g3m.adapters.hosts import Hosts, Rules
from g3m.adapters.rows import Door, Over, Row
from g3m.adapters.slot import Ask, Reply
from g3m.core.manners import NETWORK, OTHER_WAY, ROBOTS, CrowdLimits, robots_rule
from g3m.core.outcomes import STAND_IN, http_reason
from g3m.core.proxies import Ways
from g3m.core.weburl import web_address

ROBOTS_BYTES = 512 * 1024
WAY_FAILURES = 10
"""After so many failures in a row another way is tried first."""

_UNRESOLVED = ("name_unknown", "name_failed", STAND_IN)
"""Where a name leads is not known here; a proxy that the user named may know."""

_TOLD_ALIKE = NETWORK | {"cut_off", http_reason(429), http_reason(503)}
"""What a request for robots.txt may end with that says of its host what any other would."""


class Doors:
    """The doors of one task, over what all tasks know of hosts."""

    def __init__(self, ways: Ways, hosts: Hosts, limits: CrowdLimits) -> None:
        self._ways, self._hosts, self._limits = ways, hosts, limits
        self._failures: Counter[str] = Counter()
        self.errands: list[Row] = []
        """Requests for robots.txt that somebody has to begin."""

    def open(self, row: Row) -> Ask | Over | Door:
        """The request that may be made now (the host's place is taken), or the end, or what to wait for."""
        target = row.target
        known = self._hosts.names.ask(target.host)
        if known is None:
            return ("name", target.host)
        way = self._way(row)
        if known.reason and not (way and known.reason in _UNRESOLVED):  # such a name is left to the proxy
            return Over(known.reason, known.detail)
        if self._hosts.ask_robots and not row.robots_of:
            shut = self._robots(row)
            if shut is not None:
                return shut
        answer = self._hosts.start(target.host, self._limits.per_host)
        if answer == "silent":
            return Over("timeout", "its host has answered nothing", hearsay=True)
        if answer != "yes":
            return ("host", target.host)
        row.host, row.way = target.host, way
        row.tries, row.begins = row.tries + row.begins, False
        # A second try goes to the next address of the name, if there are several.
        address = known.addresses[(row.tries - 1) % len(known.addresses)] if known.addresses else ""
        return Ask(
            url=target.url,
            address=address,
            port=target.port,
            way=way,
            seconds=self._limits.total_s - row.spent_s,
            limit_bytes=ROBOTS_BYTES if row.robots_of else self._limits.body_bytes,
            picture=not row.robots_of,
        )

    def leave(self, row: Row, reason: str, asked_s: float = 0.0, waited_s: float = 0.0) -> None:
        """A request ended: its place is free, and what it tells of the host and the way is kept.

        `asked_s` is what a Retry-After header said, `waited_s` how long it was without a single byte.
        """
        # What breaks on a proxy may be the proxy's doing: it says nothing of the host.
        told = "cut_off" if row.way and reason in OTHER_WAY else reason
        if row.robots_of and told not in _TOLD_ALIKE:
            told = ROBOTS  # an answer, but none to a request for a picture
        self._hosts.end(row.host, told, asked_s, 0.0 if row.way else waited_s)
        if reason in OTHER_WAY:
            self._failures[row.way] += 1
            row.tried.add(row.way)
        else:
            self._failures[row.way] = 0

    def has_other_way(self, row: Row) -> bool:
        """Whether the row may be tried on a way on which it did not fail."""
        return bool(self._ways.proxies) and not row.tried.issuperset(self._ways_of(row))

    def settle(self, row: Row, reply: Reply, why: Over) -> None:
        """What came of a request for robots.txt (RFC 9309, 2.3.1): what did not come forbids for a minute."""
        rule = robots_rule(reply.status) if reply.status else "closed"
        if why.reason == "redirects" or (row.hops and not reply.status and why.reason not in NETWORK):
            rule = "free"  # it leads nowhere, which is as good as none
        if rule == "closed":
            rules = self._hosts.robots_failed(why.reason, f"robots.txt: {why.detail}")
        else:
            rules = Rules(reply.body.decode("utf-8", "replace") if rule == "rules" else "")
        self._hosts.settle(row.robots_of, rules)

    def give_up(self, row: Row) -> None:
        """A row is left behind: if others wait for its robots.txt, they may ask themselves."""
        if row.robots_of:
            self._hosts.settle(row.robots_of, None)

    def _robots(self, row: Row) -> Over | Door | None:
        rules = self._hosts.rules(row.origin)
        if isinstance(rules, Rules):
            if rules.reason:
                return Over(rules.reason, rules.detail, hearsay=True)
            return None if rules.allows(row.target.url) else Over("robots", "robots.txt")
        if rules == "ask":
            self.errands.append(Row(-1, web_address(f"{row.origin}/robots.txt"), robots_of=row.origin))
        return ("robots", row.origin)

    def _ways_of(self, row: Row) -> tuple[str, ...]:
        """The ways that may carry a row: for a name that nobody knows here, only those through a proxy."""
        ways, known = self._ways.of(row.target.url), self._hosts.names.ask(row.target.host)
        is_lost = known is not None and known.reason in _UNRESOLVED
        return tuple(way for way in ways if way or not is_lost) or ways

    def _way(self, row: Row) -> str:
        """The first way on which this row did not fail, if possible one that works for others."""
        if not self._ways.proxies:
            return ""
        ways = self._ways_of(row)
        untried = [way for way in ways if way not in row.tried] or list(ways)
        working = (way for way in untried if self._failures[way] < WAY_FAILURES)
        return next(working, untried[0])
