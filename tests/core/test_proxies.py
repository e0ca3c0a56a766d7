"""core/proxies.py: which proxies may carry an address, how they are written, and what is excepted."""

from __future__ import annotations

import base64
import socket
import string
import threading
import traceback
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import proxy_bypass_environment

import pycurl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g3m.core.errors import SettingsError
from g3m.core.proxies import Proxy, Ways, find_ways, label

HTTP, HTTPS = "http://data.g3m.example/a", "https://data.g3m.example/a"
PROXY = "http://127.0.0.1:7890"
VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
CANARY = "QXZcanary"

words = st.text(string.ascii_lowercase, min_size=1, max_size=4)
hosts = st.lists(words, min_size=1, max_size=4).map(".".join)
anything = st.one_of(st.text(), st.text("htps:/@[].%?#0123456789ck \n-*", max_size=24))


def ways(*proxies: str, **variables: str) -> Ways:
    """What find_ways makes of these options and variables."""
    return find_ways(proxies, no_proxy=False, variables=variables)


def one(value: str) -> Proxy:
    """The proxy that one --proxy gives."""
    (proxy,) = ways(value).proxies
    return proxy


def refused(proxies: Sequence[str], variables: Mapping[str, str]) -> SettingsError:
    """The error that these options and variables give."""
    with pytest.raises(SettingsError) as caught:
        find_ways(proxies, no_proxy=False, variables=variables)
    return caught.value


# How other programs read the variables was measured; these are the rows of that table, each in both cases.
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    ("variables", "http", "https"),
    [
        ({"https_proxy": PROXY}, "", PROXY),
        ({"http_proxy": PROXY}, PROXY, ""),
        ({"https_proxy": "127.0.0.1:7890"}, "", PROXY),
        ({"https_proxy": "https://127.0.0.1:7890"}, "", PROXY),
        ({"https_proxy": "http://me:pw@127.0.0.1:7890"}, "", "http://me:pw@127.0.0.1:7890"),
        ({"all_proxy": PROXY}, PROXY, PROXY),
        ({"all_proxy": "socks5h://127.0.0.1:7891"}, "socks5h://127.0.0.1:7891", "socks5h://127.0.0.1:7891"),
        ({"all_proxy": "socks5://127.0.0.1:7891"}, "socks5h://127.0.0.1:7891", "socks5h://127.0.0.1:7891"),
        ({"all_proxy": "socks://127.0.0.1:7891"}, "socks5h://127.0.0.1:7891", "socks5h://127.0.0.1:7891"),
        ({"all_proxy": "socks4://127.0.0.1:7891"}, "socks4a://127.0.0.1:7891", "socks4a://127.0.0.1:7891"),
        ({"all_proxy": "http://p:1", "https_proxy": PROXY}, "http://p:1", PROXY),
        ({"all_proxy": PROXY, "no_proxy": ".g3m.example"}, "", ""),
        ({"all_proxy": PROXY, "no_proxy": "*"}, "", ""),
        ({"all_proxy": PROXY, "no_proxy": "other.example"}, PROXY, PROXY),
        ({}, "", ""),
    ],
)
def test_the_variables_in_both_cases(upper: bool, variables: dict[str, str], http: str, https: str) -> None:
    """Every variable that some program honours is honoured here, in lower and in upper case."""
    found = ways(**{name.upper() if upper else name: value for name, value in variables.items()})
    assert found.of(HTTP) == ((http, "") if http else ("",))
    assert found.of(HTTPS) == ((https, "") if https else ("",))
    own = {name.upper() if upper else name for name in variables}
    assert {proxy.origin for proxy in found.proxies} <= own


@pytest.mark.parametrize("name", VARIABLES[:3])
def test_the_lower_case_hides_the_upper(name: str) -> None:
    """Of two spellings the lower one counts, also when it is empty: `https_proxy= g3m ...` turns one off."""
    url = HTTPS if name == "https_proxy" else HTTP
    both = ways(**{name: "low:1", name.upper(): "up:1"})
    assert both.of(url) == ("http://low:1", "")
    assert [proxy.origin for proxy in both.proxies] == [name]
    assert ways(**{name: "", name.upper(): "up:1"}) == Ways()
    assert ways(**{name: "", name.upper(): "vmess://not-even-read"}) == Ways()


def test_the_lower_case_of_no_proxy_hides_the_upper() -> None:
    """The list of exceptions has two spellings as well, and an empty lower one means no exceptions."""
    assert ways("p:1", no_proxy="", NO_PROXY="*").of(HTTP) == ("http://p:1", "")
    assert ways("p:1", no_proxy="a.example", NO_PROXY="*").exceptions == ("a.example",)
    assert ways("p:1", NO_PROXY="*").of(HTTP) == ("",)


@pytest.mark.parametrize("own", ["http_proxy", "HTTP_PROXY"])
def test_an_empty_variable_leaves_its_scheme_to_all_proxy(own: str) -> None:
    """Empty means not set, so `all_proxy` carries what no other variable carries, and nothing else."""
    found = ways(**{own: "", "https_proxy": "s:1", "all_proxy": "all:1"})
    assert found.of(HTTP) == ("http://all:1", "")
    assert found.of(HTTPS) == ("http://s:1", "")
    # One that nothing is left for is not read, and be it broken.
    assert ways(http_proxy="h:1", https_proxy="s:1", all_proxy="vmess://x").of(HTTPS) == ("http://s:1", "")


def test_below_a_web_server_the_upper_http_proxy_is_not_believed() -> None:
    """With REQUEST_METHOD set, HTTP_PROXY is a header of a stranger's; the others cannot be one."""
    cgi = {"REQUEST_METHOD": "GET"}
    assert ways(HTTP_PROXY="p:1", **cgi) == Ways()
    assert ways(HTTP_PROXY="p:1", ALL_PROXY="all:1", **cgi).of(HTTP) == ("http://all:1", "")
    for name in ("http_proxy", "ALL_PROXY", "all_proxy"):
        assert ways(**{name: "p:1"}, **cgi).of(HTTP) == ("http://p:1", "")
    assert ways(HTTPS_PROXY="p:1", **cgi).of(HTTPS) == ("http://p:1", "")


def test_options_come_first_and_every_way_once() -> None:
    """--proxy carries both schemes, stands before the variables, keeps its order, and has no twin."""
    found = ways("b:1", "a:1", "b:1", https_proxy="http://a:1", all_proxy="c:1")
    assert found.of(HTTPS) == ("http://b:1", "http://a:1", "")
    assert found.of(HTTP) == ("http://b:1", "http://a:1", "http://c:1", "")
    assert [proxy.origin for proxy in found.proxies] == [*["--proxy"] * 3, "https_proxy", "all_proxy"]
    assert found.proxies[0].schemes == {"http", "https"}
    assert [set(proxy.schemes) for proxy in found.proxies[3:]] == [{"https"}, {"http"}]


@given(st.lists(anything, max_size=2), st.dictionaries(st.sampled_from(VARIABLES), anything))
def test_no_proxy_reads_nothing(proxies: list[str], variables: dict[str, str]) -> None:
    """With --no-proxy all is direct, whatever else is said and however broken it is."""
    assert find_ways(proxies, no_proxy=True, variables=variables) == Ways()


def test_addresses_of_other_kinds_go_direct() -> None:
    """A proxy carries http and https only; an address that cannot be read fits none."""
    for url in ("ftp://a.example/", "a.example", "", "http://[::1/", "https://a.example:port/"):
        assert ways("p:1").of(url) == ("",)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("p:3128", "http://p:3128"),
        ("HTTP://P.Example:3128", "http://p.example:3128"),
        ("SOCKS5://P:1", "socks5h://p:1"),
        ("Socks4A://p:1", "socks4a://p:1"),
        ("https://proxy.example:8443", "https://proxy.example:8443"),
        ("http://p:3128/", "http://p:3128"),
        ("http://p:3128/x/y?z#a", "http://p:3128"),
        ("p:3128/", "http://p:3128"),
        ("http://p:03128", "http://p:3128"),
        ("http://p", "http://p:1080"),
        ("socks5h://p/", "socks5h://p:1080"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("http://[::1]:7890", "http://[::1]:7890"),
        ("[::1]:7890", "http://[::1]:7890"),
        ("socks5://me:pw@[FD00:0:0::1]:7891/", "socks5h://me:pw@[fd00::1]:7891"),
        ("http://[fe80::1%25eth0]:7890", "http://[fe80::1%25eth0]:7890"),
        ("http://[::1]", "http://[::1]:1080"),
        ("my_proxy-1.lan:1", "http://my_proxy-1.lan:1"),
        ("127.1:7890", "http://127.1:7890"),
        ("http://p:65535", "http://p:65535"),
    ],
)
def test_proxies_are_written_for_libcurl(value: str, url: str) -> None:
    """One spelling for each proxy: scheme in lower case, names resolved by a SOCKS proxy, port said, no path."""
    assert one(value).url == url


@pytest.mark.parametrize(
    ("value", "url", "note"),
    [
        ("socks://p:1", "socks5h://p:1", "--proxy: socks:// is read as socks5h://"),
        ("SOCKS://p:1", "socks5h://p:1", "--proxy: socks:// is read as socks5h://"),
        (
            "https://localhost:1",
            "http://localhost:1",
            "--proxy: https://localhost is read as http://localhost",
        ),
        ("https://[::1]:1", "http://[::1]:1", "--proxy: https://[::1] is read as http://[::1]"),
        (
            "https://localhost.:1",
            "http://localhost.:1",
            "--proxy: https://localhost. is read as http://localhost.",
        ),
        (
            "https://127.9.9.9:1",
            "http://127.9.9.9:1",
            "--proxy: https://127.9.9.9 is read as http://127.9.9.9",
        ),
        ("https://10.1.2.3:1", "http://10.1.2.3:1", "--proxy: https://10.1.2.3 is read as http://10.1.2.3"),
        (
            "https://172.31.0.1:1",
            "http://172.31.0.1:1",
            "--proxy: https://172.31.0.1 is read as http://172.31.0.1",
        ),
        (
            "https://192.168.1.1:1",
            "http://192.168.1.1:1",
            "--proxy: https://192.168.1.1 is read as http://192.168.1.1",
        ),
        (
            "https://[fd00::1]:1",
            "http://[fd00::1]:1",
            "--proxy: https://[fd00::1] is read as http://[fd00::1]",
        ),
        ("p", "http://p:1080", "--proxy: no port, 1080 is meant"),
        ("https://p", "https://p:443", "--proxy: no port, 443 is meant"),
        ("socks://p", "socks5h://p:1080", "--proxy: socks:// is read as socks5h://; no port, 1080 is meant"),
        ("https://172.32.0.1:1", "https://172.32.0.1:1", None),
        ("https://11.1.2.3:1", "https://11.1.2.3:1", None),
        ("https://localhost.example:1", "https://localhost.example:1", None),
        ("socks5://p:1", "socks5h://p:1", None),
        ("p:1", "http://p:1", None),
    ],
)
def test_what_is_repaired_is_said(value: str, url: str, note: str | None) -> None:
    """A usual slip is set right and noted in both languages; a public TLS proxy stays one."""
    proxy = one(value)
    assert proxy.url == url
    assert (proxy.note and proxy.note[0]) == note
    assert ways(value, value).notes == ((proxy.note,) if proxy.note else ())
    if proxy.note:
        assert proxy.note[1].startswith("--proxy：")
        assert any(ord(letter) > 0x4E00 for letter in proxy.note[1])


def test_a_login_is_not_taken_out_of_its_tls() -> None:
    """https to a private address stays https if a login would cross the network; within the machine it may."""
    assert one("https://me:pw@10.1.2.3:8443").url == "https://me:pw@10.1.2.3:8443"
    assert one("https://me:pw@127.0.0.1:7890").url == "http://me:pw@127.0.0.1:7890"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ftp://p:1", "its scheme is none of http, https, socks5h, socks4a"),
        ("htpp://p:1", "its scheme is none of"),
        ("://p:1", "its scheme is none of"),
        ("http://", "no host"),
        ("http:///p:1", "no host"),
        ("//p:1", "no host"),
        (":7890", "no host"),
        ("7890", "no host"),
        ("http://7890", "no host"),
        ("http://me:pw@:1", "no host"),
        ("http://256.1.1.1:1", "no host"),
        ("http://1.2.3.4.5:1", "no host"),
        ("http://a..b:1", "no host"),
        ("http://.a:1", "no host"),
        ("http://-a:1", "no host"),
        ("http://a%41:1", "no host"),
        ("http://127.0.0.1：7890", "no host"),
        ("http://[::1:7890", "no host"),
        ("http://[::1]7890", "no host"),
        ("http://[1.2.3.4]:1", "no host"),
        ("http://[fe80::1%eth0]:1", "no host"),
        ("http://::1:7890", "no host"),
        ("http:127.0.0.1:7890", "its port"),
        ("http:/127.0.0.1:7890", "its port"),
        ("http://p:", "its port"),
        ("http://p:0", "its port"),
        ("http://p:65536", "its port"),
        ("http://p:-1", "its port"),
        ("http://p:80a", "its port"),
        ("http://p:٨٠", "its port"),
        ("http://p:" + "1" * 5000, "its port"),
        ("http://p:1 ", "a blank"),
        (" http://p:1", "a blank"),
        ("http://p:1\r", "a blank"),
        ("http://p:1\n", "a blank"),
        ("http://p\x00:1", "a blank"),
        ("http://p\u200b:1", "a blank"),
        ("http://me:\udcff@p:1", "a blank"),
        ("http://me:%0a@p:1", "its login holds a control character"),
        ("http://me:%00@p:1", "its login holds a control character"),
        ("http://me:%7F@p:1", "its login holds a control character"),
        ("http://me:a/b@p:1", "one of / ? #"),
        ("http://me:a?b@p:1", "one of / ? #"),
        ("http://me:a#b@p:1", "one of / ? #"),
        ("http://p:1/x@y:2", "one of / ? #"),
    ],
)
@pytest.mark.parametrize("name", ["--proxy", "https_proxy", "HTTP_PROXY", "all_proxy"])
def test_what_cannot_be_used_stops(name: str, value: str, words: str) -> None:
    """Nothing goes direct in silence: the error names the option or variable, and the hint says how to write it."""
    error = refused([value], {}) if name == "--proxy" else refused([], {name: value})
    assert error.message.startswith(f"{name}: {words}")
    english, chinese = error.hint
    assert english != chinese
    assert any(ord(letter) > 0x4E00 for letter in chinese)


def test_an_empty_option_stops() -> None:
    """`--proxy "$UNSET"` is a slip, and the way to say none is another option."""
    error = refused([""], {})
    assert error.message == "--proxy: empty"
    assert all("--no-proxy" in words for words in error.hint)


@pytest.mark.parametrize(
    "scheme",
    [
        "ss",
        "ssr",
        "vmess",
        "vless",
        "trojan",
        "hysteria",
        "hysteria2",
        "hy2",
        "tuic",
        "anytls",
        "snell",
        "VMESS",
    ],
)
def test_a_node_is_no_proxy(scheme: str) -> None:
    """Whoever pastes a node's link is told to name the port of the own proxy program; the link is not shown."""
    error = refused([f"{scheme}://{CANARY}@node.example:443"], {})
    assert "node" in error.hint[0]
    assert "节点" in error.hint[1]
    assert "node" not in refused(["ftp://p:1"], {}).hint[0]
    assert CANARY not in "".join([str(error), *error.hint])


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ("me:pw", b"me:pw"),
        ("me:p@ss", b"me:p@ss"),
        ("me@corp.example:p:w", b"me@corp.example:p:w"),
        ("me:100%", b"me:100%"),
        ("me:%zz%4", b"me:%zz%4"),
        ("me:%2F%40%25", b"me:/@%"),
        ("a;b=c,d'(x)!*$[]{}|^`<>\"\\:~q_.-", b"a;b=c,d'(x)!*$[]{}|^`<>\"\\:~q_.-"),
        ("用户:口令", "用户:口令".encode()),
        ("me:%ff", b"me:\xff"),
        ("token", b"token:"),
        (":pw", b":pw"),
        ("me:", b"me:"),
    ],
)
def test_libcurl_sends_the_login_that_was_meant(login: str, sent: bytes) -> None:
    """Whatever stands in a login, escaped or not, reaches the proxy as it was meant."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[bytes] = []
        thread = threading.Thread(target=_answer_once, args=(server, asked))
        thread.start()
        (way, _) = ways(f"http://{login}@127.0.0.1:{server.getsockname()[1]}").of(HTTP)
        easy = pycurl.Curl()
        easy.setopt(pycurl.URL, HTTP)
        easy.setopt(pycurl.PROXY, way)
        easy.setopt(pycurl.NOPROXY, "")
        easy.setopt(pycurl.TIMEOUT, 20)
        easy.perform()
        easy.close()
        thread.join()
    (head,) = asked
    (line,) = [
        line for line in head.split(b"\r\n") if line.lower().startswith(b"proxy-authorization: basic ")
    ]
    assert base64.b64decode(line.split()[2]) == sent


def _answer_once(server: socket.socket, asked: list[bytes]) -> None:
    server.settimeout(20)
    with server.accept()[0] as connection:
        connection.settimeout(20)
        head = b""
        while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
            head += more
        asked.append(head)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("entry", "url", "excepted"),
    [
        ("*", "http://a.example/", True),
        ("x,*", "http://a.example/", True),
        ("*:80", "http://a.example/", True),
        ("*:80", "https://a.example/", False),
        ("a.example", "https://a.example/", True),
        ("A.Example", "https://a.example/", True),
        ("a.example", "https://A.EXAMPLE/", True),
        ("a.example", "https://b.a.example:8443/", True),
        (".a.example", "https://b.a.example/", True),
        (".a.example", "https://a.example/", True),
        ("*.a.example", "https://b.a.example/", True),
        ("*.a.example", "https://a.example/", True),
        ("a.example", "https://a.example./", True),
        ("a.example", "https://a%2Eexample/", True),
        ("a.example.", "https://b.a.example/", True),
        ("a.example", "https://nota.example/", False),
        ("*a.example", "https://nota.example/", False),
        ("a.example", "https://a.example.org/", False),
        ("b.a.example", "https://a.example/", False),
        ("a.example", "https://a.example@b.example/", False),
        ("x, a.example ,y", "https://a.example/", True),
        ("x a.example\ty", "https://a.example/", True),
        ("", "https://a.example/", False),
        (",, ,", "https://a.example/", False),
        (". * . *.", "https://a.example/", True),
        (".", "https://a.example/", False),
        ("*.", "https://a.example/", False),
        ("a.example:443", "https://a.example/", True),
        ("a.example:443", "http://a.example:443/", True),
        ("a.example:443", "http://a.example/", False),
        ("a.example:443", "https://a.example:444/", False),
        (".a.example:80", "http://b.a.example/", True),
        ("a.example:https", "https://a.example/", False),
        ("10.0.0.1", "http://10.0.0.1/", True),
        ("10.0.0.1", "http://10.0.0.2/", False),
        ("10.0.0.1", "http://110.0.0.1/", False),
        ("0.0.1", "http://10.0.0.1/", False),
        ("10.0.0.1", "http://10.1/", True),
        ("10.1", "http://10.0.0.1/", True),
        ("10.0.0.1.", "http://10.0.0.1/", True),
        ("::ffff:10.0.0.1", "http://10.0.0.1/", True),
        ("10.0.0.1", "http://a.10.0.0.1.example/", False),
        ("10.0.0.1:81", "http://10.0.0.1:81/", True),
        ("10.0.0.1:81", "http://10.0.0.1/", False),
        ("10.0.0.0/8", "http://10.200.0.1/", True),
        ("10.9.9.9/8", "http://10.200.0.1/", True),
        ("10.0.0.0/8", "http://11.0.0.1/", False),
        ("10.0.0.0/8", "http://a.example/", False),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.1]/", True),
        ("10.0.0.0/8:80", "http://10.0.0.1/", True),
        ("10.0.0.0/8:80", "http://10.0.0.1:81/", False),
        ("10.0.0.0/33", "http://10.0.0.1/", False),
        ("0.0.0.0/0", "http://[fd00::1]/", False),
        ("192.168.*", "http://192.168.7.1/", True),
        ("192.168.*.*", "http://192.168.7.1/", True),
        ("192.16.*", "http://192.168.7.1/", False),
        ("192.168.*", "http://192.168.example/", False),
        ("fd00::1", "http://[fd00::1]/", True),
        ("FD00:0::1", "http://[fd00::1]:99/", True),
        ("[fd00::1]", "http://[fd00::1]/", True),
        ("[fd00::1]:81", "http://[fd00::1]:81/", True),
        ("[fd00::1]:81", "http://[fd00::1]/", False),
        ("fd00::/8", "http://[fd12::1]/", True),
        ("[fd00::]/8", "http://[fd12::1]/", True),
        ("fd00::/8", "http://[fe00::1]/", False),
        ("[fd00::]/8:81", "http://[fd12::1]:81/", True),
        ("[fd00::]/8:81", "http://[fd12::1]/", False),
        ("::/0", "http://10.0.0.1/", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_exceptions(name: str, entry: str, url: str, excepted: bool) -> None:
    """NO_PROXY names hosts, domains by whole labels, addresses and ranges, for options and variables alike."""
    found = ways("o:1", all_proxy="p:1", **{name: entry})
    assert found.of(url) == (("",) if excepted else ("http://o:1", "http://p:1", ""))
    assert found.through("http://o:1", url) == ("" if excepted else "http://o:1")
    assert found.through("", url) == ""


@given(hosts, st.integers(1, 65535), st.data())
def test_names_are_excepted_as_python_does_it(host: str, port: int, data: st.DataObject) -> None:
    """For domains with and without a dot or a port the rule is that of the standard library."""
    labels = host.split(".")
    near = [".".join(labels[at:]) for at in range(len(labels))] + [host[1:], f"x{host}", f"{host}.org"]
    drawn = st.builds("{}{}{}".format, st.sampled_from(["", "."]), st.sampled_from(near) | hosts, _port(port))
    entries = data.draw(st.lists(drawn.filter(lambda entry: entry.strip(".").partition(":")[0]), max_size=3))
    listed = ",".join(entries)
    theirs = bool(proxy_bypass_environment(f"{host}:{port}", {"no": listed} if listed else {}))
    assert (ways("p:1", no_proxy=listed).of(f"http://{host}:{port}/") == ("",)) == (
        theirs or host == "localhost"
    )


def _port(port: int) -> st.SearchStrategy[str]:
    return st.sampled_from(["", f":{port}", f":{port % 65535 + 1}"])


LOOPBACK = [
    "127.0.0.1", "127.9.8.7", "localhost", "LOCALHOST", "localhost.", "a.localhost", "[::1]", "[::ffff:127.0.0.1]",
    "127.1", "0x7f.1", "2130706433", "017700000001", "%31%32%37.0.0.1", "127.0.0.1.", "0.0.0.0", "[::]",
]  # fmt: skip


@given(
    st.sampled_from(LOOPBACK),
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(["", ":8080", ":443"]),
    st.sampled_from(["p:1", "socks5://127.0.0.1:1", "https://proxy.example:8443"]),
    st.dictionaries(st.sampled_from(VARIABLES[:3]), st.sampled_from(["q:1", "socks5://q:1"])),
    st.sampled_from(["", "other.example", "10.0.0.0/8"]),
)
def test_loopback_is_never_proxied(
    host: str, scheme: str, port: str, option: str, variables: dict[str, str], exceptions: str
) -> None:
    """Nothing sends a request for this machine to a proxy, however the address is written."""
    found = ways(option, **variables, no_proxy=exceptions)
    url = f"{scheme}://{host}{port}/a"
    assert found.of(url) == ("",)
    assert found.through(found.proxies[0].url, url) == ""


@pytest.mark.parametrize(
    "host",
    [
        "127.example.org", "localhost.example.org", "my127.0.0.1.example.org", "notlocalhost", "128.0.0.1",
        "0x80.1", "127.0.0.256", "127.0.0.0.1", "127.0.0.1.0", "127.0.0.0.0.0",
        "089.0.0.1", "[::2]", "localhost@a.example",
    ],
)  # fmt: skip
def test_what_only_looks_like_loopback_is_proxied(host: str) -> None:
    """Only the machine itself is exempt: going direct to a stranger would leave the chosen way."""
    assert ways("p:1").of(f"https://{host}/") == ("http://p:1", "")
    assert ways("p:1").through("http://p:1", f"https://{host}/") == "http://p:1"


def test_a_hop_stays_on_its_way() -> None:
    """A redirect keeps the way of its route, also to another scheme, except where an exception stands."""
    found = ways(https_proxy="p:1", no_proxy="near.example")
    (way, _) = found.of("https://far.example/")
    assert found.through(way, "https://cdn.example/") == way
    assert found.through(way, "http://cdn.example/") == way
    assert found.through(way, "http://[not an address") == way
    assert ways("p:1", no_proxy=".").through(way, "http://[not an address") == way
    assert found.through(way, "https://near.example/") == ""
    assert found.through("", "https://cdn.example/") == ""


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        ("", "direct"),
        ("http://p:3128", "proxy p:3128"),
        ("socks5h://me:pw@[::1]:7891", "proxy [::1]:7891"),
        ("http://a%40b:p%2Fw@p:1", "proxy p:1"),
    ],
)
def test_ways_have_a_label(way: str, shown: str) -> None:
    """People see `direct`, or the proxy's host and port."""
    assert label(way) == shown


def test_a_proxy_is_shown_without_its_login() -> None:
    """Host and origin are shown, the login is not, neither of one proxy nor within the whole."""
    found = ways("http://me:QXZ@p:3128", HTTPS_PROXY="socks5://me:QXZ@q:1")
    assert found.proxies[0].host == "p:3128"
    assert repr(found.proxies[0]) == "Proxy(http://p:3128 from --proxy for http+https)"
    assert repr(found.proxies[1]) == "Proxy(socks5h://q:1 from HTTPS_PROXY for https)"
    assert "QXZ" not in f"{found} {found!r} {found.proxies}"


logins = st.builds(
    lambda before, after: f"{before}{CANARY}{after}",
    st.text("me:@/%?#[]\\ \n2F0é;", max_size=6),
    st.text("me:@/%?#[]\\ \n2F0é;", max_size=6),
)


@given(
    logins,
    st.sampled_from(["", "http://", "https://", "socks://", "socks5://", "ss://", "x://", "http:/", "//"]),
    st.sampled_from(
        ["p:1", "127.0.0.1:7890", "10.0.0.1", "[::1]:1", "[::1", "p:x", "", ":1", "p:1/path", "p q"]
    ),
    st.sampled_from(["--proxy", *VARIABLES[:3]]),
)
@example(f"me:{CANARY}", "https://", "10.0.0.1", "--proxy")
@example(f"me:{CANARY}/", "http://", "p:1", "all_proxy")
@example(f"{CANARY}://", "", "p:1", "all_proxy")
def test_a_login_is_never_shown(login: str, scheme: str, place: str, name: str) -> None:
    """No error, note, label or repr holds what stands before the last @, however the rest is broken."""
    value = f"{scheme}{login}@{place}"
    try:
        found = ways(value) if name == "--proxy" else ways(**{name: value})
    except SettingsError as error:
        shown = [*traceback.format_exception(error), repr(error), *error.hint]
    else:
        (proxy,) = found.proxies
        shown = [repr(found), str(found), repr(proxy), proxy.host, label(proxy.url)]
        shown += [sentence for note in found.notes for sentence in note]
        assert unquote_to_bytes(proxy.url.rpartition("@")[0].partition("://")[2]) == unquote_to_bytes(login)
    assert not any(CANARY in text for text in shown)


@given(
    st.lists(anything, max_size=2),
    st.dictionaries(st.sampled_from([*VARIABLES, *map(str.upper, VARIABLES), "REQUEST_METHOD"]), anything),
    st.one_of(anything, anything.map("http://{}".format), hosts.map("https://{}/".format)),
)
def test_anything_is_read_or_refused(proxies: list[str], variables: dict[str, str], url: str) -> None:
    """Whatever is said, there is a list of ways that ends with the direct one, or an error of ours."""
    try:
        found = find_ways(proxies, no_proxy=False, variables=variables)
    except SettingsError as error:
        assert error.message.partition(":")[0] in {"--proxy", *variables}
        return
    assert "\n" not in "".join(sentence for note in found.notes for sentence in note)
    *carried, last = found.of(url)
    assert last == ""
    assert len(set(carried)) == len(carried)
    assert set(carried) <= {proxy.url for proxy in found.proxies}
    for proxy in found.proxies:
        assert found.through(proxy.url, url) in ("", proxy.url)
        parts = urlsplit(proxy.url)
        assert parts.scheme in {"http", "https", "socks4a", "socks5h"}
        assert parts.port
        assert (parts.path, parts.query, parts.fragment) == ("", "", "")
        assert one(proxy.url).url == proxy.url
        assert proxy.url.isascii()
        assert proxy.url.isprintable()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.1", True), ("0177.1", True), ("0x7f.1", True), ("0177.0.0.01", True), ("2130706433", True), ("017700000001", True), ("0", True),
     ("0200.1", False), ("128.1", False), ("0x80.1", False), ("1.2.3.4", False), ("089.1", False), ("127.256.1", False), ("127.0.0.256", False)],
)  # fmt: skip
def test_short_addresses_are_read_as_libcurl_reads_them(host: str, local: bool) -> None:
    """Octal with a 0 in front, hexadecimal with 0x, and a last part that fills what is left."""
    assert ways(PROXY).of(f"http://{host}/") == (("",) if local else (PROXY, ""))


def test_a_proxy_shows_its_scheme_and_place() -> None:
    """What a log holds of it: no login, even where a password has the look of an address."""
    proxy = one("http://me:a%3A%2F%2Fb@h:1")
    assert repr(proxy) == "Proxy(http://h:1 from --proxy for http+https)"


def test_an_address_that_cannot_be_read_has_no_port() -> None:
    """Only the exception for everything fits it; one for a port does not."""
    assert ways(PROXY, no_proxy="*").of("http://[::1") == ("",)
    assert ways(PROXY, no_proxy="*:0").of("http://[::1") == ("",)
    assert ways(PROXY, no_proxy="*:1").of("http://[::1/") == ("",)
    assert ways(PROXY, no_proxy="*:80").of("http://a/") == ("",)
    assert ways(PROXY, no_proxy="*:81").of("http://a/") == (PROXY, "")


@pytest.mark.parametrize(
    ("host", "private"),
    [("10.0.0.0", True), ("10.255.255.255", True), ("11.0.0.0", False), ("9.255.255.255", False), ("172.16.0.0", True), ("172.31.255.255", True),
     ("172.32.0.0", False), ("172.15.255.255", False), ("192.168.0.0", True), ("192.168.255.255", True), ("192.169.0.0", False),
     ("192.167.255.255", False), ("[fc00::]", True), ("[fdff:ffff::1]", True), ("[fe00::1]", False), ("[fbff::1]", False)],
)  # fmt: skip
def test_where_a_proxy_is_asked_in_the_clear(host: str, private: bool) -> None:
    """`https://` before the proxy of one's own network is a slip; elsewhere it is kept."""
    assert one(f"https://{host}:1").url.startswith("http://" if private else "https://")
    assert one(f"https://me:pw@{host}:1").url.startswith("https://")
