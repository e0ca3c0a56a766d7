"""Running tests over a fault, each time in a process of its own. Not for here: which faults, and which tests.

Most faults lie in one function. For those the tests are collected once, and each process exchanges the function:
that saves most of the time, but what was computed while collecting was computed without the fault. So whoever
lives is tried again with the fault in the file.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from tests.mutation.mutants import Mutants

WALL_LIMIT_S = 900
MEMORY_LIMIT_BYTES = 4 * 2**30
_CANNOT = 99
"""Exit code of a process that could not exchange its function."""


def outcome(tests: Sequence[str], limit_s: int) -> tuple[str, float]:
    """What became of the tests with the files as they lie there, and how long they computed.

    lives: all passed; killed: one failed; endless: they did not end, or took too much memory.
    """
    code, cpu_s = _in_child(partial(_pytest, tests), limit_s)
    if code in (4, 5):
        raise SystemExit(f"no tests ran: {tests}")
    return {0: "lives", None: "endless"}.get(code, "killed"), cpu_s


def quick_outcomes(
    mutants: Mutants, numbers: Sequence[int], tests: Sequence[str], limit_s: int
) -> Iterator[tuple[int, str]]:
    """Those of some mutants that tests notice when functions are exchanged; none for all others."""
    inner = [number for number in numbers if mutants.function(number)]
    if not inner:
        return
    told, tell = os.pipe()

    def try_all(session: pytest.Session) -> None:
        module = sys.modules[f"g3m.core.{mutants.module}"]
        # A function exchanged for itself must be noticed by nobody: else nothing found in this way counts.
        same = partial(_exchanged, session, module, mutants.source, mutants.function(inner[0]))
        if _in_child(same, limit_s)[0] != 0:
            os._exit(0)
        for number in inner:
            changed = partial(_exchanged, session, module, mutants[number].source, mutants.function(number))
            code, _ = _in_child(changed, limit_s)
            if code not in (0, _CANNOT):
                os.write(tell, f"{number} {'endless' if code is None else 'killed'}\n".encode())
        os._exit(0)

    nest = os.fork()
    if nest == 0:
        os.close(told)
        _quietly(partial(_pytest, tests, _Hatch(try_all)))
    os.close(tell)
    with open(told, encoding="ascii") as lines:
        for line in lines:
            number, found = line.split()
            yield int(number), found
    os.waitpid(nest, 0)


class _Hatch:
    """A plugin of pytest's that acts in place of running what was collected."""

    def __init__(self, act: Callable[[pytest.Session], None]) -> None:
        self._act = act

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        self._act(session)


def _exchanged(session: pytest.Session, module: ModuleType, source: str, place: str) -> int:
    """Run the collected tests with one function of a module exchanged for that of another source."""
    try:
        fresh = ModuleType(module.__name__)
        exec(compile(source, str(module.__file__), "exec"), vars(fresh))
        old, new = (_function(home, place) for home in (module, fresh))
        old.__code__, old.__defaults__, old.__kwdefaults__ = (
            new.__code__,
            new.__defaults__,
            new.__kwdefaults__,
        )
    except BaseException:
        return _CANNOT
    for thing in vars(module).values():
        if hasattr(thing, "cache_clear"):
            thing.cache_clear()
    try:
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return 1
    except BaseException:
        return 1
    return 0


def _function(home: ModuleType, place: str) -> FunctionType:
    """A function or method behind its decorators."""
    found: Any = home
    for name in place.split("."):
        found = vars(found)[name]
    while not isinstance(found, FunctionType) or hasattr(found, "__wrapped__"):
        found = found.fget if isinstance(found, property) else found.__wrapped__
    return found


def _in_child(act: Callable[[], int], limit_s: int) -> tuple[int | None, float]:
    """What an act in a process of its own gave, None if it was ended, and how long it computed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        _, most_s = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, most_s))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
        _quietly(act)
    give_up = time.monotonic() + WALL_LIMIT_S
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None, used.ru_utime + used.ru_stime
        if time.monotonic() > give_up:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.005)


def _quietly(act: Callable[[], int]) -> None:
    """End this process with what an act gives, and show nothing of it."""
    code = 3
    try:
        if not os.environ.get("G3M_MUTATION_SHOW"):
            silence = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(silence, descriptor)
        code = act()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _pytest(tests: Sequence[str], *plugins: object) -> int:
    folder = Path(tempfile.mkdtemp(prefix="base-", dir="."))
    options = [
        "-x",
        "-q",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    try:
        return int(
            pytest.main(
                [*options, "--hypothesis-profile", "mutate", "--basetemp", str(folder / "base"), *tests],
                plugins=list(plugins),
            )
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
