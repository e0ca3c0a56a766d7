"""core/secrets.py: what is secret is never shown and goes to its own hosts alone."""

from __future__ import annotations

import copy
import json
import pickle
import string
from dataclasses import asdict
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.secrets import Secret, Token, host_of, mask

# Secrets are drawn from letters that no other part of a URL here uses, so that finding one is a leak.
secrets = st.builds("QX{}Z".format, st.text("QXZ0123456789+/=&@:#? é", min_size=4, max_size=16))
words = st.text(string.ascii_lowercase, min_size=1, max_size=8)
hosts = st.builds("{}.{}".format, words, words)


def leaks(secret: str, shown: str) -> bool:
    return secret in shown or quote(secret, safe="") in shown or quote(secret, safe="/") in shown


@given(secrets)
def test_a_secret_shows_stars_in_every_form(value: str) -> None:
    """No way of printing, formatting or copying, alone or inside others, shows the value."""
    secret = Secret(value)
    token = Token(secret, frozenset({"host"}))
    for held in (secret, copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):
        for shown in (
            str(held),
            repr(held),
            f"{held}",
            f"{held!r:>30}",
            f"{held!s}",
            f"{[held]}",
        ):
            assert value not in shown
            assert "***" in shown
    for shown in (repr(token), f"{token}", repr(pickle.loads(pickle.dumps(token))), repr(asdict(token))):
        assert value not in shown
    assert {str(secret), repr(secret), f"{secret}"} == {"Secret(***)"}
    assert value not in json.dumps({"a": secret}, default=str)
    assert value not in repr(ValueError(secret))
    assert not hasattr(secret, "__dict__")


@given(secrets, secrets)
def test_secrets_compare_by_value_and_only_with_secrets(first: str, second: str) -> None:
    """Two secrets are equal exactly if their values are; a bare text never equals one."""
    assert (Secret(first) == Secret(second)) is (first == second)
    assert hash(Secret(first)) == hash(Secret(first))
    assert Secret(first) != first
    assert Secret(first).reveal() == first
    assert pickle.loads(pickle.dumps(Secret(first))) == Secret(first)


@given(
    st.sampled_from(["https", "http", "socks5h"]),
    hosts,
    st.none() | st.integers(1, 65535),
    st.lists(words, max_size=3).map("/".join),
    secrets,
    secrets,
    st.dictionaries(words, secrets, max_size=3),
    secrets,
)
def test_mask_lets_no_secret_through(
    scheme: str,
    host: str,
    port: int | None,
    path: str,
    user: str,
    password: str,
    query: dict[str, str],
    fragment: str,
) -> None:
    """User info, query values and fragment vanish; scheme, host, port, path and query names stay."""
    place = host if port is None else f"{host}:{port}"
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    shown = mask(f"{scheme}://{login}@{place}/{path}?{pairs}#{quote(fragment)}")
    for secret in (user, password, fragment, *query.values()):
        assert not leaks(secret, shown)
    asked = "?" + "&".join(f"{name}=***" for name in query) if query else ""
    assert shown == f"{scheme}://{place}/{path}{asked}"
    assert host_of(f"{scheme}://{login}@{place}/{path}") == place


@given(hosts, secrets)
def test_masking_twice_changes_nothing(host: str, secret: str) -> None:
    """What was masked once may pass through mask again."""
    once = mask(f"https://{quote(secret)}@{host}/a?k={quote(secret, safe='')}")
    assert mask(once) == once


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:p@ss@host/a", "https://host/a"),
        ("https://token@host:8080", "https://host:8080"),
        ("https://me:pw@[::1]:8443/a", "https://[::1]:8443/a"),
        ("https://HOST/A", "https://host/A"),
        ("https://host/a?k=", "https://host/a?k=***"),
        ("https://host/a?k=1;sig=2", "https://host/a?k=***"),
        ("hub://o/n@rev/a.tar", "hub://o/n@rev/a.tar"),
        ("https://me:pw@host:port/a", "(unreadable address)"),
        ("https://me:pw@[half/a", "(unreadable address)"),
    ],
)
def test_odd_addresses_are_masked(url: str, shown: str) -> None:
    """Several @ signs, brackets, no path, empty values, broken ports: always the same rule, never an exception."""
    assert mask(url) == shown


def test_a_query_without_names_is_hidden() -> None:
    """A bare word after the question mark may be a token, so it is not shown."""
    assert "QXZQXZ" not in mask("https://host/a?QXZQXZ")


def test_query_names_are_not_decoded() -> None:
    """A line end or an escape that hides in a query's name stays encoded, so that it cannot forge a line."""
    assert mask("https://host/a?k%0a%1b=1").isprintable()


@given(st.text(max_size=40))
def test_no_text_breaks_mask(text: str) -> None:
    """Anything may be masked; the answer is always a text."""
    assert isinstance(mask(text), str)
    assert isinstance(host_of(text), str)


TOKEN = Token(
    Secret("Bearer abc"), frozenset({"huggingface.co", "127.0.0.1:8080", "localhost", "hub.lab:8443"})
)


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/api",
        "https://HuggingFace.co/api",
        "https://huggingface.co:443/api",
        "https://me@huggingface.co/api",
        "http://127.0.0.1:8080/a",
        "http://localhost:99/a",
        "https://hub.lab:8443/a",
    ],
)
def test_a_token_goes_to_its_own_hosts(url: str) -> None:
    """The header is given to a host of the token's over TLS, or over loopback in the clear."""
    assert TOKEN.header_for(url) == TOKEN.header


@pytest.mark.parametrize(
    "url",
    [
        "http://huggingface.co/api",
        "ftp://huggingface.co/api",
        "http://hub.lab:8443/a",
        "https://hub.lab/a",
        "https://hub.lab:8444/a",
        "https://evil.co/https://huggingface.co/",
        "https://huggingface.co.evil.co/",
        "https://evilhuggingface.co/",
        "https://huggingface.co@evil.co/",
        "https://huggingface.co:x@evil.co/",
        "https://cdn.huggingface.co/",
        "https://evil.co#@huggingface.co/",
        "https://evil.co?@huggingface.co/",
        "http://127.0.0.1:8081/a",
        "http://127.0.0.1/a",
        "huggingface.co/api",
        "",
    ],
)
def test_a_token_goes_nowhere_else(url: str) -> None:
    """Other hosts, other ports of a named port, look-alikes and plain HTTP never see the header."""
    assert TOKEN.header_for(url) is None


@given(st.sampled_from(["http", "https"]), hosts, st.sets(hosts, max_size=3), st.booleans())
def test_the_host_and_the_line_decide_together(scheme: str, host: str, own: set[str], include: bool) -> None:
    """For any host: a header exactly if the host is the token's and the line is TLS."""
    belongs = frozenset(own | {host} if include else own - {host})
    given_header = Token(Secret("x"), belongs).header_for(f"{scheme}://{host}/a")
    assert (given_header is not None) is (host in belongs and scheme == "https")
    assert urlsplit(f"{scheme}://{host}/a").hostname == host


def test_an_unreadable_address_gets_no_token() -> None:
    """A redirect may name anything: an address that cannot be read is nobody's host, and no crash."""
    assert TOKEN.header_for("https://[half/a") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_may_be_asked_in_the_clear(host: str) -> None:
    """The three names of loopback, and no other."""
    token = Token(Secret("x"), frozenset({host.strip("[]")}))
    assert token.header_for(f"http://{host}:8080/a") == token.header
    other = Token(Secret("x"), frozenset({"127.0.0.2"}))
    assert other.header_for("http://127.0.0.2/a") is None


def test_the_host_of_an_address_is_that_which_is_asked() -> None:
    """Not one that stands in its path or query."""
    assert host_of("https://me:pw@host:8080/https://other/a?u=ftp://third") == "host:8080"
