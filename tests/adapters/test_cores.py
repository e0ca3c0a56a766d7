"""adapters/cores.py: real cores and a scripted one are found, asked and steered, and no secret goes astray."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tests.corelab import (
    AUTO,
    CANARY,
    DEAD,
    FAST,
    GROUP,
    LOGIN,
    PASSWORD,
    REAL_CORES,
    SECRET,
    SLOW,
    Authority,
    FakeCore,
    Lab,
    Request,
    core_lab,
    free_port,
    make_authority,
)

from g3m.adapters import cores
from g3m.adapters.cores import Core, Search, find_core
from g3m.adapters.curl import HttpOptions
from g3m.adapters.listeners import listening, look_at, ports_beside
from g3m.core.cores import Version, controller_at
from g3m.core.errors import G3MError, Refused, SettingsError, Unreachable
from g3m.core.secrets import Secret

OPTIONS = HttpOptions(user_agent="g3m-test")
VERSION = {"GET /version": {"meta": True, "version": "v1.2.3"}}
PROXIES = {"proxies": {"G": {"type": "Selector", "now": "a", "all": ["a", "b"]}, "a": {}, "b": {}}}


def core_at(fake: FakeCore, secret: str = "") -> Core:
    return Core(controller_at(fake.controller), Secret(secret) if secret else None, OPTIONS)


def search(home: Path, **more: Any) -> Search:
    return Search(**{"variables": {}, "home": home, **more})


@pytest.fixture
def fake() -> Iterator[FakeCore]:
    """A core without a secret, of which only the version is scripted."""
    with FakeCore(dict(VERSION)).running() as core:
        yield core


# The wire.


def test_no_proxy_of_the_environment_is_asked(fake: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions to the controller go straight to it, whatever the variables say."""
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert core_at(fake).version() == Version("mihomo", "v1.2.3")


def test_the_secret_is_a_bearer_token(fake: FakeCore) -> None:
    """A right secret opens; a wrong one is refused with a hint and shown nowhere."""
    fake.secret = SECRET
    core = core_at(fake, SECRET)
    assert core.version().kind == "mihomo"
    assert fake.requests[-1].authorization == f"Bearer {SECRET}"
    with pytest.raises(Refused) as caught:
        core_at(fake, f"{CANARY}-wrong").version()
    assert "G3M_CLASH_SECRET" in caught.value.hint[0]
    assert CANARY not in str(caught.value) + repr(core) + repr(vars(core))


def test_a_redirect_is_not_followed(fake: FakeCore) -> None:
    """A controller that sends us elsewhere is no controller; the secret does not travel on."""
    with FakeCore(dict(VERSION)).running() as other:
        fake.script["GET /version"] = (302, None, {"Location": f"http://{other.controller}/version"})
        with pytest.raises(Unreachable, match="answered with 302"):
            core_at(fake, SECRET).version()
        assert other.requests == []


def test_a_large_answer_is_cut(fake: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the limit is not read into memory."""
    monkeypatch.setattr(cores, "ANSWER_LIMIT_BYTES", 1000)
    fake.script["GET /version"] = (200, b"[" + b" " * 2000)
    with pytest.raises(Unreachable, match="no usable answer"):
        core_at(fake).version()


def test_a_slow_answer_is_cut() -> None:
    """The time counts as a whole, so that dripping does not prolong it."""

    over = threading.Event()

    def drip(request: Request) -> tuple[int, bytes]:
        over.wait(30)
        return 200, b"{}"

    with FakeCore({"GET /version": drip}).running() as fake:
        began_s = time.monotonic()
        with pytest.raises(Unreachable):
            core_at(fake)._send("GET", "/version", timeout_s=0.2)
        assert time.monotonic() - began_s < 15
        over.set()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"[" * 100_000, b"\xff", b""])
def test_what_is_no_core_is_said_to_be_none(fake: FakeCore, body: bytes) -> None:
    """Another program behind the port gives an error with a hint, never a crash."""
    fake.script["GET /version"] = (200, body)
    with pytest.raises(Unreachable) as caught:
        core_at(fake).version()
    assert "--controller" in caught.value.hint[0]
    assert core_at(fake).greets() == ""


def test_nobody_at_home() -> None:
    """A port where nothing listens is Unreachable, with the address and a hint."""
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=place):
        Core(controller_at(place), None, OPTIONS).version()


def test_names_are_quoted_whole(fake: FakeCore) -> None:
    """A slash, a question mark, a percent sign or a letter of any script stays inside the name."""
    name = "a/b?c=1#%2F 香港 🚀;x&y"
    assert core_at(fake).delay_ms(name, "https://h/f?a=1&b=2", 5000) == 0
    asked = urlsplit(fake.requests[-1].path)
    assert unquote(asked.path) == f"/proxies/{name}/delay"
    assert asked.path.count("/") == 3
    assert parse_qs(asked.query) == {"url": ["https://h/f?a=1&b=2"], "timeout": ["5000"]}


# The quirks of delay tests.


@pytest.mark.parametrize(
    ("answer", "delay"),
    [
        ((200, {"delay": 31}), 31),
        ((200, {"delay": 0}), 0),
        ((200, {"delay": -1}), 0),
        ((200, {"delay": "9"}), 0),
        ((200, []), 0),
        ((503, {"message": "An error occurred in the delay test"}), 0),
        ((504, {"message": "Timeout"}), 0),
        ((400, {"message": "Body invalid"}), 0),
        ((404, {"message": "Resource not found"}), 0),
        ((401, {"message": "Unauthorized"}), 0),
    ],
)
def test_a_delay_or_a_failure(fake: FakeCore, answer: tuple[int, Any], delay: int) -> None:
    """A failed test is 0, whichever way the core says it; 0 from the core is a failure too."""
    fake.script["GET /proxies/a/delay"] = answer
    assert core_at(fake).delay_ms("a", "https://h/", 1000) == delay


@pytest.mark.parametrize(
    ("timeout_ms", "sent"), [(40_000, "32767"), (32_767, "32767"), (0, "1"), (900, "900")]
)
def test_the_timeout_fits_into_sixteen_bits(fake: FakeCore, timeout_ms: int, sent: str) -> None:
    """A longer one would be refused by the core."""
    fake.script["GET /proxies/a/delay"] = (200, {"delay": 1})
    core_at(fake).delay_ms("a", "https://h/", timeout_ms)
    assert parse_qs(urlsplit(fake.requests[-1].path).query)["timeout"] == [sent]


def test_many_delays_one_by_one(fake: FakeCore) -> None:
    """Each node is asked for by itself: the test of a whole group would undo the user's pin."""

    def delay(request: Request) -> tuple[int, Any]:
        number = int(re.search(r"n(\d+)", request.path)[1])
        return (200, {"delay": number}) if number % 3 else (503, {})

    fake.script |= {f"GET /proxies/n{number}/delay": delay for number in range(1, 21)}
    names = [f"n{number}" for number in range(1, 21)]
    found = core_at(fake).delays_ms(names, "https://h/", 1000)
    assert found == {f"n{number}": number if number % 3 else 0 for number in range(1, 21)}
    assert not any(path.startswith("/group") for path in fake.asked("GET"))


# Choosing.


def test_a_choice_is_read_back(fake: FakeCore) -> None:
    """An answer of 204 is no proof: the group must say that it uses the node."""
    fake.script |= {"PUT /proxies/G": (204, None), "GET /proxies": PROXIES}
    with pytest.raises(Unreachable, match="does not take 'b'"):
        core_at(fake).choose("G", "b")
    core_at(fake).choose("G", "a")
    assert [request.body for request in fake.requests if request.method == "PUT"] == [
        b'{"name": "b"}',
        b'{"name": "a"}',
    ]


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "Must be a Selector"), (400, "Selector update error: not found"), (404, "Resource not found")],
)
def test_a_refused_choice_says_why(fake: FakeCore, status: int, message: str) -> None:
    """The core's own words are kept."""
    fake.script |= {"PUT /proxies/G": (status, {"message": message}), "GET /proxies": PROXIES}
    with pytest.raises(Unreachable, match=re.escape(message)):
        core_at(fake).choose("G", "b")


def test_a_name_with_any_letter_can_be_chosen(fake: FakeCore) -> None:
    """Lone surrogates and quotes in a name neither break the request nor leave it."""
    fake.script |= {"GET /proxies": PROXIES}
    for name in ('x"}\r\nX: y', "\ud83d"):
        with pytest.raises(G3MError):
            core_at(fake).choose("G", name)


# Finding.


def test_a_named_controller_wins(fake: FakeCore, tmp_path: Path) -> None:
    """The option, then CLASH_API; a named one that does not answer is an error and not passed over."""
    with FakeCore({"GET /version": {"version": "v9"}}).running() as other:
        variables = {"CLASH_API": f"http://{other.controller}/"}
        found = find_core(search(tmp_path, named=fake.controller, variables=variables), OPTIONS)
        assert str(found.controller) == fake.controller
        found = find_core(search(tmp_path, variables=variables), OPTIONS)
        assert found.version() == Version("clash", "v9")
    with pytest.raises(Unreachable):
        find_core(search(tmp_path, named=f"127.0.0.1:{free_port()}"), OPTIONS)
    with pytest.raises(SettingsError):
        find_core(search(tmp_path, variables={"CLASH_API": "10.1.1.1:9090"}), OPTIONS)


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[FakeCore]]:
    """Three scripted cores at the usual ports, and a folder for the usual sockets."""
    with FakeCore().running() as one, FakeCore().running() as two, FakeCore().running() as three:
        fakes = [one, two, three]
        monkeypatch.setattr(cores, "CONTROLLER_PORTS", tuple(item.port for item in fakes))
        monkeypatch.setattr(cores, "_SOCKETS_FOLDER", tmp_path / "sockets")
        (tmp_path / "sockets").mkdir()
        yield fakes


def test_the_first_core_at_a_usual_port(usual: list[FakeCore], tmp_path: Path) -> None:
    """Another program at an earlier port is passed over, and never shown a secret."""
    usual[0].script["GET /version"] = (401, {"error": "log in"})
    usual[1].script |= VERSION
    usual[2].script |= VERSION
    found = find_core(search(tmp_path, variables={"G3M_CLASH_SECRET": SECRET}), OPTIONS)
    assert found.controller.port == usual[1].port
    assert {request.authorization for item in usual for request in item.requests} == {""}
    assert usual[2].requests == []


def test_no_core_at_all(usual: list[FakeCore], tmp_path: Path) -> None:
    """Nothing is found, and that is no error yet."""
    assert find_core(search(tmp_path), OPTIONS) is None


def test_a_port_of_another_user_is_not_asked(usual: list[FakeCore], tmp_path: Path) -> None:
    """Whoever opened it would learn the secret."""
    for item in usual[:2]:
        item.script |= VERSION
        item.secret = SECRET
    trusts = {"trusts_port": lambda at: at.port != usual[0].port}
    found = find_core(search(tmp_path, variables={"CLASH_SECRET": SECRET}, **trusts), OPTIONS)
    assert found.controller.port == usual[1].port
    assert usual[0].requests == []


def _config(home: Path, name: str, text: str) -> Path:
    path = home / ".config" / name / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_where_the_secret_comes_from(fake: FakeCore, tmp_path: Path) -> None:
    """G3M_CLASH_SECRET, CLASH_SECRET, the config that was named, mihomo's usual one, Clash's."""
    home = tmp_path / "home"
    _config(home, "mihomo", "port: 1\nsecret: from-mihomo\n")
    _config(home, "clash", "secret: from-clash\n")
    named = tmp_path / "mine.yaml"
    named.write_text('secret: "from-named"\n')
    variables = {"G3M_CLASH_SECRET": "from-g3m", "CLASH_SECRET": "from-variable"}
    for secret, more in (
        ("from-g3m", {"variables": variables, "config": named}),
        ("from-variable", {"variables": {"CLASH_SECRET": "from-variable"}, "config": named}),
        ("from-named", {"config": named}),
        ("from-mihomo", {}),
    ):
        fake.secret = secret
        assert find_core(search(home, named=fake.controller, **more), OPTIONS).version()
    (home / ".config" / "mihomo" / "config.yaml").write_text("port: 1\n")
    fake.secret = "from-clash"
    assert find_core(search(home, named=fake.controller), OPTIONS).version()


def test_the_usual_secret_is_not_for_another_users_port(fake: FakeCore, tmp_path: Path) -> None:
    """Also where the user names that port, by mistake or not: the secret of the home folder stays here."""
    _config(tmp_path, "mihomo", f"secret: {SECRET}\n")
    fake.secret = SECRET
    stranger = {"named": fake.controller, "trusts_port": lambda at: False}
    with pytest.raises(Refused):
        find_core(search(tmp_path, **stranger), OPTIONS)
    assert {request.authorization for request in fake.requests} == {""}
    assert find_core(search(tmp_path, variables={"CLASH_SECRET": SECRET}, **stranger), OPTIONS).version()


def test_an_open_core_is_sent_no_secret(fake: FakeCore, tmp_path: Path) -> None:
    """What answers without one needs none."""
    found = find_core(search(tmp_path, named=fake.controller, variables={"CLASH_SECRET": SECRET}), OPTIONS)
    assert found.version()
    assert found.greets() == "open"
    assert {request.authorization for request in fake.requests} == {""}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"G3M_CLASH_SECRET": f"{CANARY}\r\nX: y"}, None),
        ({"G3M_CLASH_SECRET": f"{CANARY}中"}, None),
        ({}, f'secret: "{CANARY}\\n"\n'),
        ({}, b"\xff\xfe"),
        ({}, ""),
    ],
)
def test_a_secret_that_cannot_be_sent(
    fake: FakeCore, tmp_path: Path, variables: dict[str, str], text: str | bytes | None
) -> None:
    """Line ends, other scripts and unreadable configs are errors without the secret in them."""
    config = tmp_path / "c.yaml"
    if text:
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
    fake.secret = SECRET
    config = None if text is None else config
    with pytest.raises(SettingsError) as caught:
        find_core(search(tmp_path, named=fake.controller, variables=variables, config=config), OPTIONS)
    assert CANARY not in str(caught.value)


def test_a_unix_socket(usual: list[FakeCore], tmp_path: Path) -> None:
    """It is found where clients put it, needs no secret, and is left alone if another user owns it."""
    path = tmp_path / "sockets" / "mihomo-party.sock"
    (tmp_path / "sockets" / "mihomo.sock").write_text("no socket")
    with FakeCore(dict(VERSION)).running(path) as fake:
        found = find_core(search(tmp_path, variables={"CLASH_SECRET": SECRET}), OPTIONS)
        assert str(found.controller) == f"unix:{path}"
        assert found.version() == Version("mihomo", "v1.2.3")
        assert {request.authorization for request in fake.requests} == {""}
        assert find_core(search(tmp_path, named=f"unix:{path}"), OPTIONS).version()
        asked: list[int] = []
        assert find_core(search(tmp_path, trusts_uid=lambda uid: bool(asked.append(uid))), OPTIONS) is None
        assert asked == [os.getuid()]


# Real cores.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=REAL_CORES)
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Lab]:
    """mihomo and sing-box as people run them, with nodes of ours."""
    with core_lab(request.param, tmp_path_factory.mktemp("core"), authority) as lab:
        yield lab


@pytest.fixture
def real(lab: Lab, tmp_path: Path) -> Iterator[Core]:
    """The real core, found as a user's would be, with its first node chosen again afterwards."""
    core = find_core(search(tmp_path, variables=lab.variables), OPTIONS)
    assert core is not None
    yield core
    core.choose(GROUP, FAST)


def test_a_real_core_says_what_it_is(lab: Lab, real: Core) -> None:
    """Kind, number, mode, and ports where the core tells them."""
    assert real.version().kind == lab.kind
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", real.version().number)
    assert real.state().mode == "rule"
    assert real.state().ports == ({"mixed": lab.port} if lab.kind == "mihomo" else {})
    assert real.greets() == "locked"


def test_a_real_core_refuses_a_wrong_secret(lab: Lab, tmp_path: Path) -> None:
    """Refused, with the hint, and with neither secret in it."""
    with pytest.raises(Refused) as caught:
        find_core(search(tmp_path, variables={**lab.variables, "G3M_CLASH_SECRET": f"{CANARY}x"}), OPTIONS)
    assert CANARY not in str(caught.value)


def test_the_port_of_a_real_core_is_found_beside_its_controller(lab: Lab, real: Core) -> None:
    """sing-box reports port 0 everywhere; its process tells, and the port speaks both tongues."""
    assert lab.port in ports_beside(real.controller.port, listening())
    found = look_at(lab.port, listening())
    assert (found.speaks, found.owner, found.wants_login) == (("http", "socks5"), "yours", False)


def test_nodes_of_a_real_core(real: Core) -> None:
    """Groups with members and a choice, names to the letter, and no login of a node anywhere."""
    nodes = real.nodes()
    assert nodes[GROUP].members[:4] == (FAST, LOGIN, SLOW, DEAD)
    assert nodes[GROUP].is_chosen_by_hand
    assert not nodes[AUTO].is_chosen_by_hand
    assert nodes[GROUP].now == FAST
    assert PASSWORD not in repr(nodes)


def test_delays_of_a_real_core(lab: Lab, real: Core) -> None:
    """What leads to the file's own host has a delay, also by a node with a login; a dead one has not."""
    delays = real.delays_ms([FAST, LOGIN, DEAD, "nobody"], lab.url, 5000)
    assert delays[FAST] > 0
    assert delays[LOGIN] > 0
    assert (delays[DEAD], delays["nobody"]) == (0, 0)
    if lab.kind == "mihomo":
        assert real.delay_ms(FAST, lab.url, 60_000) > 0, "a timeout above 16 bits would be refused"


def test_choosing_in_a_real_core(real: Core) -> None:
    """Every name can be chosen and is read back; a stranger, and a group that chooses itself, cannot."""
    for name in (SLOW, LOGIN, AUTO, FAST):
        real.choose(GROUP, name)
        assert real.nodes()[GROUP].now == name
    with pytest.raises(Unreachable, match="does not take 'nobody'"):
        real.choose(GROUP, "nobody")
    with pytest.raises(Unreachable, match="does not take"):
        real.choose("no group", FAST)


def test_our_connection_in_a_real_core(lab: Lab, real: Core) -> None:
    """A connection of ours is found by its port while it is open: the group, the node, the rule."""
    for port, chain in ((lab.url, (GROUP, FAST)), (lab.direct_url, None)):
        target = urlsplit(port).port
        with socket.create_connection(("127.0.0.1", lab.port), 5) as ours:
            ours.sendall(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 200 " in ours.recv(4096)
            end_s = time.monotonic() + 5
            link = None
            while link is None and time.monotonic() < end_s:
                link = real.link(ours.getsockname()[1])
        assert link is not None
        if chain:
            assert link.chain == chain
            assert link.rule in ("Match", "final")
        else:
            assert link.chain[-1].lower() == "direct"
            assert len(link.chain) == 1
            assert str(target) in link.rule


def test_the_unix_socket_of_a_real_core(lab: Lab, tmp_path: Path) -> None:
    """mihomo's answers without a secret; sing-box has none."""
    wanted = search(tmp_path, named=f"unix:{lab.folder / 'mihomo.sock'}")
    if lab.kind == "mihomo":
        found = find_core(wanted, OPTIONS)
        assert found.version().kind == "mihomo"
        assert GROUP in found.nodes()
    else:
        with pytest.raises(Unreachable):
            find_core(wanted, OPTIONS)
