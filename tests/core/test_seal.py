"""Documents of ours: read back as they were written, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.seal import sealed, unsealed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FACTS = {"format": 2, "rows": [1, 2, {"name": "a\ud800b"}], "wish": {"b": None, "a": 0.5}}


@given(st.dictionaries(st.text().filter(lambda key: key != "sha256"), VALUES, max_size=5))
def test_what_was_sealed_comes_back(facts: dict[str, object]) -> None:
    """Whatever JSON can hold."""
    assert unsealed(sealed(facts)) == facts


def test_order_and_layout_are_nobodys_business() -> None:
    """An editor that lays a document out anew changes nothing that it says."""
    body = json.loads(sealed(FACTS))
    assert unsealed(json.dumps(dict(reversed(body.items())), indent=7)) == FACTS


def test_a_document_is_lines_for_people() -> None:
    """One value to a line, and a line's end behind the last."""
    assert sealed({"a": 1}).splitlines()[1] == ' "a": 1,'
    assert sealed({"a": 1}).endswith('"\n}\n')


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"format": 2', '"format": 3'),
        lambda text: text.replace('"format": 2', '"format": "2"'),
        lambda text: text.replace('"format"', '"formats"'),
        lambda text: text.replace('"sha256"', '"sha512"'),
        lambda text: text[:-4],
        lambda text: text + "x",
        lambda _: "",
        lambda _: "[]",
        lambda _: "{}",
        lambda _: "null",
        lambda _: '{"sha256": {}}',
        lambda _: "[" * 100_000,
        lambda _: '{"a":' * 900 + "1" + "}" * 900,
    ],
)
def test_what_was_changed_is_refused(change: object) -> None:
    """ValueError, whatever was done to it."""
    assert callable(change)
    with pytest.raises(ValueError):
        unsealed(change(sealed(FACTS)))
