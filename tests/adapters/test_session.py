"""adapters/session.py: one session, whole runs: secrets stay where they belong, waits can be stopped."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.session import Session, open_session
from g3m.core.errors import G3MError, Interrupted, RecipeError, SettingsError
from g3m.core.events import to_dict
from g3m.core.routes import Endpoints, candidates
from g3m.core.settings import Settings
from g3m.lab.mischief import Redirect308, RedirectTo, Status
from g3m.lab.origin import Origin
from g3m.lab.world import CC3M_COMMIT, CC3M_REPOSITORY, KAGGLE_KEY, KAGGLE_USERNAME, SBU_DATASET, World
from g3m.runners.run import get_in, make_session

HUB_CANARY = "hf_CanaryCanaryCanary"
KAGGLE_CANARY = "KGAT_CanaryCanaryCanary"
BASIC = base64.b64encode(f"{KAGGLE_USERNAME}:{KAGGLE_KEY}".encode()).decode()
SECRETS = (HUB_CANARY, KAGGLE_CANARY, KAGGLE_KEY, BASIC, "Signature=", "canary-password")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "world", samples=3) as world:
        yield world


def _host(url: str) -> str:
    return url.partition("://")[2]


@dataclass
class Run:
    """A whole run and everything it said."""

    session: Session
    events: list[Any]
    error: G3MError | None

    def words(self) -> str:
        """Everything that a person, a log or a program may see of the run, and every file it left."""
        said = [repr(self.session), str(self.session), repr(self.session.settings), repr(self.session.http)]
        said += [repr(event) + json.dumps(to_dict(event)) for event in self.events]
        if self.error is not None:
            said += [repr(self.error), str(self.error), self.error.message, str(self.error.__dict__)]
            said += [repr(self.error.__cause__), repr(self.error.__context__)]
        return "\n".join(said)


def _run(world: World, root: Path, names: list[str], variables: dict[str, str], **options: Any) -> Run:
    settings = {"root": str(root), "keep_assets": True, **world.options, **options}
    session = replace(make_session(settings, variables), sleep=lambda _: None)
    ticks = iter(range(10**9))
    session = replace(session, monotonic=lambda: float(next(ticks)))
    run = Run(session, [], None)
    try:
        get_in(names, session, [run.events.append])
    except G3MError as error:
        run.error = error
    return run


def _no_secret_below(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for secret in SECRETS:
                assert secret.encode() not in data, f"{secret} in {path}"


def test_tokens_reach_their_own_host_alone(world: World, tmp_path: Path) -> None:
    """With both kinds of token, each goes to its API and never to the signed storage behind it."""
    origin = world.origin
    origin.hub(CC3M_REPOSITORY, CC3M_COMMIT, world.sources.cc3m.folder, page_size=1, token=HUB_CANARY)
    variables = {**world.variables, "HF_TOKEN": HUB_CANARY}
    run = _run(world, tmp_path / "data", ["all"], variables, hub_token_hosts=[_host(origin.url)])
    assert run.error is None
    assert {request.listener for request in origin.requests} == {"site", "storage"}
    for request in origin.requests:
        given = request.headers.get("authorization", "")
        if request.listener == "storage":
            assert given == ""
        for secret in SECRETS[:4]:
            others = {name: value for name, value in request.headers.items() if name != "authorization"}
            assert secret not in str(others) + request.path + request.query
    hub = [
        request
        for request in origin.requests
        if "/datasets/pixparse" in request.path and request.listener == "site"
    ]
    assert hub
    assert all(f"Bearer {HUB_CANARY}" in request.headers["authorization"] for request in hub)
    kaggle = [
        request
        for request in origin.requests
        if request.path.startswith("/api/v1/") and request.listener == "site"
    ]
    assert kaggle
    assert all(f"Basic {BASIC}" in request.headers["authorization"] for request in kaggle)
    for secret in SECRETS:
        assert secret not in run.words().replace(repr(run.session), "")
    _no_secret_below(tmp_path / "data")


def test_a_session_shows_no_secret(world: World, tmp_path: Path) -> None:
    """Printing a session, in a traceback or a log, prints no variable of the user's."""
    variables = {**world.variables, "HF_TOKEN": HUB_CANARY, "KAGGLE_API_TOKEN": KAGGLE_CANARY}
    session = make_session({"root": str(tmp_path / "data"), **world.options}, variables)
    shown = repr(session) + str(session) + repr(session.settings) + repr(session.http.options)
    for secret in SECRETS:
        assert secret not in shown


def test_a_mirror_of_the_hub_gets_no_token(world: World, tmp_path: Path) -> None:
    """HF_ENDPOINT may point anywhere: HF_TOKEN stays at home unless the user names the host."""
    run = _run(world, tmp_path / "data", ["cc3m_valid"], {**world.variables, "HF_TOKEN": HUB_CANARY})
    assert run.error is None
    assert world.origin.requests
    assert not any("authorization" in request.headers for request in world.origin.requests)


def test_a_private_hub_of_a_lab_may_have_the_token(world: World, tmp_path: Path) -> None:
    """Refused without the setting, served with it."""
    origin = world.origin
    origin.hub(CC3M_REPOSITORY, CC3M_COMMIT, world.sources.cc3m.folder, token=HUB_CANARY)
    variables = {**world.variables, "HF_TOKEN": HUB_CANARY}
    refused = _run(world, tmp_path / "a", ["cc3m_valid"], variables)
    assert refused.error is not None
    assert refused.error.exit_code == 4
    served = _run(world, tmp_path / "b", ["cc3m_valid"], variables, hub_token_hosts=[_host(origin.url)])
    assert served.error is None


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_both_kinds_of_kaggle_accounts(world: World, tmp_path: Path, kind: str) -> None:
    """User name with key, or the newer token: the API takes it, the storage never sees it."""
    origin = world.origin
    origin.kaggle(SBU_DATASET, world.sources.sbu, KAGGLE_USERNAME, KAGGLE_KEY, token=KAGGLE_CANARY)
    variables = dict(world.variables)
    if kind == "bearer":
        variables = {
            "KAGGLE_API_TOKEN": KAGGLE_CANARY,
            "G3M_KAGGLE_TOKEN_HOSTS": variables["G3M_KAGGLE_TOKEN_HOSTS"],
        }
    run = _run(world, tmp_path / "data", ["sbu"], variables)
    assert run.error is None
    assert [("authorization" in request.headers) for request in origin.requests] == [True, False]
    for secret in SECRETS:
        assert secret not in run.words().replace(repr(run.session), "")
    _no_secret_below(tmp_path / "data")


def test_a_wrong_account_is_refused_without_naming_it(world: World, tmp_path: Path) -> None:
    """The error says what to do, and shows neither token nor signed link."""
    run = _run(world, tmp_path / "data", ["sbu"], {"KAGGLE_API_TOKEN": KAGGLE_CANARY})
    assert run.error is not None
    assert run.error.exit_code == 4
    assert "KAGGLE_API_TOKEN" in run.error.hint[0]
    for secret in SECRETS:
        assert secret not in run.words().replace(repr(run.session), "")


@pytest.mark.parametrize("mischief", [RedirectTo, Redirect308])
def test_a_redirect_takes_no_token_along(world: World, tmp_path: Path, mischief: Any) -> None:
    """Whatever host an API sends us to, with whatever status, it gets no credential."""
    variables = {**world.variables, "HF_TOKEN": HUB_CANARY}
    with Origin() as other:
        other.hub(CC3M_REPOSITORY, CC3M_COMMIT, world.sources.cc3m.folder)
        for pattern in ("/api/*", "/datasets/*"):
            world.origin.mischief(pattern, mischief(other.url), times=None)
        hosts = [_host(world.origin.url)]
        _run(world, tmp_path / "data", ["cc3m_valid", "sbu"], variables, hub_token_hosts=hosts)
        assert any("authorization" in request.headers for request in world.origin.requests)
        assert other.requests
        assert not any("authorization" in request.headers for request in other.requests)


def test_a_mirror_rule_takes_no_token_along(world: World, tmp_path: Path) -> None:
    """A mirror of the settings serves the hub's files without seeing the hub's token."""
    with Origin() as other:
        other.hub(CC3M_REPOSITORY, CC3M_COMMIT, world.sources.cc3m.folder)
        rules = [*world.options["mirrors"], {"prefix": f"{world.origin.url}/", "places": [f"{other.url}/"]}]
        run = _run(
            world,
            tmp_path / "data",
            ["cc3m_valid"],
            {"HF_TOKEN": HUB_CANARY},
            mirrors=rules,
            hub_token_hosts=[_host(world.origin.url)],
        )
        assert run.error is None
        assert world.origin.requests == []
        assert other.requests
        assert not any("authorization" in request.headers for request in other.requests)


def test_a_password_in_a_place_or_proxy_is_shown_nowhere(world: World, tmp_path: Path) -> None:
    """User info of a mirror's address reaches no event, no error and no file."""
    place = f"http://me:canary-password@{_host(world.origin.url)}/s3/"
    rules = [{"prefix": "https://s3.amazonaws.com/", "places": [place]}]
    rules.append({"prefix": "http://images.cocodataset.org/", "places": [f"{place}images.cocodataset.org/"]})
    for root, status in (("good", None), ("bad", Status(403)), ("worse", Status(500))):
        world.origin.be_honest()
        if status is not None:
            world.origin.mischief("/s3/*", status, times=None)
        run = _run(world, tmp_path / root, ["coco_valid"], {}, mirrors=rules)
        assert (run.error is None) == (status is None)
        shown = run.words().replace(repr(run.session), "").replace(repr(run.session.settings), "")
        assert "canary-password" not in shown
        _no_secret_below(tmp_path / root)


def test_settings_show_no_password_of_a_mirror(world: World, tmp_path: Path) -> None:
    """Printing the settings shows where mirrors are, not how one signs in there."""
    rules = [{"prefix": "https://a.test/", "places": ["https://me:canary-password@b.test/"]}]
    session = make_session({"root": str(tmp_path), "mirrors": rules}, {})
    assert "canary-password" not in repr(session.settings)


def test_the_index_holds_no_secret(world: World, tmp_path: Path) -> None:
    """Not even compressed in a database."""
    run = _run(world, tmp_path / "data", ["sbu"], world.variables)
    assert run.error is None
    for path in (tmp_path / "data").rglob("*.sqlite*"):
        with sqlite3.connect(path) as index:
            dump = "\n".join(index.iterdump())
        assert not any(secret in dump for secret in SECRETS)


def test_a_session_is_made_of_what_it_is_given(tmp_path: Path) -> None:
    """Variables and home are the caller's; nothing of the process leaks in."""
    settings = Settings(root=str(tmp_path / "data"))
    session = open_session(settings, variables={"A": "b"}, home=tmp_path)
    assert session.variables == {"A": "b"}
    assert session.home == tmp_path
    assert session.store.root == tmp_path / "data"
    assert not (tmp_path / "data").exists()


def test_a_session_knows_its_ways_and_limits(tmp_path: Path) -> None:
    """Proxies of the options and the variables, connections, patience and pace come from the settings."""
    options = {"root": str(tmp_path), "proxy": ["http://p:1"], "connections": 5, "stall_timeout_s": 7}
    session = make_session(
        {**options, "bwlimit": "2M"}, {"https_proxy": "http://q:2", "no_proxy": "here.test"}
    )
    assert session.ways.of("https://a.test/") == ("http://p:1", "http://q:2", "")
    assert session.ways.of("http://a.test/") == ("http://p:1", "")
    assert session.ways.of("https://here.test/") == ("",)
    assert session.http.ways is session.ways
    assert session.http.connections == session.limits.connections == 5
    assert session.limits.stall_s == session.http.options.stall_timeout_s == 7
    assert session.pace.rate_bytes_per_s == 2 * 2**20
    plain = make_session({"root": str(tmp_path), "no_proxy": True}, {"https_proxy": "http://q:2"})
    assert plain.ways.of("https://a.test/") == ("",)
    assert plain.pace.rate_bytes_per_s is None
    assert plain.pace.wait_s() == 0.0


@pytest.mark.parametrize("options", [{"bwlimit": "fast"}, {"connections": 0}])
def test_a_limit_that_cannot_be_meant_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    """Before anything is asked it is said which setting is not right."""
    with pytest.raises(SettingsError, match=next(iter(options))):
        make_session({"root": str(tmp_path), **options}, {})


@pytest.mark.parametrize(
    ("options", "variables"),
    [({"proxy": ["quic://me:canary-password@p:1"]}, {}), ({}, {"all_proxy": "me:canary-password@"})],
)
def test_a_proxy_that_cannot_be_used_stops_the_network(
    tmp_path: Path, options: dict[str, Any], variables: dict[str, str]
) -> None:
    """Whoever wants to ask a host is told, without the login; who reads only files is not bothered."""
    session = make_session({"root": str(tmp_path), **options}, variables)
    with pytest.raises(SettingsError) as caught, session.http.open("http://127.0.0.1:1/"):
        pass
    with pytest.raises(SettingsError), session.http.pool():
        pass
    assert "canary-password" not in str(caught.value) + repr(caught.value)


def test_a_session_shows_no_login_of_a_proxy(tmp_path: Path) -> None:
    """However a proxy was named, printing session, settings, ways or routes shows no password."""
    proxy = "http://me:canary-password@p.test:1"
    for options, variables in (({"proxy": [proxy]}, {}), ({}, {"https_proxy": proxy, "http_proxy": proxy})):
        session = make_session({"root": str(tmp_path), **options}, variables)
        assert session.ways.of("https://a.test/")[0] == proxy
        routes = candidates(["https://a.test/x"], Endpoints(), (), session.ways)
        shown = [session, session.settings, session.ways, session.http.ways, session.http.options, routes]
        assert "canary-password" not in " ".join(map(repr, shown))


def test_a_session_of_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without variables the process's are taken, once."""
    monkeypatch.setenv("G3M_TEST_VARIABLE", "x")
    monkeypatch.setenv("HOME", str(tmp_path))
    session = open_session(Settings(root=str(tmp_path)))
    monkeypatch.delenv("G3M_TEST_VARIABLE")
    assert session.variables["G3M_TEST_VARIABLE"] == "x"
    assert session.home == tmp_path


def test_recipes_of_the_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the config file is expanded and must be there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    open_session(Settings(recipes=("~/mine",)), variables={}, home=tmp_path)
    with pytest.raises(RecipeError):
        open_session(Settings(recipes=("~/none",)), variables={}, home=tmp_path)


def test_a_wait_is_as_long_as_was_said(tmp_path: Path) -> None:
    """The sum of the naps is the wait, and no nap is long."""
    now_s, naps = [0.0], []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now_s[0] += seconds

    session = open_session(Settings(root=str(tmp_path)), variables={}, home=tmp_path)
    session = replace(session, sleep=sleep, monotonic=lambda: now_s[0])
    session.wait(1.5)
    assert sum(naps) == pytest.approx(1.5)
    assert max(naps) <= 0.2
    naps.clear()
    session.wait(0)
    session.wait(-1)
    assert naps == []


def test_a_stop_ends_a_wait(tmp_path: Path) -> None:
    """Ctrl-C in a five-minute wait is heard at once."""
    session = open_session(Settings(root=str(tmp_path)), variables={}, home=tmp_path)
    session.check_stop()
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        assert len(naps) < 10, "the stop was not heard"
        if len(naps) == 3:
            session.stop.set()

    with pytest.raises(Interrupted):
        replace(session, sleep=sleep).wait(300)
    assert len(naps) == 3
    with pytest.raises(Interrupted):
        session.check_stop()
