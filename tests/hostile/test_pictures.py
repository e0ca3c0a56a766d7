"""Hostile and damaged pictures at every place where one is opened: a verdict or a picture, and nothing falls.

By default some of the thousand damaged ones are tried; with G3M_SEARCH=all all of them are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.hostile.pictures import UNUSABLE, Case, cases, mutants

from g3m.adapters.guard import Guard, GuardFailure, Limits
from g3m.adapters.likeness import near, pictures
from g3m.core.structure import look
from g3m.core.treatment import ACTIONS, CLASSES, FIXES, Resize, Treatment, policy_problem
from g3m.steps.treat import Treater

MUTANTS = 1000 if os.environ.get("G3M_SEARCH") == "all" else 150
CASES = cases()
DAMAGED = dict(mutants(MUTANTS))
RESIZE = Resize(size=48)
SQUARE = Resize(size=48, mode="border")
LIMITS = Limits(memory_bytes=2**30, cpu_s=10, wall_s=60)
"""Half the memory that a worker may take by default."""


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    """Workers with less memory than they have by default."""
    with Guard(2, LIMITS) as guard:
        yield guard


@pytest.fixture(scope="module")
def loaded() -> dict[str, dict[str, str]]:
    """What the loader made of all of them, in a process of its own."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.hostile.loaded", str(MUTANTS)]
    done = subprocess.run(command, cwd=root, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


def answer(guard: Guard, operation: str, data: bytes, **options: Any) -> str:
    """The class for which an operation gives nothing; empty if it gives something."""
    try:
        made = guard.call(operation, data, options)
    except GuardFailure as failure:
        assert failure.finding in CLASSES
        assert len(str(failure)) < 300
        return failure.finding
    if operation == "redraw" and made.body["changed"]:
        drawn = look(made.data)
        assert (
            drawn.classes in ((), ("grayscale",), ("cmyk",), ("orientation",))
            or "orientation" in drawn.classes
        )
        assert min(drawn.width, drawn.height) <= RESIZE.size
    if operation == "thumbnail":
        drawn = look(made.data)
        assert (drawn.kind, drawn.classes) == ("jpeg", ())
        assert max(drawn.width, drawn.height) <= options["side"]
    if operation == "grey":
        assert len(made.data) == 256
    return ""


def same_everywhere(guard: Guard, name: str, data: bytes) -> bool:
    """Whether a picture comes out, which all who draw must agree about."""
    drawn = UNUSABLE.isdisjoint(guard.judge(data).classes)
    for side in (256, 2048):
        found = answer(guard, "thumbnail", data, side=side, square=False, quality=80)
        assert (found == "") == drawn, (name, "thumbnail", found)
    assert (answer(guard, "grey", data) == "") == drawn, (name, "grey")
    found = answer(guard, "redraw", data, resize=asdict(RESIZE))
    assert found == "" or not drawn, (name, "redraw", found)  # a small one is not even decoded
    found = answer(guard, "redraw", data, resize=asdict(SQUARE))
    assert (found == "") == drawn, (name, "redraw to a square", found)
    return drawn


def treatments() -> Iterator[Treatment]:
    """As it is by default; all that can be rejected, rejected; all that can be mended, mended; made small."""
    yield Treatment()
    for action in ACTIONS:
        named = {one: action for one in CLASSES if not policy_problem(one, action)}
        yield Treatment(policy=named)
    yield Treatment(policy=dict.fromkeys(FIXES, "fix"), resize=RESIZE)


def treated(guard: Guard, name: str, data: bytes) -> None:
    """Every treatment gives bytes or a reason, and what it says of them is so."""
    for treatment in treatments():
        became = Treater(treatment, guard).treat(data)
        assert bool(became.data) != bool(became.reason), name
        assert set(became.fixed) <= set(became.found) <= set(CLASSES), name
        if became.reason:
            assert became.reason in became.found, name
        elif became.fixed:
            assert not set(became.fixed) & set(look(bytes(became.data)).classes), name
        elif treatment.resize is None:
            assert bytes(became.data) == data, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_has_its_verdict(case: Case, guard: Guard, loaded: dict[str, dict[str, str]]) -> None:
    """The classes are those that are declared, and every place draws the picture or refuses it accordingly."""
    assert guard.judge(case.data).classes == case.classes
    assert same_everywhere(guard, case.name, case.data) == case.is_drawn
    treated(guard, case.name, case.data)
    assert set(loaded[case.name].values()) <= {
        "drawn" if case.is_drawn else "broken",
        *_left_to_the_device(case),
    }


def _left_to_the_device(case: Case) -> set[str]:
    """A JPEG whose header is sound is handed to the device as it is, which decodes it, or does not."""
    return {"drawn"} if look(case.data).kind == "jpeg" else set()


def test_mutants_have_a_verdict_everywhere(guard: Guard) -> None:
    """Damaged pictures are drawn at every place or at none; the hashes of those that are drawn can be compared."""
    drawn, hashes = 0, []
    for number, (name, data) in enumerate(DAMAGED.items()):
        is_drawn = same_everywhere(guard, name, data)
        drawn += is_drawn
        treated(guard, name, data)
        seen = guard.call("glimpse", data, {}).body
        assert set(seen["classes"]) <= set(CLASSES)
        assert UNUSABLE.isdisjoint(seen["classes"]) == is_drawn, name
        hashes.append((number, number.to_bytes(16, "big"), seen["rows"], seen["columns"]))
    assert MUTANTS * 0.2 < drawn < MUTANTS * 0.9, "the mutants are too tame, or too wild"
    for _ in near(pictures(hashes)):
        pass


def test_mutants_never_stop_a_training(guard: Guard, loaded: dict[str, dict[str, str]]) -> None:
    """The loader shows each, or calls it broken, in a gigabyte; all its ways think as `g3m verify --decode` does."""
    for name, data in DAMAGED.items():
        ways = dict(loaded[name])
        assert ways.pop("device") in ("drawn", "broken"), name
        is_drawn = UNUSABLE.isdisjoint(guard.judge(data).classes)
        assert set(ways.values()) == {"drawn" if is_drawn else "broken"}, (name, ways)


def test_a_picture_of_many_scans_costs_no_minutes(guard: Guard) -> None:
    """It is refused for their number, before a decoder goes through it for each of them."""
    many = next(case for case in CASES if "scans" in case.name)
    assert guard.judge(many.data).detail == "too many scans"
