"""What a step needs from the world, opened in one place a reader can see.

A session is made of settings, variables and a home folder; tests make one with a script of answers in
place of HTTP and with no waiting. Nothing here decides anything.
"""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from threading import Event as Flag

from g3m.adapters.credentials import hub_token, kaggle_token
from g3m.adapters.curl import HttpOptions
from g3m.adapters.disk import Store
from g3m.adapters.guard import Guard
from g3m.adapters.hosts import Hosts
from g3m.adapters.http import Http
from g3m.adapters.pace import Pace
from g3m.adapters.peers import PeerBook
from g3m.adapters.ports import Shelf
from g3m.adapters.recipes import Recipes
from g3m.core.errors import Interrupted, SettingsError
from g3m.core.limits import Timetable, parse_duration
from g3m.core.proxies import Ways, find_ways
from g3m.core.retry import Policy
from g3m.core.schedule import Limits
from g3m.core.settings import Settings
from g3m.core.treatment import settings_policy

USER_AGENT = f"g3m/0.1 ({platform.system()}; python {platform.python_version()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Settings, the store, the network and the clock of one run."""

    settings: Settings
    store: Store
    http: Http
    recipes: Recipes
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    home: Path = Path()
    ways: Ways = field(default_factory=Ways)
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    pace: Pace = field(default_factory=lambda: Pace(None, time.monotonic))
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    peers: PeerBook = field(default_factory=PeerBook)
    guard: Guard | None = None
    """Where pictures are decoded; whoever runs a plan opens it and closes it again."""
    hosts: Hosts = field(default_factory=Hosts)
    """What is known of the hosts of lists; whoever gathers closes it."""
    lanes: int = 0
    """How many tasks run beside the downloads; 0: as many as `--jobs` says."""
    width: int = 1
    """How many tasks may run in all processes of the run; what a host is allowed is shared out among them."""
    shelf: Shelf | None = None
    """Where the dataset goes if not below the root of this machine: a bucket."""
    stop: Flag = field(default_factory=Flag)

    def check_stop(self) -> None:
        """Raise Interrupted if somebody asked to stop; called in every loop that takes long."""
        if self.stop.is_set():
            raise Interrupted("stopped")

    def wait(self, seconds: float) -> None:
        """Wait, but not beyond a request to stop."""
        end_s = self.monotonic() + seconds
        while (left_s := end_s - self.monotonic()) > 0:
            self.check_stop()
            self.sleep(min(left_s, 0.2))


def open_session(
    settings: Settings,
    *,
    variables: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Session:
    """A session over the real network and disk; `variables` default to the process's environment."""
    variables = dict(os.environ) if variables is None else variables
    home = Path.home() if home is None else home
    stop = Flag()
    problem, ways = None, Ways()
    try:
        ways = find_ways(settings.proxy, no_proxy=settings.no_proxy, variables=variables)
    except SettingsError as error:
        problem = error  # it stops whoever wants the network, and nobody else
    tokens = [
        token
        for token in (
            hub_token(variables, home, settings.hub_token_hosts),
            kaggle_token(variables, home, settings.kaggle_token_hosts),
        )
        if token is not None
    ]
    options = HttpOptions(
        user_agent=USER_AGENT,
        stall_timeout_s=settings.stall_timeout_s,
        buffer_bytes=16 * 1024 if settings.bwlimit else 128 * 1024,
        tokens=tokens,
        variables=variables,
        stopping=stop.is_set,
        allow_private=settings.allow_private,
    )
    timetable = Timetable.parse(settings.bwlimit) if settings.bwlimit else None
    if settings.max_time:
        parse_duration(settings.max_time)  # a mistake is told before anything begins
    settings_policy(settings)
    return Session(
        settings=settings,
        store=Store(Path(settings.root)),
        http=Http(options, ways, settings.connections, problem),
        recipes=Recipes([Path(folder).expanduser() for folder in settings.recipes]),
        variables=variables,
        home=home,
        ways=ways,
        limits=Limits(connections=settings.connections, stall_s=settings.stall_timeout_s),
        pace=Pace(timetable, time.monotonic),
        hosts=Hosts(allow_private=settings.allow_private, ask_robots=not settings.ignore_robots_txt),
        stop=stop,
    )
