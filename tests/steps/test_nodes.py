"""steps/nodes.py: what is found on this machine, and a choice that is put back whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.corelab import PASSWORD, SECRET, USER, FakeCore, Relay, Request, free_port

from g3m.adapters import cores, listeners
from g3m.adapters.cores import Core
from g3m.adapters.curl import HttpOptions
from g3m.adapters.listeners import Socket
from g3m.adapters.sampling import ONE_BYTE, Sample, Target
from g3m.adapters.session import Session, open_session
from g3m.core.cores import Link, Version, controller_at
from g3m.core.errors import Interrupted, Refused, SettingsError, Unreachable, UsageError
from g3m.core.settings import Settings
from g3m.steps import nodes
from g3m.steps.choices import Choices
from g3m.steps.nodes import Traced, Trial, Wish, best, delay_url, look_around, measure_each, target_of, trace

MIHOMO = {"meta": True, "version": "v1.2.3"}
LOCAL = Wish()


class Selector(FakeCore):
    """A core with one group that remembers what is chosen in it; `refuses` are names it does not take."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.now = "a"
        self.refuses: set[str] = set()
        self.failures = 0
        self.script |= {
            "GET /version": MIHOMO,
            "GET /configs": {"mode": "rule"},
            "GET /proxies": self._nodes,
            "PUT /proxies/G": self._choose,
            "GET /connections": {"connections": []},
        }

    def _nodes(self, _request: Request) -> tuple[int, Any]:
        if self.failures:
            self.failures -= 1
            return 500, {}
        return 200, {"proxies": {"G": {"type": "Selector", "now": self.now, "all": ["a", "b", "c"]}}}

    def _choose(self, request: Request) -> tuple[int, Any]:
        name = json.loads(request.body)["name"]
        if name in self.refuses:
            return 400, {"message": "Selector update error: not found"}
        self.now = name
        return 204, None

    @property
    def chosen(self) -> list[str]:
        return [json.loads(request.body)["name"] for request in self.requests if request.method == "PUT"]


@pytest.fixture
def fake() -> Iterator[Selector]:
    with Selector().running() as core:
        yield core


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path)


def make_session(home: Path, settings: Settings | None = None, **variables: str) -> Session:
    return open_session(settings or Settings(root=str(home / "root")), variables=variables, home=home)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No controller and no proxy at the usual places."""
    monkeypatch.setattr(cores, "CONTROLLER_PORTS", ())
    monkeypatch.setattr(cores, "_SOCKETS_FOLDER", tmp_path)
    monkeypatch.setattr(nodes, "PROXY_PORTS", ())


def owned_by(monkeypatch: pytest.MonkeyPatch, uid: int, *ports: int, address: str = "127.0.0.1") -> None:
    """Let these ports belong to a user."""
    real = listeners.listening
    sockets = tuple(Socket(address, port, uid, 10**9 + port) for port in ports)

    def listening() -> tuple[Socket, ...]:
        return (*(item for item in real() if item.port not in ports), *sockets)

    monkeypatch.setattr(nodes, "listening", listening)
    monkeypatch.setattr(listeners, "listening", lambda *_: listening())


# What is found.


@pytest.mark.usefixtures("nowhere")
def test_nothing_is_found(session: Session) -> None:
    """An empty machine is no error until something is needed of it."""
    found = look_around(session, LOCAL)
    assert (found.core, found.proxy, found.listeners, found.risks) == (None, "", (), ())
    with pytest.raises(Unreachable, match="no core"):
        found.need_core()
    with pytest.raises(Unreachable, match="no proxy"):
        found.need_proxy()


@pytest.mark.usefixtures("nowhere")
def test_a_core_with_its_ports(tmp_path: Path, fake: Selector) -> None:
    """The mixed port is preferred; what the port wants and whose it is comes from speaking to it."""
    with Relay().running() as mixed, Relay(speaks=("http",)).running() as http:
        fake.script["GET /configs"] = {"mode": "Rule", "port": http.port, "mixed-port": mixed.port}
        found = look_around(make_session(tmp_path), Wish(controller=fake.controller))
    assert found.version == Version("mihomo", "v1.2.3")
    assert found.proxy == f"http://127.0.0.1:{mixed.port}"
    assert [item.port for item in found.listeners] == [mixed.port, http.port]
    assert found.owner == "yours"
    assert found.risks == ("empty-secret",)


@pytest.mark.usefixtures("nowhere")
def test_a_core_that_does_not_say_its_port(
    tmp_path: Path, fake: Selector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sing-box: the process that holds the controller listens there as well."""
    with Relay().running() as relay:
        monkeypatch.setattr(nodes, "ports_beside", lambda port, _: (port, relay.port))
        found = look_around(make_session(tmp_path), Wish(controller=fake.controller))
    assert [item.port for item in found.listeners] == [relay.port]
    assert found.proxy == f"http://127.0.0.1:{relay.port}"


@pytest.mark.usefixtures("nowhere")
def test_what_stands_open_is_seen(tmp_path: Path, fake: Selector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses of the sockets tell it: the API does not say where a controller listens."""
    with Relay().running() as relay:
        fake.script["GET /configs"] = {"mode": "rule", "mixed-port": relay.port}
        owned_by(monkeypatch, 0, fake.port, relay.port, address="::")
        wish = Wish(controller=fake.controller)
        found = look_around(make_session(tmp_path), wish)
        assert found.risks == ("open-controller", "empty-secret", "open-proxy")
        fake.secret = SECRET
        fake.script["GET /configs"] |= {"authentication": [USER]}
        found = look_around(make_session(tmp_path, CLASH_SECRET=SECRET), wish)
        assert found.risks == ("open-controller",)


def test_a_locked_core_does_not_hide_the_proxies(
    tmp_path: Path, fake: Selector, monkeypatch: pytest.MonkeyPatch, nowhere: None
) -> None:
    """Without the secret the ports are still found; if the controller was named, the refusal is the answer."""
    fake.secret = SECRET
    with Relay().running() as relay:
        monkeypatch.setattr(cores, "CONTROLLER_PORTS", (fake.port,))
        monkeypatch.setattr(nodes, "PROXY_PORTS", (relay.port,))
        found = look_around(make_session(tmp_path), LOCAL)
    assert found.core is None
    assert found.proxy == f"http://127.0.0.1:{relay.port}"
    with pytest.raises(Refused):
        found.need_core()
    with pytest.raises(Refused):
        look_around(make_session(tmp_path), Wish(controller=fake.controller))


def test_another_users_proxy_and_core_are_left_alone(
    tmp_path: Path, fake: Selector, monkeypatch: pytest.MonkeyPatch, nowhere: None
) -> None:
    """They are listed and not used; the core is not even asked, unless it is named."""
    with Relay().running() as theirs, Relay(speaks=("socks5",)).running() as mine:
        monkeypatch.setattr(cores, "CONTROLLER_PORTS", (fake.port,))
        monkeypatch.setattr(nodes, "PROXY_PORTS", (theirs.port, mine.port))
        owned_by(monkeypatch, 54321, fake.port, theirs.port)
        found = look_around(make_session(tmp_path), LOCAL)
        assert found.core is None
        assert fake.requests == []
        assert [item.owner for item in found.listeners] == ["other", "yours"]
        assert found.proxy == f"socks5h://127.0.0.1:{mine.port}"
        assert look_around(make_session(tmp_path), Wish(controller=fake.controller)).owner == "other"


@pytest.mark.usefixtures("nowhere")
def test_the_users_own_word_for_the_proxy(tmp_path: Path, fake: Selector) -> None:
    """--proxy wins over what is found; a variable for the same port brings its login, and stays out of sight."""
    with Relay(login=True).running() as relay:
        fake.script["GET /configs"] = {"mode": "rule", "mixed-port": relay.port}
        wish = Wish(controller=fake.controller)
        login = f"http://{USER}:{PASSWORD}@localhost:{relay.port}"
        found = look_around(make_session(tmp_path, https_proxy=login), wish)
        assert found.proxy == login
        assert PASSWORD not in repr(found)
        other = {"https_proxy": f"http://{USER}:{PASSWORD}@127.0.0.1:{free_port()}"}
        assert look_around(make_session(tmp_path, **other), wish).proxy == f"http://127.0.0.1:{relay.port}"
        named = Settings(root=str(tmp_path), proxy=("socks5://10.0.0.9:1080",))
        assert look_around(make_session(tmp_path, named), wish).proxy == "socks5h://10.0.0.9:1080"


# What to measure with.


def test_the_file_of_a_dataset(tmp_path: Path) -> None:
    """The first file of the recipe, with its size, at its first place; hub's and mirrors' addresses count."""
    target = target_of(make_session(tmp_path), "coco_valid")
    assert target.url.startswith("https://")
    assert target.url.endswith("val2017.zip")
    assert target.size_bytes == 815_585_330
    assert target_of(make_session(tmp_path), "coco_valid", "https://h/x") == Target("https://h/x")
    with pytest.raises(UsageError, match="no single file"):
        target_of(make_session(tmp_path), "cc3m")
    with pytest.raises(UsageError, match="no web address"):
        target_of(make_session(tmp_path), "coco_valid", "file:///etc/passwd")


def test_sing_box_replaces_plain_addresses() -> None:
    """Its delay test would then be about another host, so it is not asked."""
    plain, secure = Target("http://h/f"), Target("https://h/f")
    assert delay_url(Version("sing-box", "1"), plain) == ""
    assert delay_url(Version("sing-box", "1"), secure) == "https://h/f"
    assert delay_url(Version("mihomo", "1"), plain) == "http://h/f"


def test_the_best_few() -> None:
    """The fastest answers first; what failed is left out, what was not tested is not."""
    assert best("abcd", {"a": 30, "b": 0, "c": 10, "d": 20}, 2) == ("c", "d")
    assert best("abc", {}, 2) == ("a", "b")
    assert best("abc", {"a": 1}, 0) == ()


def test_a_controller_that_fails_does_not_spoil_the_sample(tmp_path: Path, fake: Selector) -> None:
    """The sample counts; the way is then not known, and the controller was asked once."""
    fake.script["GET /connections"] = (500, {})
    with Relay().running() as relay:
        fake.script["GET /configs"] = {"mode": "rule", "mixed-port": relay.port}
        session = make_session(tmp_path)
        found = look_around(session, Wish(controller=fake.controller))
        with FakeCore({"GET /f": (200, b"x", {"Content-Length": "1"})}).running() as files:
            traced = trace(found, Target(f"http://{files.controller}/f"), ONE_BYTE, session)
    assert traced.sample.problem == ""
    assert traced.link is None
    assert fake.asked("GET").count("/connections") == 1


# Choosing and putting back.


class Bench:
    """A trial of nodes b and c in the group of a scripted core."""

    def __init__(self, fake: Selector, session: Session, path: Path) -> None:
        self.fake, self.session, self.choices = fake, session, Choices(path)
        self.core = Core(controller_at(fake.controller), None, HttpOptions(user_agent="t"))
        self.told: dict[str, Traced] = {}

    def run(self, measure: Callable[[], Traced], *names: str) -> bool:
        trial = Trial(core=self.core, group="G", names=names or ("b", "c"), choices=self.choices)
        return measure_each(trial, measure, self.told.__setitem__, self.session)

    @property
    def remembered(self) -> list[tuple[str, str]]:
        return [(choice.former, choice.chosen) for choice in self.choices.of(self.fake.controller)]


@pytest.fixture
def bench(fake: Selector, session: Session, tmp_path: Path) -> Bench:
    return Bench(fake, session, tmp_path / "state" / "proxy.json")


def test_each_is_measured_and_the_choice_put_back(bench: Bench) -> None:
    """While a node is measured it is chosen, and written down is what stood before the first."""
    seen = []

    def measure() -> Traced:
        seen.append((bench.fake.now, bench.remembered))
        return Traced(Sample(host="h"), Link(("G", bench.fake.now), "Match"))

    assert bench.run(measure) is True
    assert seen == [("b", [("a", "b")]), ("c", [("a", "c")])]
    assert {name: traced.link.chain for name, traced in bench.told.items()} == {
        "b": ("G", "b"),
        "c": ("G", "c"),
    }
    assert bench.fake.chosen == ["b", "c", "a"]
    assert bench.remembered == []


@pytest.mark.parametrize(
    "error", [Interrupted("stopped"), KeyboardInterrupt(), RuntimeError("a bug"), SystemExit(1)]
)
def test_whatever_happens_the_choice_is_put_back(bench: Bench, error: BaseException) -> None:
    """A signal or an error of our own leaves the group as it was."""

    def measure() -> Traced:
        raise error

    with pytest.raises(type(error)):
        bench.run(measure)
    assert bench.fake.now == "a"
    assert bench.fake.chosen == ["b", "a"]
    assert bench.remembered == []


def test_a_request_to_stop_between_two_nodes(bench: Bench) -> None:
    """The second node is not chosen any more."""

    def measure() -> Traced:
        bench.session.stop.set()
        return Traced(Sample(host="h"))

    with pytest.raises(Interrupted):
        bench.run(measure)
    assert bench.fake.chosen == ["b", "a"]


def test_a_node_that_is_not_taken_does_not_end_the_trial(bench: Bench) -> None:
    """Its row says why; the others are measured."""
    bench.fake.refuses.add("b")
    assert bench.run(lambda: Traced(Sample(host="h", done_bytes=9))) is True
    assert "not found" in bench.told["b"].sample.problem
    assert bench.told["c"].sample.done_bytes == 9
    assert bench.fake.now == "a"


def test_somebody_elses_choice_is_left_alone(bench: Bench) -> None:
    """Who chose in a dashboard meanwhile meant it."""

    def measure() -> Traced:
        bench.fake.now = "c"
        return Traced(Sample(host="h"))

    assert bench.run(measure, "b") is False
    assert bench.fake.now == "c"
    assert bench.remembered == []


def test_putting_back_is_tried_again(bench: Bench) -> None:
    """A controller that fails for a moment does not leave the user on the wrong node."""

    def measure() -> Traced:
        bench.fake.failures = 2
        return Traced(Sample(host="h"))

    assert bench.run(measure, "b") is True
    assert bench.fake.now == "a"


def test_if_it_cannot_be_put_back_the_user_learns_how(bench: Bench) -> None:
    """The error names both nodes, and what is remembered stays for `restore`."""

    def measure() -> Traced:
        bench.fake.refuses.add("a")
        return Traced(Sample(host="h"))

    with pytest.raises(Unreachable, match="may still use 'b' and not 'a'") as caught:
        bench.run(measure, "b")
    assert "g3m proxy restore" in caught.value.hint[0]
    assert bench.remembered == [("a", "b")]


def test_an_earlier_use_is_remembered_beyond_a_trial(bench: Bench) -> None:
    """What `use` changed can still be put back after a test."""
    bench.choices.change(bench.core, "G", "c")
    assert bench.remembered == [("a", "c")]
    bench.run(lambda: Traced(Sample(host="h")), "b")
    assert bench.fake.now == "c"
    assert bench.remembered == [("a", "c")]


def test_nothing_is_chosen_that_cannot_be_remembered(bench: Bench, tmp_path: Path) -> None:
    """If the state folder cannot be written, no choice is touched."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(Exception, match="state"):
        bench.run(lambda: Traced(Sample(host="h")))
    assert bench.fake.chosen == []


@pytest.mark.usefixtures("nowhere")
def test_an_option_that_is_no_proxy_is_said(tmp_path: Path, fake: Selector) -> None:
    """Going on with another proxy than the one that was named would be worse."""
    with Relay().running() as relay:
        fake.script["GET /configs"] = {"mode": "rule", "mixed-port": relay.port}
        named = Settings(root=str(tmp_path), proxy=("vmess://x",))
        with pytest.raises(SettingsError, match="--proxy"):
            look_around(make_session(tmp_path, named), Wish(controller=fake.controller))
