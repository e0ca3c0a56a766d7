"""core/routes.py: which URLs lead to an asset, in which order, and through which proxy."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import SettingsError
from g3m.core.routes import Endpoints, Mirror, Route, address, candidates, proxy_for, rewrite

words = st.text(string.ascii_lowercase, min_size=1, max_size=6)
hosts = st.builds("{}.{}.example".format, words, words)


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("https://a/b c?d=e", "https://a/b c?d=e"),
        ("http://a/b", "http://a/b"),
        ("hub://o/n@abc/x/a b#é.tar", "https://huggingface.co/datasets/o/n/resolve/abc/x/a%20b%23%C3%A9.tar"),
        ("kaggle://o/s", "https://www.kaggle.com/api/v1/datasets/download/o/s"),
    ],
)
def test_places_become_addresses(place: str, url: str) -> None:
    """Hub and Kaggle places follow their APIs, others are addresses already."""
    assert address(place, Endpoints()) == url


@pytest.mark.parametrize(
    "endpoint", ["https://hf-mirror.com", "https://hf-mirror.com/", "http://127.0.0.1:9/hub/"]
)
def test_endpoints_replace_the_host(endpoint: str) -> None:
    """With HF_ENDPOINT and Kaggle's variable set nothing goes to the defaults, and slashes do not double."""
    ends = Endpoints(hub=endpoint, kaggle=endpoint)
    base = endpoint.rstrip("/")
    assert address("hub://o/n@r/a.tar", ends) == f"{base}/datasets/o/n/resolve/r/a.tar"
    assert address("kaggle://o/s", ends) == f"{base}/api/v1/datasets/download/o/s"


@given(
    st.lists(words, min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.sampled_from(["m", "n", "o"]), min_size=1, max_size=4)),
        max_size=4,
    ),
)
def test_the_longest_prefix_decides(path: list[str], rules: list[tuple[int, list[str]]]) -> None:
    """Of all mirrors that fit, the one with the longest prefix rewrites, in the order of its places, no twin."""
    url = "https://h/" + "/".join(path)
    cuts = {url[: 10 + length]: names for length, names in rules}
    mirrors = [
        Mirror("https://other/", ("https://never/",)),
        *(Mirror(prefix, tuple(f"https://{name}/" for name in names)) for prefix, names in cuts.items()),
    ]
    found = rewrite(url, mirrors)
    if not cuts:
        assert found == (url,)
    else:
        prefix = max(cuts, key=len)
        assert list(found) == [f"https://{name}/{url[len(prefix) :]}" for name in dict.fromkeys(cuts[prefix])]
    assert rewrite(url, list(reversed(mirrors))) == found


def test_a_mirror_may_keep_the_origin() -> None:
    """A mirror replaces the origin unless the prefix stands among its places."""
    assert rewrite("http://a/x", [Mirror("http://a/", ("http://m/",))]) == ("http://m/x",)
    kept = Mirror("http://a/", ("http://m/", "http://a/"))
    assert rewrite("http://a/x", [kept]) == ("http://m/x", "http://a/x")
    assert rewrite("http://b/x", [kept]) == ("http://b/x",)


def test_mirrors_also_catch_hub_and_kaggle_addresses() -> None:
    """Rewriting comes after the place has become an address."""
    mirror = Mirror("https://huggingface.co/", ("https://m/",))
    (route,) = candidates(["hub://o/n@r/a"], Endpoints(), [mirror], {})
    assert route == Route("https://m/datasets/o/n/resolve/r/a")


def test_routes_are_in_order_and_each_once() -> None:
    """Preferred places first, their mirrors in order, no URL twice, each with the way its host needs."""
    mirrors = [Mirror("https://a/", ("https://m/", "https://a/"))]
    proxies = {"https_proxy": "http://p:3128", "no_proxy": "m"}
    found = candidates(["https://a/x", "https://m/x", "http://b/x"], Endpoints(), mirrors, proxies)
    assert found == (Route("https://m/x"), Route("https://a/x", "http://p:3128"), Route("http://b/x"))
    assert candidates([], Endpoints(), mirrors, proxies) == ()


def test_a_route_shows_host_and_way_without_secrets() -> None:
    """For people a route is its host and `direct` or the proxy's host, with no password of either."""
    route = Route("https://me:QXZ@a.example:99/x?sig=QXZ", "http://me:QXZ@proxy:3128")
    assert (route.place, route.way) == ("a.example:99", "proxy proxy:3128")
    assert Route("https://a/").way == "direct"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_the_variables_are_known_in_both_cases(scheme: str, lower: bool, own: bool) -> None:
    """`http_proxy`, `https_proxy` and `all_proxy` work in lower and upper case."""
    name = f"{scheme}_proxy" if own else "all_proxy"
    variables = {name if lower else name.upper(): "http://p:1"}
    assert proxy_for(f"{scheme}://host.example/a", variables) == "http://p:1"
    other = {"http": "https", "https": "http"}[scheme]
    assert proxy_for(f"{other}://host.example/a", variables) == ("" if own else "http://p:1")


def test_precedence_of_the_variables() -> None:
    """Lower case wins over upper case, the scheme's own over `all_proxy`, and an empty one counts as absent."""
    both = {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:1", "all_proxy": "http://all:1"}
    assert proxy_for("https://h.example/", both) == "http://low:1"
    assert proxy_for("https://h.example/", {**both, "https_proxy": ""}) == "http://up:1"
    assert proxy_for("http://h.example/", both) == "http://all:1"
    assert proxy_for("https://h.example/", {"https_proxy": "", "all_proxy": ""}) == ""
    assert proxy_for("https://h.example/", {}) == ""


@pytest.mark.parametrize(
    ("entry", "host", "excluded"),
    [
        ("*", "a.example", True),
        ("a.example", "a.example", True),
        ("A.Example", "a.example", True),
        ("a.example", "b.a.example", True),
        (".a.example", "b.a.example", True),
        (".a.example", "a.example", True),
        ("*.a.example", "b.a.example", True),
        ("a.example", "ba.example", False),
        ("a.example", "a.example.org", False),
        ("b.a.example", "a.example", False),
        ("x, a.example ,y", "a.example", True),
        ("x a.example", "a.example", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "110.0.0.1", False),
        ("", "a.example", False),
        (",, ,", "a.example", False),
        (".", "a.example", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_excludes_hosts_and_their_domains(name: str, entry: str, host: str, excluded: bool) -> None:
    """An entry is a host, a domain with or without a dot or star, or `*`; whole labels only, any case."""
    variables = {"all_proxy": "http://p:1", name: entry}
    assert proxy_for(f"https://{host}:8443/a", variables) == ("" if excluded else "http://p:1")


@given(
    st.sampled_from(["127.0.0.1", "127.9.8.7", "localhost", "LOCALHOST", "[::1]"]),
    st.sampled_from(["http", "https"]),
    st.dictionaries(
        st.sampled_from(["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]),
        st.sampled_from(["http://p:1", "socks5://p:1", "p:1", "bogus://p"]),
    ),
)
def test_loopback_is_never_proxied(host: str, scheme: str, variables: dict[str, str]) -> None:
    """No variable sends a request for this machine to a proxy, and no broken one stops it."""
    assert proxy_for(f"{scheme}://{host}:8080/a", variables) == ""


@pytest.mark.parametrize("host", ["127.example.org", "localhost.example.org", "my127.0.0.1.example.org"])
def test_names_that_look_like_loopback_are_proxied(host: str) -> None:
    """Only the machine itself is exempt: going direct to a stranger would leave the chosen way."""
    assert proxy_for(f"https://{host}/", {"all_proxy": "http://p:1"}) == "http://p:1"


@pytest.mark.parametrize(
    ("value", "used"),
    [
        ("p:3128", "http://p:3128"),
        ("me:pw@p:3128", "http://me:pw@p:3128"),
        ("http://p", "http://p"),
        ("HTTP://p", "http://p"),
        ("https://p:443", "https://p:443"),
        ("socks5://p:1080", "socks5h://p:1080"),
        ("socks5h://p:1080", "socks5h://p:1080"),
        ("socks://p:1080", "socks5h://p:1080"),
        ("socks4://p:1080", "socks4a://p:1080"),
        ("socks4a://p:1080", "socks4a://p:1080"),
    ],
)
def test_proxies_are_spelled_for_curl(value: str, used: str) -> None:
    """A proxy without scheme is HTTP; SOCKS proxies resolve the names, because a blocked network lies."""
    assert proxy_for("https://h.example/", {"https_proxy": value}) == used


@given(
    hosts,
    words.filter(lambda word: word not in ("http", "https", "socks")),
    words,
)
def test_an_unknown_scheme_stops_instead_of_going_direct(host: str, scheme: str, secret: str) -> None:
    """A proxy that cannot be used is an error with the scheme in it; its password is not."""
    with pytest.raises(SettingsError, match=f"the proxy for {host} has the scheme '{scheme}'") as caught:
        proxy_for(f"https://{host}/", {"https_proxy": f"{scheme}://me:QXZ{secret}@p:1"})
    assert f"QXZ{secret}" not in str(caught.value)
    assert "socks5h://" in caught.value.hint[0]
