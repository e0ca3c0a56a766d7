"""core/weburl.py: an address of a list has one reading, or is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.weburl import MOST_CHARACTERS, BadUrl, WebAddress, next_address, web_address

GOOD = [
    ("http://example.com", "http://example.com/"),
    ("  https://Example.COM./a.jpg\r\n", "https://example.com/a.jpg"),
    ("HTTP://example.com:80/", "http://example.com/"),
    ("https://example.com:443/", "https://example.com/"),
    ("https://example.com:80/", "https://example.com:80/"),
    ("http://example.com:8080/x", "http://example.com:8080/x"),
    ("http://example.com:/x", "http://example.com/x"),
    ("http://example.com/a b.jpg", "http://example.com/a%20b.jpg"),
    ("http://example.com/100%.jpg", "http://example.com/100%.jpg"),
    ("http://example.com/a%20b%2Fc", "http://example.com/a%20b%2Fc"),
    ("http://example.com/größe/图.jpg", "http://example.com/gr%C3%B6%C3%9Fe/%E5%9B%BE.jpg"),
    ("http://example.com/a\\b\\c.jpg", "http://example.com/a/b/c.jpg"),
    ('http://example.com/<"`{}>', "http://example.com/%3C%22%60%7B%7D%3E"),
    ("http://example.com/a|b[1]^", "http://example.com/a|b[1]^"),
    ("http://example.com?q='1'&r=<a b>#f", "http://example.com/?q=%271%27&r=%3Ca%20b%3E"),
    ("http://example.com/x?#f", "http://example.com/x"),
    ("http://example.com/x#@127.0.0.1/", "http://example.com/x"),
    ("http://example.com/@127.0.0.1", "http://example.com/@127.0.0.1"),
    ("http://a_b.example.com/", "http://a_b.example.com/"),
    ("http://-x.example.com/", "http://-x.example.com/"),
    ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
    ("http://faß.example/", "http://xn--fa-hia.example/"),
    ("http://example.ΟΔΟΣ/", "http://example.xn--pxavbq/"),
    ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah/"),
    ("http://ｅｘａｍｐｌｅ．com/", "http://example.com/"),
    ("http://☃.example/", "http://xn--n3h.example/"),
    ("http://[2606:4700:0::1111]:8080/", "http://[2606:4700::1111]:8080/"),
    ("\t\r\nhttp://example.com/a\t", "http://example.com/a"),
    ("http://example.com/a/b/../c", "http://example.com/a/c"),
    ("http://example.com/a/b/..", "http://example.com/a/"),
    ("http://例え｡テスト/", "http://xn--r8jz45g.xn--zckzah/"),
    ("http://a.b/", "http://a.b/"),
    ("http://1.1.1.1/", "http://1.1.1.1/"),
    ("http://1.1.1.1./", "http://1.1.1.1/"),
    ("http://１.1.1.1/", "http://1.1.1.1/"),
]

BAD = [
    "", " ", "example.com/a.jpg", "//example.com/a", "/a.jpg", "http:", "http://", "http:///a", "http:example.com",
    "file:///etc/passwd", "FILE:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1:6379/_x", "data:image/png;base64,AA",
    "javascript:alert(1)", "dict://127.0.0.1/", "ws://example.com/", "unix:/run/docker.sock", "httpx://example.com/",
    "http://me@example.com/", "http://me:pw@example.com/", "http://@example.com/", "http://example.com@127.0.0.1/",
    "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/", "http://127.0.0.1\\@example.com/", "http://example.com\\.evil.com/",
    "http://127.1/", "http://0x7f.1/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/", "http://0/",
    "http://127.0.0.1.1/", "http://1.2.3.256/", "http://１２７.1/", "http://①②⑦.0.1/", "http://0x7f。1/",
    "http://[::1%25lo]/", "http://[::1%lo]/", "http://[127.0.0.1]/", "http://[v1.x]/", "http://[::1/", "http://::1/", "http://[]/",
    "http://[::ffff:127.0.0.1]x/", "http://[::1]evil.com/", "http://exa mple.com/", "http://exa%6dple.com/", "http://127.0.0.%31/",
    "http://ex℀mple.com/", "http://exam\u00adple.com/", "http://exam\u200bple.com/", "http://\u202eexample.com/", "http://a..b/",
    "http://.example.com/", "http://" + "a" * 64 + ".com/", "http://" + "a." * 127 + "com/", "http://ex<a>mple.com/", "http://a;b.com/",
    "http://example.com:22/", "http://example.com:25/", "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/",
    "http://example.com:+80/", "http://example.com:８０/", "http://example.com:80:80/", "http://example.com:6379/", "http://example.com:11211/",
    "http://example.com:6667/", "http://example.com:1023/", "http://example.com:8 0/",
    "http://example.com/a\r\nHost: evil", "http://example.com/\n", "http://example.com/a\tb", "http://example.com/\x00", "http://exam\nple.com/",
    "java\nscript:x", "http://example.com/\x7f", "http://example.com/\x85", "http://example.com/\ud800", "http://ex\ud800.com/",
    "http://example.com/" + "a" * MOST_CHARACTERS, "http://example.com/" + "ü" * (MOST_CHARACTERS // 3),
]  # fmt: skip
BAD.remove("http://example.com/\n")  # a line end at the end is how a list ends its line


@pytest.mark.parametrize(("text", "url"), GOOD)
def test_one_form(text: str, url: str) -> None:
    """An address is written in the one form that browsers would ask for."""
    assert web_address(text).url == url


@pytest.mark.parametrize("text", BAD)
def test_refused(text: str) -> None:
    """What is no web address, holds a login or can be read in two ways is refused, with words that do not show it."""
    with pytest.raises(BadUrl) as caught:
        web_address(text)
    assert str(caught.value)
    assert "pw" not in str(caught.value)
    assert "example.com" not in str(caught.value)


SHUT = {
    1719,
    1720,
    1723,
    2049,
    3659,
    4045,
    4190,
    5060,
    5061,
    6000,
    6379,
    6566,
    *range(6665, 6670),
    6679,
    6697,
    10080,
    11211,
}
"""From 1024 on: the blocked ports of the Fetch standard that browsers keep to, Redis, and memcached."""


def test_every_port() -> None:
    """Below 1024 only the two ports of the web are open, above it all but those of other services."""
    found = set()
    for port in range(12_000):
        try:
            assert web_address(f"http://example.com:{port}/").port == port
            found.add(port)
        except BadUrl:
            pass
    assert found == {80, 443, *range(1024, 12_000)} - SHUT
    assert web_address("http://example.com:65535/").port == 65535


def test_the_longest_address() -> None:
    """8192 characters are an address, one more is none: as it is given, and as it would be asked for."""
    longest = "http://example.com/" + "a" * (8192 - 19)
    assert web_address(longest).url == longest
    spelled = "http://example.com/" + "a" * (8192 - 19 - 3)
    assert len(web_address(f"{spelled} ").url) == len(spelled)
    assert len(web_address(f"{spelled}<").url) == 8192
    for text in (f"{longest}a", f"{spelled}a<", "http://example.com/#" + "a" * 8173):
        with pytest.raises(BadUrl, match="longer than 8192 characters"):
            web_address(text)
    assert web_address("http://example.com/#" + "a" * 8172).url == "http://example.com/"


def test_the_longest_name() -> None:
    """A host has at most 253 characters, and none of its parts more than 63."""
    part = "a" * 63
    longest = f"{part}.{part}.{part}.{part[:61]}"
    assert web_address(f"http://{longest}/").host == longest
    assert web_address(f"http://{longest}./").host == longest
    for host in (f"{longest}a", f"a{part}", f"a.a{part}", f"a{part}.a"):
        with pytest.raises(BadUrl, match="its host is no name"):
            web_address(f"http://{host}/")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http:///a", "it names no host"),
        ("http://:80/", "it names no host"),
        ("http://[::1]x/", "it names no host"),
        ("http://[v1.x]/", "no address stands in its brackets"),
        ("http://a..b/", "its host is no name"),
        ("http://127.1/", "a number in an unusual spelling"),
        ("http://me@example.com/", "a login"),
        ("ftp://example.com/", "neither http nor https"),
        ("http://[::1/", "cannot be read as an address"),
        ("http://a:b/", "cannot be read as an address"),
        ("http://example.com/\ud800", "halves of characters"),
        ("http://exam\u200bple.com/", "cannot be seen"),
        ("http://a/\x7f", "control characters"),
    ],
)
def test_words(text: str, words: str) -> None:
    """The words of a refusal say what is wrong with the address, not only that something is."""
    with pytest.raises(BadUrl, match=words):
        web_address(text)


def test_parts() -> None:
    """Host and port come without brackets and with the scheme's default."""
    assert web_address("https://[2606:4700::1111]/") == WebAddress(
        "https://[2606:4700::1111]/", "https", "2606:4700::1111", 443
    )
    assert web_address("http://EXAMPLE.com:8080/a").port == 8080
    assert web_address("http://example.com/").host == "example.com"


@given(st.one_of(st.text(), st.text().map("http://".__add__), st.text().map("https://example.com/".__add__)))
def test_never_surprises(text: str) -> None:
    """Any text is an address in one form, which stays as it is and which urllib reads as we do, or BadUrl."""
    try:
        found = web_address(text)
    except BadUrl:
        return
    parts = urlsplit(found.url)
    assert web_address(found.url) == found
    assert found.url.isascii()
    assert found.url.isprintable()
    assert " " not in found.url
    assert "\\" not in found.url.partition("?")[0]
    assert (parts.scheme, parts.hostname, parts.username) == (found.scheme, found.host, None)
    assert (parts.port or {"http": 80, "https": 443}[found.scheme]) == found.port


@given(
    st.text(alphabet="0123456789abcdefx.:[]@\\/%#?１．。①ßé \t", max_size=24).map(
        lambda text: f"http://{text}/a"
    )
)
def test_hosts_near_numbers(text: str) -> None:
    """Hosts drawn from the characters of tricks come out plain, or are refused."""
    try:
        found = web_address(text)
    except BadUrl:
        return
    assert set(found.host) <= set("0123456789abcdefghijklmnopqrstuvwxyz.-_:")
    assert urlsplit(found.url).hostname == found.host


HERE = web_address("http://example.com/dir/a.jpg?x=1")
SECURE = web_address("https://example.com/dir/a.jpg")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b.jpg", "http://example.com/b.jpg"),
        ("b.jpg", "http://example.com/dir/b.jpg"),
        ("?y=2", "http://example.com/dir/a.jpg?y=2"),
        ("//other.example/c", "http://other.example/c"),
        ("https://other.example:8443/c d", "https://other.example:8443/c%20d"),
        ("\\\\other.example\\c", "http://example.com/dir///other.example/c"),
        ("/gr\xc3\xb6\xc3\x9fe.jpg", "http://example.com/gr%C3%B6%C3%9Fe.jpg"),
        ("/gr\xf6\xdfe.jpg", "http://example.com/gr%C3%B6%C3%9Fe.jpg"),
        ("/图.jpg", "http://example.com/%E5%9B%BE.jpg"),
        (" /b.jpg ", "http://example.com/b.jpg"),
        ("\r\n/b.jpg\t\r\n", "http://example.com/b.jpg"),
        ("/go?to=http://other.example/", "http://example.com/go?to=http://other.example/"),
    ],
)
def test_redirect(location: str, url: str) -> None:
    """A redirect is joined to where it came from; raw bytes in it are UTF-8, or Latin-1 where they cannot be."""
    assert next_address(HERE, location).url == url


@pytest.mark.parametrize(
    "location",
    ["", "  ", "file:///etc/passwd", "gopher://127.0.0.1/", "data:,x", "http://me:pw@example.com/", "//me@127.0.0.1/", "http://127.1/",
     "http://example.com:22/", "//[::1", "javascript:1", "/a\r\nSet-Cookie: x", "/a\tb", "http://\\127.0.0.1/", "http:///x"],
)  # fmt: skip
def test_redirect_refused(location: str) -> None:
    """What a redirect leads to is judged like an address of the list."""
    with pytest.raises(BadUrl):
        next_address(HERE, location)


@pytest.mark.parametrize(
    ("location", "words"),
    [("", "to nowhere"), (" \t\r\n", "to nowhere"), ("/a\tb", "a redirect with control characters"), ("//[::1", "a redirect that cannot be read")],
)  # fmt: skip
def test_redirect_words(location: str, words: str) -> None:
    """The words say that it was a redirect, so that nobody looks for the fault in the list."""
    with pytest.raises(BadUrl, match=words):
        next_address(HERE, location)


def test_redirect_downgrade() -> None:
    """No redirect leads from https to http, while the other way is the usual one."""
    with pytest.raises(BadUrl, match="from https to http"):
        next_address(SECURE, "http://example.com/dir/a.jpg")
    assert next_address(HERE, "https://example.com/").scheme == "https"
    assert next_address(SECURE, "//other.example/").scheme == "https"
