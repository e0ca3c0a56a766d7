"""`g3m proxy` against real cores, in processes of its own: looking, testing, choosing, putting back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
    SLOW_BYTES_PER_S,
    USER,
    Authority,
    FakeCore,
    Lab,
    Relay,
    core_lab,
    free_port,
    make_authority,
    wait_until,
)
from tests.ui.conftest import Desk, Ran

from g3m.adapters.cores import Core
from g3m.adapters.curl import HttpOptions
from g3m.core.cores import controller_at
from g3m.core.secrets import Secret
from g3m.ui.shell_lines import all_names, set_lines, unset_lines

STATE = "home/.local/state/g3m/proxy.json"


def plain(home: Path) -> dict[str, str]:
    """The environment of a user with nothing that matters."""
    passed = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**passed, "HOME": str(home), "LANG": "C.UTF-8"}


class Bench:
    """A user beside a core: runs commands, and looks into the core past them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        (folder / "home").mkdir()
        variables = plain(folder / "home")
        (folder / "cwd").mkdir()
        self.desk = Desk(folder / "cwd", None, {**variables, **lab.variables})
        self.core = Core(controller_at(lab.controller), Secret(SECRET), HttpOptions(user_agent="t"))
        self.said = ""

    def __call__(self, *arguments: str, url: str | None = None, **more: str) -> Ran:
        """Run `g3m proxy` with a file of the lab; all that is said is kept, to look for secrets in it."""
        measured = ("--url", url or self.lab.url) if arguments[0] in ("status", "test", "use") else ()
        ran = self.desk.run("proxy", arguments[0], *measured, *arguments[1:], **more)
        self.said += ran.out + ran.err
        return ran

    @property
    def now(self) -> str:
        return self.core.nodes()[GROUP].now

    @property
    def state(self) -> list[dict[str, str]]:
        path = self.folder / STATE
        return json.loads(path.read_text(encoding="utf-8"))["choices"] if path.exists() else []

    def no_secret_anywhere(self) -> None:
        written = b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())
        assert CANARY not in self.said
        assert CANARY.encode() not in written


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=REAL_CORES)
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Lab]:
    with core_lab(request.param, tmp_path_factory.mktemp("core"), authority) as lab:
        yield lab


@pytest.fixture
def bench(lab: Lab, tmp_path: Path) -> Iterator[Bench]:
    """A new user; after each test no secret is anywhere, and the first node is chosen again."""
    bench = Bench(lab, tmp_path)
    bench.core.choose(GROUP, FAST)
    yield bench
    bench.no_secret_anywhere()


# status


def test_status_for_people(bench: Bench) -> None:
    """The core, its mode, the port that would be used and whose it is, the way of a host."""
    ran = bench("status")
    assert ran.code == 0, ran.err
    assert re.search(rf"core +{bench.lab.kind} v?\d.* at {bench.lab.controller}, yours\n", ran.out)
    assert "mode     rule\n" in ran.out
    assert f"proxy    http://127.0.0.1:{bench.lab.port} would be used\n" in ran.out
    assert f"listens  127.0.0.1:{bench.lab.port} (http, socks5), yours\n" in ran.out
    assert re.search(rf"way +rule (Match|final): {re.escape(GROUP)} > {FAST}\n", ran.out)
    assert "warning" not in ran.out
    assert ran.err == ""


def test_status_in_json(bench: Bench) -> None:
    """The same as values: the node and the rule of the host that the dataset comes from."""
    (body,) = bench("status", "--json").documents
    host = body["host"]
    assert body["core"]["kind"] == bench.lab.kind
    assert body["core"]["ports"] == ({"mixed": bench.lab.port} if bench.lab.kind == "mihomo" else {})
    assert body["proxy"] == f"http://127.0.0.1:{bench.lab.port}"
    assert (host["chain"], host["problem"]) == ([GROUP, FAST], None)
    assert host["host"] in bench.lab.url
    assert body["warnings"] == []


def test_status_tells_of_a_host_that_goes_direct(bench: Bench) -> None:
    """Then no choice of a node helps, and that is said in the user's language."""
    ran = bench("status", "--lang", "zh", url=bench.lab.direct_url)
    assert "选择节点对它不起作用" in ran.out
    (body,) = bench("status", "--json", url=bench.lab.direct_url).documents
    assert [name.lower() for name in body["host"]["chain"]] == ["direct"]


def test_status_with_a_dead_node(bench: Bench) -> None:
    """What went wrong is said; the command itself has done its work."""
    bench.core.choose(GROUP, DEAD)
    ran = bench("status")
    assert ran.code == 0
    assert re.search(r"host +127\.0\.0\.1:\d+: (?!127)\w", ran.out)
    if bench.lab.kind == "mihomo":
        assert "the core shows no connection of ours" in ran.out


def test_status_without_the_network(bench: Bench) -> None:
    """--offline looks at the core and opens no connection to any host."""
    before = bench.lab.relays[FAST].served
    ran = bench("status", "--offline")
    assert "host " not in ran.out
    assert bench.lab.relays[FAST].served == before


def test_a_wrong_secret(bench: Bench) -> None:
    """Exit code 4 with the way out, and nothing of the secret."""
    ran = bench("status", G3M_CLASH_SECRET=f"{CANARY}-wrong")
    assert ran.code == 4
    assert "G3M_CLASH_SECRET" in ran.err


def test_the_secret_of_a_named_config(bench: Bench, tmp_path: Path) -> None:
    """The core's own configuration gives the secret, YAML or sing-box's JSON."""
    config = bench.lab.folder / "config.json"
    if bench.lab.kind == "mihomo":
        config = bench.lab.folder / "as.yaml"
        config.write_text(f"mode: rule\nsecret: {SECRET}\n")
    assert bench("nodes", "--config", str(config), G3M_CLASH_SECRET="").code == 0
    assert bench("nodes", G3M_CLASH_SECRET="").code == 4


@pytest.mark.parametrize("place", ["192.168.1.1:9090", "core.example.org:9090", "0.0.0.0:9090"])
def test_no_controller_elsewhere(bench: Bench, place: str) -> None:
    """Other machines are refused before a byte is sent, by option and by variable."""
    for ran in (bench("status", "--controller", place), bench("nodes", CLASH_API=place)):
        assert ran.code == 2
        assert "on this machine" in ran.err


def test_what_stands_open_is_said(authority: Authority, tmp_path: Path) -> None:
    """A controller and a proxy on all addresses and an empty secret are warned of, each with what to do."""
    kind = REAL_CORES[0]
    port = free_port()
    more = {"external-controller": f"0.0.0.0:{port}", "secret": "", "allow-lan": True, "bind-address": "*"}
    if kind != "mihomo":
        more = {"experimental": {"clash_api": {"external_controller": f"0.0.0.0:{port}"}}}
    with core_lab(kind, tmp_path / "core", authority, controller_port=port, **more) as lab:
        ran = Bench(lab, tmp_path)("status")
    expected = ("external-controller to 127.0.0.1", "set secret", "allow-lan: false")
    for words in expected if kind == "mihomo" else expected[:2]:
        assert words in ran.out


# nodes


def test_nodes(bench: Bench) -> None:
    """Groups that are chosen by hand come first, the chosen node has a star, names are to the letter."""
    ran = bench("nodes")
    lines = ran.out.splitlines()
    assert lines[0] == f"{GROUP} (Selector)"
    assert any(re.fullmatch(rf"  \* +\S.*  {FAST} \(Socks5?\)", line, re.IGNORECASE) for line in lines)
    assert any(SLOW in line for line in lines)
    assert "GLOBAL" not in ran.out
    assert bench("nodes", AUTO).out.splitlines()[0] == f"{AUTO} (URLTest)"
    assert bench("nodes", "nothing").code == 2


def test_nodes_in_json(bench: Bench) -> None:
    """All that a script needs."""
    (body,) = bench("nodes", "--json").documents
    group = next(item for item in body["groups"] if item["name"] == GROUP)
    assert (group["by_hand"], group["now"]) == (True, FAST)
    assert group["nodes"][:4] == [FAST, LOGIN, SLOW, DEAD]
    assert {FAST, LOGIN, SLOW, DEAD} <= {item["name"] for item in body["nodes"]}


# test


def rows(ran: Ran) -> dict[str, dict[str, Any]]:
    assert ran.code == 0, ran.err
    return {row["name"]: row for row in ran.documents[0]["nodes"]}


def test_without_consent_nothing_is_chosen(bench: Bench) -> None:
    """Delays of all, throughput of the chosen node, and a word about --yes."""
    ran = bench("test", "--json")
    found = rows(ran)
    assert found[FAST]["chosen"]
    assert found[FAST]["rate_bytes_per_s"] > 2 * SLOW_BYTES_PER_S
    assert found[FAST]["delay_ms"] > 0
    assert found[LOGIN]["delay_ms"] > 0
    assert found[DEAD]["delay_ms"] == 0
    assert {name for name, row in found.items() if row["rate_bytes_per_s"]} == {FAST}
    assert "REJECT" not in found
    assert "--yes" in ran.err
    assert (bench.now, bench.state) == (FAST, [])


def test_with_consent_the_best_are_measured(bench: Bench) -> None:
    """By throughput through the node itself, which the core confirms; afterwards all is as before."""
    ran = bench("test", "--json", "--yes", FAST, LOGIN, SLOW)
    found = rows(ran)
    assert list(found) == [FAST, LOGIN, SLOW]
    for name in (FAST, LOGIN, SLOW):
        assert found[name]["chain"] == [GROUP, name]
    assert 0.3 * SLOW_BYTES_PER_S < found[SLOW]["rate_bytes_per_s"] < 2 * SLOW_BYTES_PER_S
    assert found[LOGIN]["rate_bytes_per_s"] > 2 * SLOW_BYTES_PER_S
    assert ran.documents[0]["restored"] is True
    assert f"{GROUP} uses {FAST} again." in ran.err
    assert (bench.now, bench.state) == (FAST, [])


def test_the_number_of_measured_nodes(bench: Bench) -> None:
    """So many others as said, and none that failed the delay test."""
    found = rows(bench("test", "--json", "-y", "--nodes", "1"))
    measured = {name for name, row in found.items() if row["rate_bytes_per_s"]}
    assert FAST in measured
    assert len(measured) == 2
    assert DEAD not in measured


def test_the_table(bench: Bench) -> None:
    """For people: one line a node, the chosen one with a star, and what to do if another was faster."""
    bench.core.choose(GROUP, SLOW)
    ran = bench("test", "-y", LOGIN, DEAD)
    star = next(line for line in ran.out.splitlines() if line.startswith("*"))
    assert star.endswith(SLOW)
    assert re.search(rf"B/s +\d+ ms  {LOGIN}\n", ran.out)
    assert re.search(rf"failed +- +- +{DEAD}: .+\n", ran.out)
    assert f"g3m proxy use --group '{GROUP}' -- '{LOGIN}'" in ran.out


def test_a_host_that_does_not_use_the_group_is_not_tested(bench: Bench) -> None:
    """To choose nodes would teach nothing, so nothing is chosen."""
    ran = bench("test", "-y", "--group", GROUP, url=bench.lab.direct_url)
    assert ran.code == 2
    assert "does not go through" in ran.err
    assert bench.now == FAST


def test_strangers_are_not_tested(bench: Bench) -> None:
    """A name that the group does not have is an error before anything is chosen."""
    for arguments in (("nobody",), ("--group", AUTO), ("--group", "none")):
        assert bench("test", "-y", *arguments).code == 2
    assert bench.now == FAST


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_in_the_middle(bench: Bench, number: signal.Signals, code: int) -> None:
    """However often it comes: the former choice is put back before the command ends."""
    words = ("proxy", "test", "-y", SLOW, LOGIN, "--url", bench.lab.url)
    with bench.desk.start(*words) as process:
        wait_until(lambda: bench.now == SLOW, "the slow node to be chosen")
        (noted,) = bench.state
        assert (noted["former"], noted["chosen"]) == (FAST, SLOW)
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    bench.said += out + err
    assert process.returncode == code
    assert "Traceback" not in err
    assert (bench.now, bench.state) == (FAST, [])


def test_after_a_kill_restore_puts_back(bench: Bench) -> None:
    """What a killed test left chosen is remembered on the disk."""
    with bench.desk.start("proxy", "test", "-y", SLOW, "--url", bench.lab.url) as process:
        wait_until(lambda: bench.now == SLOW, "the slow node to be chosen")
        process.kill()
        process.communicate(timeout=20)
    assert bench.now == SLOW
    ran = bench("restore")
    assert ran.out == f"{GROUP} uses {FAST} again.\n"
    assert (bench.now, bench.state) == (FAST, [])


def test_the_question_on_a_terminal(bench: Bench) -> None:
    """It names what would be chosen and for how long; no is respected, yes measures and puts back."""
    words = ("proxy", "test", LOGIN, "--url", bench.lab.url)
    ran = bench.desk.on_terminal(*words, keys=[("[y/N]", "n\r")])
    assert f"Choose {LOGIN} in {GROUP}" in ran.err
    assert "Only the chosen node was measured" in ran.err
    ran = bench.desk.on_terminal(*words, keys=[("[y/N]", "y\r")])
    assert f"{GROUP} uses {FAST} again." in ran.err
    ran = bench.desk.on_terminal(*words, keys=[("[y/N]", "\x03")])
    assert ran.code == 130
    assert bench.now == FAST


# use and restore


def test_use_and_restore(bench: Bench) -> None:
    """The group of the host is found, the choice read back and remembered, and put back by one command."""
    ran = bench("use", SLOW, "-y")
    assert ran.code == 0, ran.err
    assert f"{GROUP} uses {SLOW} now, and {FAST} before" in ran.out
    assert "stay on the old node" in ran.out
    assert bench.now == SLOW
    assert bench("use", SLOW).out == f"{GROUP} uses {SLOW} already.\n"
    assert bench("use", LOGIN, "-y", "--group", GROUP).code == 0
    (noted,) = bench.state
    assert noted == {"controller": bench.lab.controller, "group": GROUP, "former": FAST, "chosen": LOGIN}
    assert stat.S_IMODE((bench.folder / STATE).stat().st_mode) == 0o600
    ran = bench("restore")
    assert ran.out == f"{GROUP} uses {FAST} again.\n"
    assert (bench.now, bench.state) == (FAST, [])
    assert "Nothing to put back" in bench("restore").out


def test_use_in_json(bench: Bench) -> None:
    """For scripts: what was changed, and what was put back."""
    (body,) = bench("use", LOGIN, "-y", "--json").documents
    assert (body["group"], body["node"], body["former"]) == (GROUP, LOGIN, FAST)
    (body,) = bench("restore", "--json").documents
    assert body["restored"] == [{"group": GROUP, "node": FAST}]


def test_nothing_is_chosen_without_consent(bench: Bench) -> None:
    """Where nobody can be asked the command says what is missing; a no on a terminal changes nothing."""
    ran = bench("use", SLOW)
    assert ran.code == 2
    assert "--yes" in ran.err
    ran = bench.desk.on_terminal("proxy", "use", SLOW, "--url", bench.lab.url, keys=[("[y/N]", "n\r")])
    assert "Nothing was changed." in ran.err
    assert (bench.now, bench.state) == (FAST, [])
    ran = bench.desk.on_terminal("proxy", "use", SLOW, "--url", bench.lab.url, keys=[("[y/N]", "y\r")])
    assert bench.now == SLOW


def test_what_cannot_be_used(bench: Bench) -> None:
    """A stranger with a suggestion, and a group that chooses by itself."""
    ran = bench("use", "ded", "-y")
    assert ran.code == 2
    assert "did you mean 'dead'" in ran.err
    ran = bench("use", FAST, "-y", "--group", AUTO)
    assert ran.code == 2
    assert "chooses by itself" in ran.err


def test_restore_does_not_undo_somebody_elses_choice(bench: Bench) -> None:
    """What was chosen in a dashboard since then is only undone with consent."""
    bench("use", SLOW, "-y")
    bench.core.choose(GROUP, LOGIN)
    bench("restore")
    assert bench.now == LOGIN
    ran = bench.desk.on_terminal("proxy", "restore", keys=[("which g3m did not choose", "y\r")])
    assert ran.code == 0
    assert (bench.now, bench.state) == (FAST, [])


# env


def evaluated(shell: Sequence[str], lines: str, before: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The proxy variables after a shell has read the lines."""
    script = tmp_path / "lines"
    script.write_text(lines)
    words = [*shell, f'eval "$(cat {script})"; env -0']
    environment = {"PATH": os.environ["PATH"], **before}
    done = subprocess.run(words, env=environment, capture_output=True, timeout=20, check=True)
    pairs = (item.partition("=") for item in done.stdout.decode().split("\0") if item)
    return {name: value for name, _, value in pairs if name in all_names()}


SHELLS = [[name, "-c"] for name in ("sh", "bash", "zsh") if shutil.which(name)]


def test_env_sets_and_unsets(bench: Bench, tmp_path: Path) -> None:
    """What a shell evaluates points at the core's port, in both cases, and --off takes all of it back."""
    ran = bench("env", "--shell", "bash")
    assert ran.code == 0
    off = bench("env", "--shell", "bash", "--off", https_proxy="vmess://no").out
    for shell in SHELLS:
        found = evaluated(shell, ran.out, {"NO_PROXY": "a.example, $(id) 'b'"}, tmp_path)
        assert set(found) == set(all_names())
        assert {found[name] for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")} == {
            f"http://127.0.0.1:{bench.lab.port}"
        }
        assert "127.0.0.1" in found["no_proxy"].split(",")
        assert evaluated(shell, off, found, tmp_path) == {}
    assert ran.err == ""


def test_env_keeps_and_quotes_the_exceptions(bench: Bench, tmp_path: Path) -> None:
    """The exceptions that are set stay; what they contain is text and never a command."""
    evil = "a.example $(touch${IFS}x);`id`'\"\\ b.example"
    out = bench("env", "--shell", "bash", no_proxy=evil).out
    for shell in SHELLS:
        found = evaluated(shell, out, {}, tmp_path)
        assert found["no_proxy"].split(",")[:3] == ["a.example", "$(touch${IFS}x);`id`'\"\\", "b.example"]
    assert not list(tmp_path.rglob("x"))


def test_env_puts_right_what_is_wrong(bench: Bench) -> None:
    """A variable that no program can use does not keep the lines from being printed."""
    ran = bench("env", https_proxy="vmess://no", all_proxy="")
    assert ran.code == 0
    assert f"export https_proxy=http://127.0.0.1:{bench.lab.port}\n" in ran.out


def test_env_for_fish(bench: Bench) -> None:
    """fish has words of its own; the user's shell decides if none is named."""
    ran = bench("env", SHELL="/usr/bin/fish")
    assert ran.out.splitlines()[0] == f"set -gx http_proxy 'http://127.0.0.1:{bench.lab.port}';"
    assert bench("env", SHELL="/bin/tcsh").out.startswith("export http_proxy=")
    assert bench("env", "--shell", "fish", "--off").out.splitlines()[0] == "set -e http_proxy;"


def test_fish_quotes() -> None:
    """Only a backslash and the quote itself mean something inside fish's quotes."""
    lines = list(set_lines("fish", "http://h:1", {"no_proxy": "a'b\\c"}))
    assert "set -gx no_proxy 'a\\'b\\\\c,localhost," in "\n".join(lines)
    assert len(lines) == len(list(unset_lines("fish"))) == len(all_names()) == 8


def test_env_never_prints_a_login(bench: Bench, tmp_path: Path) -> None:
    """Neither that of --proxy nor that of a variable; a word on stderr says that it is missing."""
    with Relay(login=True).running() as relay:
        login = f"http://{USER}:{PASSWORD}@127.0.0.1:{relay.port}"
        ran = bench("env", "--proxy", login)
    assert f"export http_proxy=http://127.0.0.1:{relay.port}\n" in ran.out
    assert "wants a login" in ran.err
    ran = bench("env", https_proxy=f"http://{USER}:{PASSWORD}@127.0.0.1:{bench.lab.port}")
    assert f"export https_proxy=http://127.0.0.1:{bench.lab.port}\n" in ran.out
    assert ran.err == ""


def test_env_without_a_proxy_prints_nothing(tmp_path: Path) -> None:
    """An error goes to stderr, so that a shell evaluates nothing."""
    script = {"GET /version": {"version": "v1"}, "GET /configs": {"mixed-port": free_port()}}
    with FakeCore(script).running() as fake:
        desk = Desk(tmp_path, None, plain(tmp_path))
        ran = desk.run("proxy", "env", CLASH_API=fake.controller)
    assert (ran.code, ran.out) == (5, "")
    assert "--proxy" in ran.err


# Strangers.


def test_names_from_strangers_are_not_obeyed(tmp_path: Path) -> None:
    """Control characters and line ends in names reach a terminal as question marks."""
    evil = "a\x1b[2J\nb\u202e\t"
    proxies = {
        "G\x1b": {"type": "Selector\x07", "now": evil, "all": [evil, "x"]},
        evil: {"type": "Ss\x1b", "history": []},
    }
    script = {
        "GET /version": {"meta": True, "version": "v1\x1b]0;x\x07"},
        "GET /configs": {"mode": "ru\x1ble", "mixed-port": free_port()},
        "GET /proxies": {"proxies": proxies},
    }
    with FakeCore(script).running() as fake:
        desk = Desk(tmp_path, None, plain(tmp_path))
        for arguments in (("nodes",), ("status", "--offline"), ("nodes", "--json"), ("use", "a\x1b", "-y")):
            ran = desk.run("proxy", *arguments, CLASH_API=fake.controller)
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", ran.out + ran.err)
        ran = desk.run("proxy", "nodes", CLASH_API=fake.controller)
    assert "a?[2J?b??" in ran.out


def test_nothing_but_the_promised_calls(bench: Bench, tmp_path: Path) -> None:
    """Whatever the commands do, a core is only read, or a node chosen in a group."""
    script = {
        "GET /version": {"meta": True, "version": "v1"},
        "GET /configs": {"mode": "rule", "mixed-port": bench.lab.port},
        "GET /connections": {"connections": []},
        "GET /proxies": {
            "proxies": {"G": {"type": "Selector", "now": "a", "all": ["a", "b"]}, "a": {}, "b": {}}
        },
        "PUT /proxies/G": (204, None),
    }
    with FakeCore(script).running() as fake:
        for arguments in (
            ("status",),
            ("nodes",),
            ("test", "-y"),
            ("use", "b", "-y"),
            ("restore",),
            ("env",),
        ):
            bench(*arguments, CLASH_API=fake.controller)
        asked = {f"{request.method} {request.path.partition('?')[0]}" for request in fake.requests}
    assert asked == {*script, "GET /proxies/a/delay", "GET /proxies/b/delay"}
