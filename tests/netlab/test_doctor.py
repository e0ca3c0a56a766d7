"""`g3m doctor` in front of each wall: the cause that it names is the one that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.netlab.dataset import Shard, write_recipe
from tests.netlab.desk import HUB_TOKEN, Desk
from tests.netlab.hub import hub_host
from tests.netlab.lab import ADDRESSES, HUB, HUB_MIRROR, MIRROR, NOWHERE, ORIGIN, PROXY, Lab
from tests.netlab.servers import PASSWORD, USER
from tests.netlab.ways import LOGIN, WAYS

CUT = 1_000_000
WALLS = {
    "drop": "silent",
    "unreach": "no-route",
    "rst": "refused",
    "sni-rst": "tls-reset",
    "sni-drop": "tls-silent",
    f"end:{CUT}": "cut-silent",
    f"endrst:{CUT}": "cut-reset",
}
NAMES = {
    "mirror": (ADDRESSES[MIRROR], "tls-name"),
    "dead": (NOWHERE, "silent"),
    "none": ("", "dns-unknown"),
    "self": ("127.0.0.1", "dns-wrong"),
}
SQUID = WAYS["squid"].url


def examined(desk: Desk, recipe: Path, *flags: str, **variables: str) -> dict[str, Any]:
    """What doctor found of the network, as JSON."""
    ran = desk.g3m("doctor", recipe, "--json", "--root", desk.root, *flags, **variables)
    assert ran.code == 0, ran.story
    (document,) = ran.documents
    found: dict[str, Any] = document["network"]
    return found


def causes(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    """The cause for each place and way."""
    return {(probe["place"], probe["way"]): probe["cause"] for probe in found["probes"]}


def check_direct(found: dict[str, Any], cause: str) -> None:
    """The direct way fails for this reason, the proxy works, and the command says to use it."""
    assert causes(found)[ORIGIN, "direct"] == cause
    (proxied,) = [probe for probe in found["probes"] if probe["way"] == SQUID]
    assert proxied["works"]
    assert found["command"].endswith(f"--proxy {SQUID}")
    (dataset,) = found["datasets"]
    assert dataset["over"] == [{"place": ORIGIN, "way": SQUID}]


@pytest.mark.parametrize("mode", WALLS)
def test_each_wall_is_recognised(desk: Desk, small: Shard, mode: str) -> None:
    """For each mode of the wall the direct way has its own cause."""
    desk.client.wall(origin=mode)
    found = examined(desk, write_recipe(desk.folder, small, [small.at(ORIGIN)]), "--proxy", SQUID)
    check_direct(found, WALLS[mode])


@pytest.mark.parametrize("mode", [f"cut:{CUT}", f"cutrst:{CUT}"])
def test_a_way_that_breaks_off_is_no_dead_way(desk: Desk, small: Shard, mode: str) -> None:
    """A wall that cuts each connection after a while leaves a way on which g3m gets on, and it is told so."""
    desk.client.wall(origin=mode)
    recipe = write_recipe(desk.folder, small, [small.at(ORIGIN)])
    found = examined(desk, recipe)
    assert causes(found) == {(ORIGIN, "direct"): "breaks"}
    assert found["command"] == f"g3m get {recipe}"
    ran = desk.get(recipe)
    assert (ran.code, desk.has(small)) == (0, True), ran.story


@pytest.mark.parametrize("kind", NAMES)
def test_each_poisoned_name_is_recognised(desk: Desk, small: Shard, kind: str) -> None:
    """So has each kind of false name."""
    address, cause = NAMES[kind]
    desk.client.names(origin=address)
    found = examined(desk, write_recipe(desk.folder, small, [small.at(ORIGIN)]), "--proxy", SQUID)
    check_direct(found, cause)


def test_an_open_wall_is_recognised(desk: Desk, small: Shard) -> None:
    """Where everything works, the plain command is the one to type."""
    places = [small.at(ORIGIN), small.at(MIRROR)]
    found = examined(desk, write_recipe(desk.folder, small, places))
    assert all(probe["works"] for probe in found["probes"])
    assert {probe["place"] for probe in found["probes"]} == {ORIGIN, MIRROR}
    assert found["command"] == f"g3m get {desk.folder / 'lab.toml'}"


PROXIES = {
    "a wrong login": (f"http://{USER}:{PASSWORD}-wrong@{PROXY}:3129", "proxy-login"),
    "no login": (f"http://{PROXY}:3129", "proxy-login"),
    "a wrong SOCKS login": (f"socks5h://{USER}:{PASSWORD}-wrong@{PROXY}:1081", "proxy-login"),
    "a dead port": (f"http://{PROXY}:9", "proxy-dead"),
    "http to a SOCKS port": (f"http://{PROXY}:1080", "proxy-scheme"),
    "SOCKS to an http port": (f"socks5h://{PROXY}:3128", "proxy-scheme"),
    "no such proxy": ("http://nowhere.g3m.example:3128", "proxy-name"),
    "no such host": (f"http://{ADDRESSES[PROXY].rpartition('.')[0]}.77:3128", "proxy-silent"),
}


@pytest.mark.parametrize("kind", PROXIES)
def test_each_broken_proxy_is_recognised(desk: Desk, small: Shard, kind: str) -> None:
    """What is wrong with a proxy itself is told apart, and it is never proposed."""
    proxy, cause = PROXIES[kind]
    desk.client.wall(origin="rst")
    found = examined(desk, write_recipe(desk.folder, small, [small.at(ORIGIN)]), "--proxy", proxy)
    assert sorted(causes(found).values()) == sorted([cause, "refused"])
    assert found["command"] is None


@pytest.mark.parametrize("behaviour", ["login", "moved"])
def test_a_mirror_of_the_hub_that_does_not_serve_is_recognised(
    lab: Lab, desk: Desk, served: Path, listed: Path, behaviour: str
) -> None:
    """A page to sign in is a page, and a redirect to the blocked hub is the hub's trouble."""
    desk.client.wall(hub="unreach")
    to = {"login": HUB_MIRROR, "moved": HUB}[behaviour]
    with hub_host(lab, "mirror", HUB_MIRROR, behaviour, served, f"https://{to}"):
        found = examined(desk, listed, HF_TOKEN=HUB_TOKEN, HF_ENDPOINT=f"https://{HUB_MIRROR}")
    (probe,) = [probe for probe in found["probes"] if probe["place"] == HUB_MIRROR]
    assert (probe["cause"], probe["host"]) == {"login": ("page", HUB_MIRROR), "moved": ("no-route", HUB)}[
        behaviour
    ]
    assert HUB_MIRROR not in found["token_sent_to"]


SAID = {
    "en": ("blocked by name", f"{PROXY}:3129", "g3m get"),
    "zh": ("按域名封锁", f"{PROXY}:3129", "g3m get"),
}


@pytest.mark.parametrize("language", SAID)
def test_doctor_says_it_in_words(desk: Desk, small: Shard, language: str) -> None:
    """For people: the cause, the proxy without its login, and one command, in both languages."""
    desk.client.wall(origin="sni-rst")
    recipe = write_recipe(desk.folder, small, [small.at(ORIGIN)])
    login = f"http://{LOGIN}{PROXY}:3129"
    ran = desk.g3m("doctor", recipe, "--root", desk.root, "--lang", language, https_proxy=login)
    assert ran.code == 0, ran.story
    assert all(words in ran.out for words in SAID[language]), ran.out
