"""core/routes.py: which URLs lead to an asset, over which ways, in which order, and which the user chose."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.proxies import Ways, find_ways
from g3m.core.routes import Endpoints, Mirror, Route, address, candidates, chosen, rewrite

words = st.text(string.ascii_lowercase, min_size=1, max_size=6)


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
    (route,) = candidates(["hub://o/n@r/a"], Endpoints(), [mirror], Ways())
    assert route == Route("https://m/datasets/o/n/resolve/r/a")


def _ways(*proxies: str, **variables: str) -> Ways:
    return find_ways(proxies, no_proxy=False, variables=variables)


def test_routes_are_in_order_and_each_once() -> None:
    """Preferred places first, their mirrors in order, each over the ways its host may be reached, no route twice."""
    mirrors = [Mirror("https://a/", ("https://m/", "https://a/"))]
    ways = _ways(https_proxy="http://p:3128", no_proxy="m")
    found = candidates(["https://a/x", "https://m/x", "http://b/x"], Endpoints(), mirrors, ways)
    assert found == (
        Route("https://m/x"),
        Route("https://a/x", "http://p:3128"),
        Route("https://a/x"),
        Route("http://b/x"),
    )
    assert candidates([], Endpoints(), mirrors, ways) == ()


def test_every_place_is_reached_over_every_way() -> None:
    """Two proxies and two places make six routes: the place decides first, then the way, direct last."""
    ways = _ways("http://p:1", "socks5h://q:2")
    found = candidates(["https://a/x", "https://b/x"], Endpoints(), (), ways)
    assert [(route.place, route.way) for route in found] == [
        (place, way) for place in ("a", "b") for way in ("proxy p:1", "proxy q:2", "direct")
    ]


def test_loopback_has_the_direct_way_only() -> None:
    """Whatever proxies there are: this machine is one hop away."""
    ways = _ways("http://p:1", all_proxy="http://q:2")
    assert candidates(["http://127.0.0.1:8/x"], Endpoints(), (), ways) == (Route("http://127.0.0.1:8/x"),)


def test_a_route_shows_host_and_way_without_secrets() -> None:
    """For people a route is its host and `direct` or the proxy's host, with no password of either."""
    route = Route("https://me:QXZ@a.example:99/x?sig=QXZ", "http://me:QXZ@proxy:3128")
    assert (route.place, route.way) == ("a.example:99", "proxy proxy:3128")
    assert Route("https://a/").way == "direct"
    assert "QXZ" not in repr(Route("https://a/", "http://me:QXZ@proxy:3128"))


ALL = candidates(
    ["https://a.example/x", "https://b.example:99/x"],
    Endpoints(),
    (),
    _ways("http://p.example:1", "http://q:2"),
)


@pytest.mark.parametrize(
    ("patterns", "places", "ways"),
    [
        ([], "ab", ["direct", "proxy p.example:1", "proxy q:2"]),
        (["direct"], "ab", ["direct"]),
        (["proxy"], "ab", ["proxy p.example:1", "proxy q:2"]),
        (["p.example"], "ab", ["proxy p.example:1"]),
        (["p.example:1"], "ab", ["proxy p.example:1"]),
        (["q:2", "direct"], "ab", ["direct", "proxy q:2"]),
        (["a.example"], "a", ["direct", "proxy p.example:1", "proxy q:2"]),
        (["b.example"], "b", ["direct", "proxy p.example:1", "proxy q:2"]),
        (["b.example:99"], "b", ["direct", "proxy p.example:1", "proxy q:2"]),
        (["b.example", "direct"], "b", ["direct"]),
        (["b.example", "a.example", "q"], "ab", ["proxy q:2"]),
        (["nobody"], "", []),
        (["nobody", "direct"], "", []),
        (["a.example:1"], "", []),
    ],
)
def test_the_users_choice_of_routes(patterns: list[str], places: str, ways: list[str]) -> None:
    """A pattern for the way and one for the place must both fit; several of a kind are alternatives."""
    found = chosen(ALL, patterns)
    assert {route.place[0] for route in found} == set(places)
    assert sorted({route.way for route in found}) == ways
    assert list(found) == [route for route in ALL if route in found], "the order stays"


@given(
    st.lists(
        st.sampled_from(["direct", "proxy", "a.example", "b.example", "p.example", "q", "z"]), max_size=4
    )
)
def test_choosing_takes_away_and_never_adds(patterns: list[str]) -> None:
    """Choosing twice is choosing once, in whatever order the patterns stand."""
    found = chosen(ALL, patterns)
    assert set(found) <= set(ALL)
    assert chosen(ALL, patterns[::-1]) == found
    assert chosen(found, []) == found


def test_patterns_reach_the_candidates() -> None:
    """--route is heard where routes are made."""
    found = candidates(["https://a/x", "https://b/x"], Endpoints(), (), _ways("http://p:1"), ["b", "direct"])
    assert found == (Route("https://b/x"),)
