"""tests/mutation: the faults that are planted are faults, and each has a name of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mutation.mutants import Mutants

CORE = Path(__file__).resolve().parents[2] / "src/g3m/core"

PLANTED = [
    ("if a < b:\n    pass", ["if a <= b:"]),
    ("if a <= b <= c:\n    pass", ["if a < b <= c:", "if a <= b < c:"]),
    ("while a and b:\n    break", ["while a or b:", "continue"]),
    ("if found:\n    pass", ["if not found:"]),
    ("x = not a", ["x = a"]),
    ("x = a + 5", ["x = a - 5", "x = a + 6", "x = a + 4"]),
    ("x = 'words' + a", []),
    ("x = True", ["x = False"]),
    ("x = [b for b in c if b]", ["x = [b for b in c if not b]"]),
    ("x = text.fullmatch(a)", ["x = text.match(a)"]),
    ("x = min(a, b)", ["x = max(a, b)"]),
    (
        "T = {1.5: a, 'k': b}",
        ["T = {'k': b}", "T = {1.5: a}", "T = {2.5: a, 'k': b}", "T = {0.5: a, 'k': b}"],
    ),
    ("x = '10.0.0.0/8'", ["x = '10.0.0.0/7'", "x = '10.0.0.0/9'"]),
    (
        "x = '[a-z]{1,63}'",
        ["x = '[a-z]{0,63}'", "x = '[a-z]{2,63}'", "x = '[a-z]{1,62}'", "x = '[a-z]{1,64}'"],
    ),
    ("def f(a: int = 1):\n    return a", ["def f(a: int=2):", "def f(a: int=0):", "return None"]),
    ("def f(a=''):\n    return None", ["def f(a='X'):"]),
    ("raise ValueError(a)", ["pass"]),
    ("a.b = c", ["pass"]),
    ("a += b", ["a -= b", "a = b"]),
    ("f(a)", ["pass"]),
    ("'''Words.'''\nfrom a import b", []),
    ("x: Literal[5]", []),
]


@pytest.mark.parametrize(("source", "planted"), PLANTED)
def test_faults(source: str, planted: list[str]) -> None:
    """Each kind of fault is planted where it can stand, and nothing where none would tell."""
    mutants = Mutants("m", source)
    assert sorted(mutants[number].name.partition("  =>  ")[2] for number in range(len(mutants))) == sorted(
        planted
    )


def test_every_mutant_of_a_module_is_another_module() -> None:
    """All compile, none is the module itself, no two are the same, and their names tell them apart."""
    source = (CORE / "members.py").read_text("utf-8")
    mutants = Mutants("members", source)
    sources = {mutants[number].source for number in range(len(mutants))}
    assert len(sources) == len(set(mutants.names)) == len(mutants) > 20
    for changed in sources:
        compile(changed, "members.py", "exec")
    assert Mutants("members", source).names == mutants.names


def test_what_is_left_out_is_a_mutant_and_has_a_reason() -> None:
    """A line of the list of equivalent mutants that names none any more would hide nothing, or something new."""
    lines = Path(__file__).with_name("equivalent.txt").read_text("utf-8").splitlines()
    named = {number: line for number, line in enumerate(lines) if "  =>  " in line}
    assert named
    for number, line in named.items():
        module = line.partition(":")[0]
        assert line in Mutants(module, (CORE / f"{module}.py").read_text("utf-8")).names
        assert lines[number + 1].startswith("    ")
