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
from g3m.adapters.disk import Store
from g3m.adapters.http import Http, HttpOptions
from g3m.adapters.ports import Fetcher
from g3m.adapters.recipes import Recipes
from g3m.core.errors import Interrupted
from g3m.core.retry import Policy
from g3m.core.settings import Settings

USER_AGENT = f"g3m/0.1 ({platform.system()}; python {platform.python_version()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Settings, the store, the network and the clock of one run."""

    settings: Settings
    store: Store
    http: Fetcher
    recipes: Recipes
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    home: Path = Path()
    policy: Policy = field(default_factory=Policy)
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
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
        tokens=tokens,
        variables=variables,
        stopping=stop.is_set,
    )
    return Session(
        settings=settings,
        store=Store(Path(settings.root)),
        http=Http(options),
        recipes=Recipes([Path(folder).expanduser() for folder in settings.recipes]),
        variables=variables,
        home=home,
        stop=stop,
    )
