"""ui/doctor.py: all that a bug report needs, and no secret of anybody's."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.ui.conftest import Desk

from g3m.adapters.disk import Free, Store
from g3m.runners.run import make_session
from g3m.ui import doctor
from g3m.ui.doctor import doctor_lines, examine
from g3m.ui.words import Speaker

CANARY = "CANARY5f0e"


def secrets_of(home: Path) -> dict[str, str]:
    """Variables and files of a user who has a canary in every secret."""
    for path, text in (
        (home / ".kaggle" / "kaggle.json", json.dumps({"username": "me", "key": f"{CANARY}kj"})),
        (home / ".kaggle" / "access_token", f"{CANARY}at"),
        (home / ".cache" / "huggingface" / "token", f"{CANARY}hf"),
        (home / ".netrc", f"machine huggingface.co login me password {CANARY}nr"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {
        "HF_TOKEN": f"hf_{CANARY}",
        "KAGGLE_USERNAME": "me",
        "KAGGLE_KEY": f"{CANARY}key",
        "KAGGLE_API_TOKEN": f"{CANARY}api",
        "HTTP_PROXY": f"http://me:{CANARY}@127.0.0.1:9",
        "https_proxy": f"me:{CANARY}@127.0.0.1:9",
        "ALL_PROXY": f"socks5h://me:{CANARY}@127.0.0.1:9",
        "NO_PROXY": "localhost,127.0.0.1",
        "MODELSCOPE_API_TOKEN": f"{CANARY}ms",
    }


def config_of(desk: Desk) -> str:
    """The world's settings, with logins in every address that may have one."""
    login = f"//me:{CANARY}@127.0.0.1"
    return (
        desk.world.config().replace("//127.0.0.1", login).replace("//localhost", f"//me:{CANARY}@localhost")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("doctor", "--json"),
        ("status", "--json"),
        ("plan", "all"),
        ("plan", "all", "--json"),
        ("info", "all", "--json"),
        ("list", "--json"),
        ("get", "all", "--yes"),
        ("get", "all", "--yes", "--json"),
        ("get", "coco_vald", "--json"),
        ("verify", "--json"),
    ],
    ids=" ".join,
)
def test_no_secret_is_printed_or_written(desk: Desk, arguments: tuple[str, ...]) -> None:
    """With canaries in tokens, files, proxies and mirrors: none on stdout, on stderr, or in a file below the root."""
    (desk.cwd / "g3m.toml").write_text(config_of(desk), encoding="utf-8")
    desk.world.origin.mischief("*", _broken(), times=2)
    ran = desk.run(*arguments, **secrets_of(Path(desk.variables["HOME"])))
    assert ran.code in (0, 2, 3, 4, 5)
    assert CANARY not in ran.out
    assert CANARY not in ran.err
    (desk.cwd / "g3m.toml").unlink()
    assert CANARY.encode() not in desk.everything_written()


def _broken() -> Any:
    from g3m.lab.mischief import Status

    return Status(404)


def test_a_dead_proxy_with_a_password_is_named_without_it(desk: Desk) -> None:
    """Where the proxy does not answer, the error says so and keeps the password."""
    text = desk.world.config().replace("http://127.0.0.1", "http://drawn.invalid")
    (desk.cwd / "g3m.toml").write_text(text, encoding="utf-8")
    ran = desk.run("plan", "cc3m", http_proxy=f"http://me:{CANARY}@127.0.0.1:9")
    assert ran.code == 0
    assert "the hub's listing cannot be asked for" in ran.err
    assert CANARY not in ran.out + ran.err


def facts_of(tmp_path: Path, variables: dict[str, str], **options: Any) -> dict[str, Any]:
    return examine(make_session({"root": str(tmp_path / "data"), **options}, variables), [])


@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:{}@host:3128",
        "me:{}@host:3128",
        "socks5://me:{}@host",
        "https://{}@host:1",
        "http://me:{}@[::1]:3128",
        "http://me:{}@host:notaport",
        "http://me:1/{}@host:3128",
        "http://me:1#{}@host:3128",
        "http://me:1?{}@host:3128",
        "//me:{}@host:3128",
        "http:/me:{}@host:3128",
        "http:me:{}@host:3128",
        "http:///me:{}@host",
        " http://me:{}@host:3128 ",
        "http://host:3128/?password={}",
        "{}@host",
    ],
)
def test_a_proxy_is_shown_without_its_login_however_it_is_written(tmp_path: Path, proxy: str) -> None:
    """A variable written wrongly is what a doctor is asked about: its password is not shown either."""
    facts = facts_of(
        tmp_path, {name: proxy.format(CANARY) for name in ("http_proxy", "HTTPS_PROXY", "all_proxy")}
    )
    shown = json.dumps(facts)
    assert set(facts["proxies"]) == {"http_proxy", "HTTPS_PROXY", "all_proxy"}
    assert CANARY not in shown


def test_a_proxy_without_login_is_shown_whole(tmp_path: Path) -> None:
    """What is needed to find a mistake is there: scheme, host, port, and exceptions as they are."""
    variables = {"ALL_PROXY": "socks5h://host:1080", "no_proxy": "a,.b,*", "http_proxy": "host:3128"}
    assert facts_of(tmp_path, variables)["proxies"] == {
        "http_proxy": "http://host:3128",
        "ALL_PROXY": "socks5h://host:1080",
        "no_proxy": "a,.b,*",
    }


def test_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, disk, tokens as yes or no, and each setting with its origin; all of it is JSON."""
    monkeypatch.setattr(Store, "free", lambda _: Free(10**12, 10**7))
    session = make_session(
        {"root": str(tmp_path / "data"), "hub_endpoint": f"https://me:{CANARY}@mirror/"}, {"HF_TOKEN": CANARY}
    )
    facts = examine(session, [Path("g3m.toml")])
    assert json.loads(json.dumps(facts)) == facts
    assert facts["tokens"] == {"huggingface": True, "kaggle": False}
    assert facts["root"] == str(tmp_path / "data")
    assert (facts["free_bytes"], facts["free_inodes"]) == (10**12, 10**7)
    assert facts["cores"] == os.cpu_count()
    assert facts["config_files"] == ["g3m.toml"]
    assert facts["settings"]["hub_endpoint"] == {"value": "https://mirror/", "from": "argument"}
    assert set(facts["packages"]) == set(doctor.PACKAGES)
    assert facts["packages"]["click"]
    assert facts["libcurl"].startswith("PycURL/")
    assert facts["run"] is None
    assert facts["warnings"] == [] or all(line.startswith("this Python") for line in facts["warnings"])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("free", "variables", "root", "word"),
    [
        (Free(10**9, None), {}, "data", "only 1.0 GB free"),
        (Free(10**12, 3), {}, "data", "only 3 inodes free"),
        (Free(10**12, None), {"http_proxy": "socks4://h:1"}, "data", "http_proxy has an unusual scheme"),
        (Free(10**12, None), {"ALL_PROXY": "socks://h:1"}, "data", "ALL_PROXY has an unusual scheme"),
        (Free(10**12, None), {}, "home/data", "lies in the home folder"),
    ],
)
def test_warnings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: Free,
    variables: dict[str, str],
    root: str,
    word: str,
) -> None:
    """The first things that go wrong are told before they do."""
    monkeypatch.setattr(Store, "free", lambda _: free)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    facts = examine(make_session({"root": str(tmp_path / root)}, variables), [])
    assert [word in line for line in facts["warnings"] if not line.startswith("this Python")] == [True]


def test_no_warning_without_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough disk, a usual proxy, a root outside the home: silence."""
    monkeypatch.setattr(Store, "free", lambda _: Free(10**12, 10**7))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    variables = {"https_proxy": "socks5h://h:1", "no_proxy": "socks://x"}
    facts = examine(make_session({"root": str(tmp_path / "data")}, variables), [])
    assert [line for line in facts["warnings"] if not line.startswith("this Python")] == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lines_for_people(tmp_path: Path, lang: str) -> None:
    """Every fact has its line; tokens say to which hosts they go, absent ones what they are for."""
    session = make_session(
        {"root": str(tmp_path / "data"), "hub_token_hosts": ["own.hub"]},
        {"HF_TOKEN": CANARY, "http_proxy": f"http://me:{CANARY}@p:1", "SLURM_JOB_ID": "77"},
    )
    session.store.prepare()
    session.store.work.joinpath("lock").write_text(
        json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "token": "t"}), encoding="utf-8"
    )
    text = "\n".join(doctor_lines(examine(session, [Path("g3m.toml")]), session, Speaker(lang)))
    for word in (
        "own.hub",
        "proxy     http_proxy=http://p:1",
        "variable  SLURM_JOB_ID=77",
        "config    g3m.toml",
    ):
        assert word in text
    assert f"hub_token_hosts = {['own.hub']} (argument)" in text
    assert str(os.getpid()) in text
    assert CANARY not in text
    for name in ("doctor-token-hub", "doctor-token-kaggle", "doctor-absent-kaggle"):
        assert Speaker(lang).say(name) in text
