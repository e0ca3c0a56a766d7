"""adapters/credentials.py: tokens are found where their services keep them, and bound to their hosts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.credentials import hub_token, kaggle_token
from g3m.core.secrets import Token

HOSTS = ("hub.test",)
KAGGLE = ("kaggle.test",)


def _write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _value(token: Token | None) -> str | None:
    return None if token is None else token.header.reveal()


def _basic(name: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    """No variable and no file: no token."""
    assert hub_token({}, tmp_path, HOSTS) is None
    assert kaggle_token({}, tmp_path, KAGGLE) is None


def test_the_hubs_places_in_order(tmp_path: Path) -> None:
    """The variable first, then the file it may name, HF_HOME's, and the home's."""
    home = _write(tmp_path / ".cache" / "huggingface" / "token", "home\n")
    assert _value(hub_token({}, tmp_path, HOSTS)) == "Bearer home"
    _write(tmp_path / "hf" / "token", " inner ")
    variables = {"HF_HOME": str(tmp_path / "hf")}
    assert _value(hub_token(variables, tmp_path, HOSTS)) == "Bearer inner"
    variables["HF_TOKEN_PATH"] = str(_write(tmp_path / "elsewhere", "path"))
    assert _value(hub_token(variables, tmp_path, HOSTS)) == "Bearer path"
    variables["HF_TOKEN"] = " variable\n"
    assert _value(hub_token(variables, tmp_path, HOSTS)) == "Bearer variable"
    assert home.read_text() == "home\n"


def test_a_missing_file_falls_through(tmp_path: Path) -> None:
    """A path that leads nowhere does not hide the next place."""
    _write(tmp_path / ".cache" / "huggingface" / "token", "home")
    variables = {"HF_TOKEN_PATH": str(tmp_path / "none"), "HF_HOME": str(tmp_path / "none")}
    assert _value(hub_token(variables, tmp_path, HOSTS)) == "Bearer home"


@pytest.mark.parametrize("value", ["a\nX-Evil: 1", "a\rb", "tökén", "a\0b", "a\tb", "   "])
def test_what_cannot_stand_in_a_header_is_no_token(tmp_path: Path, value: str) -> None:
    """No line break gets into a request, from a variable or from a file."""
    assert hub_token({"HF_TOKEN": value}, tmp_path, HOSTS) is None
    assert kaggle_token({"KAGGLE_API_TOKEN": value}, tmp_path, KAGGLE) is None
    if value.strip():
        assert kaggle_token({"KAGGLE_USERNAME": "me", "KAGGLE_KEY": value}, tmp_path, KAGGLE) is None
    _write(tmp_path / ".cache" / "huggingface" / "token", value)
    assert hub_token({}, tmp_path, HOSTS) is None


def test_a_file_of_bytes_is_no_token(tmp_path: Path) -> None:
    """A token file that is no text is passed over."""
    _write(tmp_path / ".cache" / "huggingface" / "token", b"\xff\xfe")
    assert hub_token({}, tmp_path, HOSTS) is None


def test_kaggles_places_in_order(tmp_path: Path) -> None:
    """Token variable, token file, name with key, then kaggle.json in three folders."""
    last = {"username": "last", "key": "3"}
    _write(tmp_path / ".kaggle" / "kaggle.json", json.dumps(last))
    assert _value(kaggle_token({}, tmp_path, KAGGLE)) == _basic("last", "3")
    _write(tmp_path / ".config" / "kaggle" / "kaggle.json", '{"username": "middle", "key": "2"}')
    assert _value(kaggle_token({}, tmp_path, KAGGLE)) == _basic("middle", "2")
    _write(tmp_path / "own" / "kaggle.json", '{"username": "first", "key": "1"}')
    variables = {"KAGGLE_CONFIG_DIR": str(tmp_path / "own")}
    assert _value(kaggle_token(variables, tmp_path, KAGGLE)) == _basic("first", "1")
    variables |= {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k"}
    assert _value(kaggle_token(variables, tmp_path, KAGGLE)) == _basic("me", "k")
    _write(tmp_path / ".kaggle" / "access_token", "file\n")
    assert _value(kaggle_token(variables, tmp_path, KAGGLE)) == "Bearer file"
    variables["KAGGLE_API_TOKEN"] = "variable"
    assert _value(kaggle_token(variables, tmp_path, KAGGLE)) == "Bearer variable"


def test_half_an_account_is_none(tmp_path: Path) -> None:
    """A name without a key, or a key without a name, signs nobody in."""
    assert kaggle_token({"KAGGLE_USERNAME": "me"}, tmp_path, KAGGLE) is None
    assert kaggle_token({"KAGGLE_KEY": "k"}, tmp_path, KAGGLE) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', '{"username": "me"}', '{"key": "k"}', "7"])
def test_a_broken_kaggle_json_is_passed_over(tmp_path: Path, text: str) -> None:
    """A file of another shape is no account and no crash."""
    _write(tmp_path / ".kaggle" / "kaggle.json", text)
    assert kaggle_token({}, tmp_path, KAGGLE) is None


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("https://hub.test/x", True),
        ("https://HUB.test/x", True),
        ("https://hub.test:443/x", True),
        ("http://hub.test/x", False),
        ("https://hub.test.evil/x", False),
        ("https://evil/hub.test", False),
        ("https://evilhub.test/x", False),
        ("https://sub.hub.test/x", False),
        ("https://hub.test@evil/x", False),
        ("https://evil/?u=https://hub.test/", False),
        ("https://evil#@hub.test/", False),
        ("http://127.0.0.1/x", False),
    ],
)
def test_a_token_belongs_to_its_host_alone(tmp_path: Path, url: str, given: bool) -> None:
    """Only the host itself, over TLS, whatever a URL may look like."""
    token = hub_token({"HF_TOKEN": "canary"}, tmp_path, HOSTS)
    assert token is not None
    assert (token.header_for(url) is not None) == given


def test_a_lab_host_is_bound_with_its_port(tmp_path: Path) -> None:
    """On loopback, where hosts differ by port only, the port counts."""
    token = hub_token({"HF_TOKEN": "canary"}, tmp_path, ["127.0.0.1:81"])
    assert token is not None
    assert token.header_for("http://127.0.0.1:81/x") is not None
    assert token.header_for("http://127.0.0.1:82/x") is None


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, "%s".__mod__])
def test_a_token_hides_itself(tmp_path: Path, show: Any) -> None:
    """However a token is printed, its value is not."""
    for token in (
        hub_token({"HF_TOKEN": "canary"}, tmp_path, HOSTS),
        kaggle_token({"KAGGLE_USERNAME": "canary", "KAGGLE_KEY": "canary"}, tmp_path, KAGGLE),
    ):
        assert "canary" not in show([token]).lower()
        assert "Y2FuYXJ5" not in show([token])
