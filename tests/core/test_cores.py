"""core/cores.py: what controllers say becomes values, whatever strangers put into it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.cores import (
    CONTROLLER_PORTS,
    DELAY_LIMIT_MS,
    Controller,
    CoreState,
    Exposure,
    Link,
    Node,
    Version,
    choosable,
    controller_at,
    find_link,
    group_for,
    groups_to_show,
    read_nodes,
    read_state,
    read_version,
    risks,
    secret_line,
)
from g3m.core.errors import SettingsError, UsageError

CANARY = "CANARY77"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("version", "meta", "proxies", "all", "now", "history", "type", "delay", "mode"))
            | st.sampled_from(("connections", "metadata", "sourcePort", "chains", "rule", "mixed-port", "a")),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def node(name: str, kind: str = "Shadowsocks", *members: str, now: str = "") -> Node:
    return Node(name=name, kind=kind, now=now, members=members)


NODES = {
    item.name: item
    for item in (
        node("GLOBAL", "Selector", "DIRECT", "a", "b", "Top", "Media"),
        node("Top", "Selector", "Auto", "Media", "a", "b"),
        node("Media", "Selector", "a", "b", "c"),
        node("Auto", "URLTest", "a", "b", now="a"),
        *map(node, "abc"),
        node("DIRECT", "Direct"),
        node("REJECT", "Reject"),
    )
}


# Where a controller is.


@pytest.mark.parametrize(
    ("text", "shown", "url"),
    [
        ("127.0.0.1:9090", "127.0.0.1:9090", "http://127.0.0.1:9090"),
        (" http://localhost:9090/ ", "127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("http://[::1]:9097", "[::1]:9097", "http://[::1]:9097"),
        ("127.8.8.8:1", "127.8.8.8:1", "http://127.8.8.8:1"),
        ("unix:/tmp/a b.sock", "unix:/tmp/a b.sock", "http://localhost"),
        ("unix:///run/x.sock", "unix:/run/x.sock", "http://localhost"),
        ("/run/x.sock", "unix:/run/x.sock", "http://localhost"),
    ],
)
def test_a_controller_on_this_machine(text: str, shown: str, url: str) -> None:
    """A port on loopback or the path of a socket, however it is written."""
    assert (str(controller_at(text)), controller_at(text).url) == (shown, url)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1:9090",
        "0.0.0.0:9090",
        "http://[::]:9090",
        "core.example.org:9090",
        "127.0.0.1.example.org:9090",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "https://127.0.0.1:9090",
        "ftp://127.0.0.1:9090",
        f"http://me:{CANARY}@127.0.0.1:9090",
        f"http://127.0.0.1:9090/?secret={CANARY}",
        f"http://127.0.0.1:9090/{'ui'}",
        "http://[::1",
        "unix:relative.sock",
        "/run/x\n.sock",
        "",
    ],
)
def test_no_controller_elsewhere(text: str) -> None:
    """Other machines, other schemes and what is no address are refused, with a hint, and no login is shown."""
    with pytest.raises(SettingsError) as caught:
        controller_at(text)
    assert "127.0.0.1:9090" in caught.value.hint[0] or "this machine" in caught.value.hint[0]
    assert caught.value.hint[0] != caught.value.hint[1]
    assert CANARY not in str(caught.value)


@given(st.text(max_size=30))
def test_whatever_is_named_is_local_or_refused(text: str) -> None:
    """No text leads to another machine."""
    try:
        found = controller_at(text)
    except SettingsError:
        return
    assert found.path.startswith("/") or found.host == "::1" or found.host.startswith("127.")


# The secret.


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("secret: plain", "plain"),
        ("mode: rule\nsecret: plain  # mine\nport: 1\n", "plain"),
        ("secret:   two words   \n", "two words"),
        ("secret: a#b\n", "a#b"),
        ("secret: 'it''s'\r\n", "it's"),
        ('secret: "a\\"b\\u4e2d" # x\n', 'a"b中'),
        ("secret: ''\n", ""),
        ("secret:\nport: 1\n", ""),
        ("secret: # none\n", ""),
        ("secret: |\n  block\n", ""),
        ('secret: "open\n', ""),
        ("# secret: old\n", ""),
        ("dns:\n  secret: inner\n", ""),
        ("my-secret: x\nsecrets: y\n", ""),
        ("", ""),
        ('{"experimental":{"clash_api":{"external_controller":"127.0.0.1:9090","secret":"j\\"s"}}}', 'j"s'),
        ('{\n "clash_api": {\n  "secret" : "x"\n }\n}', "x"),
        ('{"outbounds":[{"secret":"no"}]}', ""),
        ('{"clash_api":{"secret":"\\x"}}', ""),
    ],
)
def test_the_secret_of_a_config(text: str, secret: str) -> None:
    """One line of YAML at the top level, or sing-box's JSON; what only a YAML reader understands counts as none."""
    assert secret_line(text) == secret


@given(st.text(max_size=60))
def test_any_text_may_be_a_config(text: str) -> None:
    """Reading the line never fails and never gives more than that line."""
    assert "\n" not in secret_line("secret: " + text.replace("\n", " ").replace("\\n", ""))


@given(st.text(max_size=20))
def test_a_quoted_secret_comes_back(text: str) -> None:
    """What JSON quotes, as YAML may, is read back to the letter."""
    assert secret_line(f"secret: {json.dumps(text)}") == text


# Documents.


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ({"meta": True, "version": "v1.19.32"}, Version("mihomo", "v1.19.32")),
        ({"version": "v1.18.0"}, Version("clash", "v1.18.0")),
        ({"meta": True, "premium": True, "version": "sing-box 1.14.4"}, Version("sing-box", "1.14.4")),
        ({"meta": True}, None),
        ({"version": 3}, None),
        ({"version": ""}, None),
        ([], None),
        (None, None),
    ],
)
def test_which_core(body: object, version: Version | None) -> None:
    """Three cores are told apart by their version; what says none is no core."""
    assert read_version(body) == version


def test_the_state() -> None:
    """Mode in lower case, open ports in order of use, and that logins are asked for but not whose."""
    body = {"mode": "Rule", "port": 7892, "socks-port": 7891, "mixed-port": 7890, "allow-lan": True}
    state = read_state({**body, "authentication": [f"me:{CANARY}"]})
    assert state.ports == {"mixed": 7890, "http": 7892, "socks": 7891}
    assert list(state.ports) == ["mixed", "http", "socks"]
    assert (state.mode, state.allow_lan, state.asks_login) == ("rule", True, True)
    assert CANARY not in repr(state)
    silent = {"mode": "Rule", "port": 0, "mixed-port": 0, "allow-lan": False, "authentication": None}
    assert read_state(silent) == CoreState(mode="rule")


def test_nodes_and_groups() -> None:
    """A group has members and a choice; the last delay counts, 0 is a failure, and none is unknown."""
    body = {
        "proxies": {
            "G": {"type": "Selector", "now": "a", "all": ["a", 7, "b"], "history": []},
            "a": {"type": "Vmess", "history": [{"delay": 9}, {"delay": 12}]},
            "b": {"type": "Trojan", "history": [{"delay": 9}, {"delay": 0}]},
            "c": {"type": "Reject"},
            "broken": "text",
        }
    }
    nodes = read_nodes(body)
    assert set(nodes) == {"G", "a", "b", "c"}
    assert nodes["G"] == Node(name="G", kind="Selector", now="a", members=("a", "b"))
    assert (nodes["G"].is_group, nodes["G"].is_chosen_by_hand, nodes["a"].is_group) == (True, True, False)
    assert [nodes[name].delay_ms for name in "abc"] == [12, 0, None]
    assert [nodes[name].leads_out for name in "abc"] == [True, True, False]


def test_our_own_connection() -> None:
    """It is found by our port, as text or number; the chain comes from the outside in."""
    body = {
        "connections": [
            "broken",
            {"metadata": {"sourcePort": "50001"}, "chains": ["x"], "rule": "Match"},
            {
                "metadata": {"sourcePort": "5000"},
                "chains": ["node", "Auto", "Top"],
                "rule": "Domain",
                "rulePayload": "a.b",
            },
            {"metadata": {"sourcePort": 6000}, "chains": ["direct"], "rule": "final"},
        ]
    }
    assert find_link(body, 5000) == Link(("Top", "Auto", "node"), "Domain(a.b)")
    assert find_link(body, 6000) == Link(("direct",), "final")
    assert find_link(body, 500) is None
    assert find_link({"connections": None}, 5000) is None


@given(JSON)
def test_no_document_breaks_the_readers(body: Any) -> None:
    """Whatever a stranger's controller answers, reading it gives values of the promised types."""
    version, state, nodes, link = (
        read_version(body),
        read_state(body),
        read_nodes(body),
        find_link(body, 5000),
    )
    assert version is None or isinstance(version.number, str)
    assert isinstance(state.mode, str)
    assert all(0 < port < 65536 for port in state.ports.values())
    assert all(isinstance(member, str) for item in nodes.values() for member in (item.now, *item.members))
    assert all(item.delay_ms is None or item.delay_ms >= 0 for item in nodes.values())
    assert link is None or all(isinstance(name, str) for name in link.chain)


# Choosing.


def test_the_group_that_is_meant() -> None:
    """A named one; else the outermost on the host's way that has the node; else the only one that has it."""
    assert group_for(NODES, (), named="Media") == "Media"
    assert group_for(NODES, (), member="c") == "Media"
    assert group_for(NODES, ("Top", "Auto", "a"), member="b") == "Top"
    assert group_for(NODES, ("Top", "Media", "a"), member="c") == "Media"
    assert group_for(NODES, ("Media", "c")) == "Media"
    assert group_for(NODES, ("Top", "Media", "a"), member="a") == "Top"
    assert group_for(NODES, ("Media", "Top", "a"), member="a") == "Media"
    assert group_for(NODES, ("GLOBAL", "a"), member="b") == "GLOBAL"
    assert group_for(NODES, (), named="GLOBAL", member="a") == "GLOBAL"


@pytest.mark.parametrize(
    ("chain", "member", "named", "words"),
    [
        ((), "a", "", "several groups are possible: Top, Media"),
        ((), "", "", "several groups are possible"),
        ((), "z", "", "no node is called 'z'"),
        ((), "Tob", "", "did you mean 'Top'?"),
        ((), "DIRECT", "", "has no node 'DIRECT'"),
        ((), "c", "Top", "Top has no node 'c'"),
        ((), "a", "Auto", "the group 'Auto' (URLTest) chooses by itself"),
        ((), "a", "Medai", "no group is called 'Medai'; did you mean 'Media'?"),
        ((), "a", "a", "no group is called 'a'"),
    ],
)
def test_no_group_is_guessed_wrongly(chain: tuple[str, ...], member: str, named: str, words: str) -> None:
    """What is not clear, not there or not for choosing is an error that says what can be done."""
    with pytest.raises(UsageError) as caught:
        group_for(NODES, chain, member=member, named=named)
    assert words in caught.value.message
    assert caught.value.hint[0].startswith(("`g3m proxy nodes`", "say which"))


def test_what_can_be_tried() -> None:
    """Members that lead nowhere are left out; a member that is not described is not."""
    group = node("G", "Selector", "a", "REJECT", "unknown", "DIRECT")
    assert choosable(group, NODES) == ("a", "unknown", "DIRECT")


def test_the_groups_to_show() -> None:
    """All but GLOBAL, which counts in global mode only; or the named one."""
    assert groups_to_show(NODES, "", "rule") == ("Top", "Media", "Auto")
    assert groups_to_show(NODES, "", "global") == ("GLOBAL", "Top", "Media", "Auto")
    assert groups_to_show(NODES, "GLOBAL", "rule") == ("GLOBAL",)
    with pytest.raises(UsageError, match="did you mean 'Media'"):
        groups_to_show(NODES, "Medias", "rule")


# What stands open.


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [
        (Exposure(controller_addresses=("127.0.0.1",), proxy_addresses=("127.0.0.1", "::1")), []),
        (Exposure(), []),
        (Exposure(controller_addresses=("0.0.0.0",)), ["open-controller"]),
        (Exposure(controller_addresses=("::",)), ["open-controller"]),
        (Exposure(controller_addresses=("127.0.0.1", "192.168.1.2")), ["open-controller"]),
        (Exposure(controller_addresses=("::ffff:127.0.0.1",)), []),
        (Exposure(has_secret=False), ["empty-secret"]),
        (Exposure(proxy_addresses=("::",)), ["open-proxy"]),
        (Exposure(proxy_addresses=("0.0.0.0",), asks_login=True), []),
        (Exposure(allow_lan=True), ["open-proxy"]),
        (Exposure(allow_lan=True, asks_login=True), []),
        (Exposure(allow_lan=True, proxy_addresses=("127.0.0.1",)), []),
        (
            Exposure(controller_addresses=("::",), proxy_addresses=("::",), has_secret=False),
            ["open-controller", "empty-secret", "open-proxy"],
        ),
    ],
)
def test_risks(exposure: Exposure, expected: list[str]) -> None:
    """A controller or a proxy for the whole network, and one without its lock, are named; what is shut is not."""
    assert list(risks(exposure)) == expected


def test_a_controller_is_a_value() -> None:
    """Equal addresses are equal controllers, so that a remembered choice finds its core again."""
    assert controller_at("localhost:9090") == Controller(port=9090)


def test_what_is_no_port() -> None:
    """From 1 to 65535, as a whole number; the rest is unknown."""
    values = (1, 65535, 0, 65536, -1, "7890", None, 7890.0)
    assert [read_state({"mixed-port": value}).mixed_port for value in values] == [1, 65535, 0, 0, 0, 0, 0, 0]
    assert read_state({}) == CoreState(
        mode="", mixed_port=0, http_port=0, socks_port=0, allow_lan=False, asks_login=False
    )
    assert read_state({"mode": 5, "allow-lan": 1}) == CoreState()


@pytest.mark.parametrize("kind", ["Reject", "RejectDrop", "Pass", "PassRule", "Compatible", "Block", "DNS"])
def test_nodes_that_lead_nowhere(kind: str) -> None:
    """What the cores build in to stop or pass on traffic is no way out, in whatever letters."""
    assert not Node(name="n", kind=kind).leads_out
    assert Node(name="n", kind="Direct").leads_out
    assert Node(name="n", kind="x") == Node(name="n", kind="x", delay_ms=None, now="", members=())


def test_where_cores_listen() -> None:
    """The ports of mihomo and sing-box, of Clash Verge and of its service; a time limit that fits 16 bits."""
    assert CONTROLLER_PORTS == (9090, 9097, 9091)
    assert DELAY_LIMIT_MS == 2**15 - 1


def test_delays() -> None:
    """The last test counts; a delay that is none is unknown."""
    histories = (
        [],
        [{"delay": 0}],
        [{"delay": 1}, {"delay": 2}],
        [{"delay": -1}],
        [{"delay": "5"}],
        [{}],
        [5],
        "text",
    )
    nodes = read_nodes(
        {"proxies": {str(number): {"history": history} for number, history in enumerate(histories)}}
    )
    assert [node.delay_ms for node in nodes.values()] == [None, 0, 2, None, None, None, None, None]


def test_addresses_of_controllers() -> None:
    """An IPv6 address stands in brackets; a socket is asked as localhost."""
    plain, six, path = Controller(port=9), Controller(host="::1", port=9), Controller(path="/a")
    assert [str(one) for one in (plain, six, path)] == ["127.0.0.1:9", "[::1]:9", "unix:/a"]
    assert [one.url for one in (plain, six, path)] == [
        "http://127.0.0.1:9",
        "http://[::1]:9",
        "http://localhost",
    ]
    assert Controller() == Controller("127.0.0.1", 0, "")
