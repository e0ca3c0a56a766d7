"""adapters/names.py: names are resolved beside the work, once, and checked as a whole."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from g3m.adapters import names as module
from g3m.adapters.names import FAILED_FOR_S, GOOD_FOR_S, Known, Names

PUBLIC = "93.184.216.34"
OTHER = "2606:2800:220:1::1"
SLACK_S = 30.0


class Server:
    """A name server in this process: answers by name, counts questions, and can be held."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.now = self.most = 0
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()

    def __call__(self, host: str, port: None, **options: Any) -> list[Any]:
        with self._lock:
            self.asked.append(host)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            assert self.open.wait(SLACK_S)
            answer = self.answers[host]
            answer = answer.pop(0) if isinstance(answer, list) else answer
            if isinstance(answer, Exception):
                raise answer
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer]
        finally:
            with self._lock:
                self.now -= 1


@contextmanager
def resolving(look_up: Callable[..., list[Any]], **options: Any) -> Iterator[Names]:
    before = set(threading.enumerate())
    names = Names(look_up=look_up, pauses_s=options.pop("pauses_s", (0.0, 0.0)), **options)
    try:
        yield names
    finally:
        names.close()
        assert not [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]


def answer_for(names: Names, host: str) -> Known:
    ending_s = time.monotonic() + SLACK_S
    while time.monotonic() < ending_s:
        known = names.ask(host)
        if known is not None:
            return known
        names.wait(1.0)
    raise AssertionError(f"no answer for {host}")


def test_never_waits() -> None:
    """A question is answered at once with nothing while it is looked up, and with the addresses afterwards."""
    server = Server({"a.example": (PUBLIC, OTHER, PUBLIC)})
    server.open.clear()
    with resolving(server) as names:
        assert names.ask("a.example") is None
        assert names.ask("a.example") is None
        server.open.set()
        assert answer_for(names, "a.example") == Known((PUBLIC, OTHER))
        assert server.asked == ["a.example"]


def test_joined() -> None:
    """Many threads that ask for one name make one look-up, and all get its answer."""
    server = Server({"a.example": (PUBLIC,)})
    server.open.clear()
    found: list[Known] = []
    with resolving(server) as names:
        threads = [
            threading.Thread(target=lambda: found.append(answer_for(names, "a.example"))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        server.open.set()
        for thread in threads:
            thread.join(SLACK_S)
    assert found == [Known((PUBLIC,))] * 8
    assert server.asked == ["a.example"]


def test_bounded() -> None:
    """No more names are looked up at one time than allowed, and as many as allowed are."""
    hosts = [f"h{number}.example" for number in range(20)]
    server = Server(dict.fromkeys(hosts, (PUBLIC,)))
    server.open.clear()
    with resolving(server, lookups=3) as names:
        assert [names.ask(host) for host in hosts] == [None] * 20
        ending_s = time.monotonic() + SLACK_S
        while server.most < 3 and time.monotonic() < ending_s:
            time.sleep(0.005)
        server.open.set()
        assert {answer_for(names, host).addresses for host in hosts} == {(PUBLIC,)}
    assert server.most == 3


@pytest.mark.parametrize(
    "answer",
    [("127.0.0.1",), (PUBLIC, "10.0.0.1"), ("169.254.169.254", PUBLIC), (PUBLIC, OTHER, "::1"), ("::ffff:127.0.0.1",), ("64:ff9b::7f00:1",),
     (PUBLIC, "fe80::1%eth0"), ("fd00:ec2::254",), ("0.0.0.0",), ("::",), ("224.0.0.1",), (PUBLIC,) * 3 + tuple(f"9.9.9.{n}" for n in range(9)) + ("10.0.0.1",)],
)  # fmt: skip
def test_one_is_enough(answer: tuple[str, ...]) -> None:
    """A name with one address that is not public is refused as a whole, and nothing of it is handed out."""
    with resolving(Server({"evil.example": answer})) as names:
        known = answer_for(names, "evil.example")
    assert known.reason == "private_address"
    assert known.addresses == ()
    assert known.detail


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "fe80::1%lo",
     "169.254.169.254", "64:ff9b::a9fe:a9fe", "134744072", "127.0.0.1."],
)  # fmt: skip
def test_numbers(host: str) -> None:
    """An address instead of a name is judged without asking anybody, in every spelling."""
    server = Server({})
    with resolving(server) as names:
        known = names.ask(host)
    assert known is not None
    assert (known.addresses, known.reason) == ((), "private_address")
    assert server.asked == []


def test_public_number() -> None:
    """A public address leads to itself."""
    with resolving(Server({})) as names:
        assert names.ask("8.8.8.8") == Known(("8.8.8.8",))
        assert names.ask(OTHER) == Known((OTHER,))


def test_fullwidth_name() -> None:
    """A host that only the system's resolver reads as an address is judged by what comes out."""
    with resolving(socket.getaddrinfo) as names:
        assert answer_for(names, "１２７.0.0.1").addresses == ()
        assert answer_for(names, "localhost").reason == "private_address"


def test_allowed_private() -> None:
    """A laboratory may allow its own networks; metadata stays out of reach, by number and by name."""
    server = Server({"lab.example": ("10.0.0.7",), "meta.example": ("169.254.169.254",)})
    with resolving(server, allow_private=True) as names:
        assert answer_for(names, "lab.example") == Known(("10.0.0.7",))
        assert names.ask("127.0.0.1") == Known(("127.0.0.1",))
        assert answer_for(names, "meta.example").reason == "private_address"
        known = names.ask("169.254.169.254")
        assert known is not None
        assert known.reason == "private_address"
        assert names.refuse("10.0.0.7") == ""


def test_a_proxy_program_answers_for_names() -> None:
    """What stands in for a name is told apart; as a number, or beside a private one, it is refused as any."""
    answers = {
        "a.example": ("198.18.0.7",),
        "b.example": (PUBLIC, "fc00::7"),
        "c.example": ("198.18.0.7", "10.0.0.1"),
    }
    with resolving(Server(answers)) as names:
        assert answer_for(names, "a.example") == Known((), "stand_in", "198.18.0.7")
        assert answer_for(names, "b.example") == Known((), "stand_in", "fc00::7")
        assert answer_for(names, "c.example") == Known((), "private_address", "a private network")
        assert names.ask("198.18.0.7") == Known((), "private_address", "reserved for measurements")


def test_rebinding() -> None:
    """A name server that answers with loopback the second time changes nothing, and then is refused."""
    clock = [0.0]
    server = Server({"evil.example": [(PUBLIC,), ("127.0.0.1",)]})
    with resolving(server, monotonic=lambda: clock[0]) as names:
        assert answer_for(names, "evil.example") == Known((PUBLIC,))
        clock[0] = GOOD_FOR_S - 1
        assert names.ask("evil.example") == Known((PUBLIC,))
        assert len(server.asked) == 1
        clock[0] = GOOD_FOR_S + 1
        assert names.ask("evil.example") is None
        assert answer_for(names, "evil.example").reason == "private_address"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name_unknown"),
        (UnicodeEncodeError("idna", "x", 0, 1, "label too long"), "name_unknown"),
        (ValueError("embedded null"), "name_unknown"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "name_failed"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "name_failed"),
        (OSError(24, "Too many open files"), "name_failed"),
        ((), "name_unknown"),
    ],
)
def test_failures(error: Any, reason: str) -> None:
    """A name that does not exist is told from one whose server does not answer."""
    server = Server({"gone.example": error})
    with resolving(server) as names:
        assert answer_for(names, "gone.example").reason == reason
        assert len(server.asked) == (3 if reason == "name_failed" else 1)


def test_second_try() -> None:
    """A name server that fails twice and then answers costs nothing."""
    again = socket.gaierror(socket.EAI_AGAIN, "later")
    with resolving(Server({"slow.example": [again, again, (PUBLIC,)]})) as names:
        assert answer_for(names, "slow.example") == Known((PUBLIC,))


def test_how_long() -> None:
    """What does not exist is never asked again, and a failure is after its minute."""
    clock = [0.0]
    again, gone = socket.gaierror(socket.EAI_AGAIN, ""), socket.gaierror(socket.EAI_NONAME, "")
    server = Server({"slow.example": [again, again, again, (PUBLIC,)], "gone.example": gone})
    with resolving(server, monotonic=lambda: clock[0]) as names:
        assert answer_for(names, "slow.example").reason == "name_failed"
        assert answer_for(names, "gone.example").reason == "name_unknown"
        clock[0] = FAILED_FOR_S - 1
        assert names.ask("slow.example") is not None
        clock[0] = FAILED_FOR_S + 1
        assert answer_for(names, "slow.example") == Known((PUBLIC,))
        clock[0] = 1e9
        assert names.ask("gone.example") is not None
    assert server.asked.count("gone.example") == 1


def test_pause_holds_no_thread() -> None:
    """While a name waits for its next try, the only thread looks up others."""
    again = socket.gaierror(socket.EAI_AGAIN, "later")
    server = Server({"slow.example": again, "a.example": (PUBLIC,), "b.example": (PUBLIC,)})
    with resolving(server, lookups=1, pauses_s=(3600.0,)) as names:
        assert names.ask("slow.example") is None
        assert answer_for(names, "a.example") == Known((PUBLIC,))
        assert answer_for(names, "b.example") == Known((PUBLIC,))
        assert names.ask("slow.example") is None
    assert server.asked == ["slow.example", "a.example", "b.example"]


def test_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many answers are remembered; the oldest are asked for again."""
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    hosts = [f"h{number}.example" for number in range(5)]
    server = Server(dict.fromkeys(hosts, (PUBLIC,)))
    with resolving(server, lookups=1) as names:
        for host in hosts:
            answer_for(names, host)
        assert names.ask(hosts[4]) is not None
        assert names.ask(hosts[0]) is None
        answer_for(names, hosts[0])
    assert server.asked == [*hosts, hosts[0]]


def test_waiting() -> None:
    """Waiting ends at once if a look-up ended since the last time, and else after the time given."""
    with resolving(Server({"a.example": (PUBLIC,)})) as names:
        names.wait(0.01)
        answer_for(names, "a.example")
        other = threading.Thread(target=lambda: names.wait(3600.0))
        other.start()
        other.join(SLACK_S)
        assert not other.is_alive()
        names.wait(0.01)
        names.wait(0.01)


def test_close_ends_waiting() -> None:
    """The end of the run wakes who waits, ends the threads, and does not wait for the pauses of failed names."""
    again = socket.gaierror(socket.EAI_AGAIN, "later")
    with resolving(Server({"slow.example": again}), pauses_s=(3600.0,)) as names:
        names.ask("slow.example")
        waiting = threading.Thread(target=lambda: names.wait(3600.0))
        waiting.start()
        names.close()
        waiting.join(SLACK_S)
        assert not waiting.is_alive()
        known = names.ask("new.example")
        assert known is not None
        assert known.reason == "name_failed"


def test_close_leaves_the_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that hangs in the system does not hold up the end, nor the end of the program."""
    monkeypatch.setattr(module, "_ENDING_S", 0.05)
    server = Server({"hang.example": (PUBLIC,)})
    server.open.clear()
    before = set(threading.enumerate())
    names = Names(look_up=server)
    names.ask("hang.example")
    names.close()
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert all(thread.daemon for thread in left)
    server.open.set()
    for thread in left:
        thread.join(SLACK_S)
    assert not any(thread.is_alive() for thread in left)
