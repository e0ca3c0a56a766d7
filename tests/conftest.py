"""What all tests share: Hypothesis without a clock, because CI machines are slow; a skip is a failure.

The examples are the same in every run, so that a change is judged by what it changes. Who looks for
new ones says `pytest --hypothesis-profile search`.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

settings.register_profile("g3m", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.register_profile(
    "mutate", deadline=None, derandomize=True, max_examples=25, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("g3m")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test was skipped: what is not tested must not look tested."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
