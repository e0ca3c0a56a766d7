"""`g3m proxy` against real cores: what it reads, what it changes, and that a changed node carries the data."""

from __future__ import annotations

from typing import Any

import pytest
from tests.netlab.cores import GROUP, NODES, PORTS
from tests.netlab.dataset import Shard, write_recipe
from tests.netlab.desk import Desk, Ran
from tests.netlab.lab import ORIGIN
from tests.netlab.servers import SECRET
from tests.netlab.ways import CORES, core_way

DEAD = NODES.index("dead")


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest, desk: Desk) -> str:
    """A core with a dead node chosen, and a wall that closes the direct way."""
    desk.client.wall(origin="drop")
    core_way(request.param, DEAD).open(desk.client)
    return str(request.param)


def g3m_proxy(desk: Desk, *words: str) -> Ran:
    """`g3m proxy` with the controller's secret in the variable."""
    ran = desk.g3m("proxy", *words, G3M_CLASH_SECRET=SECRET)
    assert ran.code == 0, ran.story
    return ran


def status(desk: Desk, shard: Shard) -> dict[str, Any]:
    """`g3m proxy status`, measured with the shard."""
    (document,) = g3m_proxy(desk, "status", "--json", "--url", shard.at(ORIGIN)).documents
    return document


def test_status_shows_core_port_rule_and_node(desk: Desk, small: Shard, core: str) -> None:
    """The core's kind and mode, its port by asking or by listening, and the dead node in the chain."""
    found = status(desk, small)
    assert found["core"]["kind"] == core.replace("_", "-")
    assert found["core"]["mode"] == "rule"
    assert found["proxy"] == f"http://127.0.0.1:{PORTS[core]}"
    assert found["warnings"] == []
    assert found["host"]["problem"]


def test_a_node_is_chosen_and_then_the_file_comes(desk: Desk, small: Shard, core: str) -> None:
    """With a dead node `get` fails and doctor blames the node; after `use` it works; `restore` takes it back."""
    recipe = write_recipe(desk.folder, small, [small.at(ORIGIN)])
    proxy = f"http://127.0.0.1:{PORTS[core]}"
    doctor = desk.g3m("doctor", recipe, "--json", "--root", desk.root, "--proxy", proxy)
    (document,) = doctor.documents
    causes = {probe["way"]: probe["cause"] for probe in document["network"]["probes"]}
    assert causes == {proxy: "node", "direct": "silent"}
    g3m_proxy(desk, "use", NODES[1], "--yes", "--group", GROUP)
    found = status(desk, small)
    assert (found["host"]["problem"], found["host"]["chain"]) == (None, [GROUP, NODES[1]])
    ran = desk.get(recipe, "--proxy", proxy)
    assert (ran.code, desk.has(small)) == (0, True), ran.story
    (restored,) = g3m_proxy(desk, "restore", "--yes", "--json").documents
    assert restored["restored"] == [{"group": GROUP, "node": NODES[DEAD]}]
    assert status(desk, small)["host"]["problem"]


def test_the_group_is_found_by_the_way_of_the_file(desk: Desk, small: Shard, core: str) -> None:
    """Without --group the group that the dataset's host goes through is the one that is changed."""
    g3m_proxy(desk, "use", NODES[1], "--yes", "--group", GROUP)
    ran = g3m_proxy(desk, "use", NODES[2], "--yes", "--json", "--url", small.at(ORIGIN))
    assert ran.documents == [{"schema": 1, "group": GROUP, "node": NODES[2], "former": NODES[1]}]


def test_nodes_are_measured_and_the_choice_is_put_back(desk: Desk, small: Shard, core: str) -> None:
    """Every living node brings bytes over itself, the dead one has no delay, and the choice is what it was."""
    g3m_proxy(desk, "use", NODES[0], "--yes", "--group", GROUP)
    words = ("test", NODES[1], NODES[2], "--yes", "--json", "--url", small.at(ORIGIN))
    (document,) = g3m_proxy(desk, *words).documents
    rows = {row["name"]: row for row in document["nodes"]}
    assert document["restored"] is True
    for name in NODES[:3]:
        assert rows[name]["rate_bytes_per_s"] > 0, rows[name]
        assert rows[name]["chain"] == [GROUP, name]
    (after,) = g3m_proxy(desk, "nodes", "--json", GROUP).documents
    assert [group["now"] for group in after["groups"]] == [NODES[0]]


def test_nothing_is_changed_without_consent(desk: Desk, core: str) -> None:
    """Without --yes and without a terminal `use` is refused, and the core is as it was."""
    ran = desk.g3m("proxy", "use", NODES[1], "--group", GROUP, G3M_CLASH_SECRET=SECRET)
    assert ran.code == 2
    assert "--yes" in ran.err
    (document,) = g3m_proxy(desk, "nodes", "--json", GROUP).documents
    assert [group["now"] for group in document["groups"]] == [NODES[DEAD]]


def test_a_core_that_wants_its_secret_says_so(desk: Desk, core: str) -> None:
    """Without the secret the core is found, and named as locked; nothing of it is guessed."""
    ran = desk.g3m("proxy", "status", "--json", "--offline")
    (document,) = ran.documents
    assert document["core"] is None
    assert "secret" in document["locked"]
