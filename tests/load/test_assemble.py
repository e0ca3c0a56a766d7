"""load/assemble.py: batches in order, whoever is slow; what stands in the place of the broken; how it all stops."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import NotVerified, UsageError
from g3m.load.assemble import Assembly, BrokenImage, Row, make, replace_all, substitutes

LONG_S = 30.0
"""No test waits so long, unless it fails."""


class Cells(list[Any]):
    """A batch's memory, which can be watched."""


class Numbers:
    """A maker of batches of plain numbers; some of them are broken, and `before` may delay or raise."""

    def __init__(self, broken: Sequence[int] = (), before: Callable[[int], None] | None = None) -> None:
        self.broken = set(broken)
        self.before = before
        self.begun = 0
        self.filled: list[int] = []
        self.memories: list[weakref.ref[Cells]] = []

    def begin(self, count: int) -> Cells:
        self.begun += 1
        cells = Cells([None] * count)
        self.memories.append(weakref.ref(cells))
        return cells

    def fill(self, memory: Cells, place: int, number: int) -> Row | BrokenImage:
        if self.before:
            self.before(number)
        self.filled.append(number)
        if number in self.broken:
            memory[place] = "spoilt"
            return BrokenImage("d", f"k{number}", "torn")
        memory[place] = number
        return f"d/k{number}", f"caption {number}"

    def copy(self, memory: Cells, place: int, source: int) -> None:
        memory[place] = memory[source]

    def finish(self, memory: Cells) -> Cells:
        return memory


def steps(batches: int, size: int = 4) -> list[tuple[int, ...]]:
    """Batches of consecutive numbers."""
    return [tuple(range(size * step, size * step + size)) for step in range(batches)]


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition; fail if it does not come."""
    end = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def alive() -> list[str]:
    """The loader's threads that run now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("g3m-load")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    """After every test all threads are gone."""
    yield
    gc.collect()
    wait_until(lambda: not alive())


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
def test_in_order_whatever_takes_long(workers: int) -> None:
    """Batches come in the order of the sequence, rows in the order of the batch, although samples end in another."""
    lots = itertools.cycle([0.003, 0, 0, 0.001, 0, 0.002, 0])
    maker = Numbers(before=lambda number: time.sleep(next(lots)))
    got = list(Assembly(maker, steps(9), 2, workers=workers, ahead=3))
    assert [tuple(batch.images) for batch in got] == steps(9)[2:]
    assert [batch.numbers for batch in got] == steps(9)[2:]
    assert got[0].rows == [(f"d/k{number}", f"caption {number}") for number in (8, 9, 10, 11)]
    assert sorted(maker.filled) == list(range(8, 36))
    assert alive() == []


def test_all_threads_make_one_batch() -> None:
    """A sample is the unit of work: four threads meet inside one batch of four."""
    meeting = threading.Barrier(4, timeout=LONG_S)
    assembly = Assembly(
        Numbers(before=lambda number: meeting.wait() and None), steps(2), 0, workers=4, ahead=1
    )
    assert [tuple(batch.images) for batch in assembly] == steps(2)


def test_a_slow_sample_delays_only_its_batch() -> None:
    """While one sample of the first batch hangs, the other thread makes all that may be made ahead."""
    gate = threading.Event()
    maker = Numbers(before=lambda number: gate.wait(LONG_S) and None if number == 0 else None)
    assembly = Assembly(maker, steps(6), 0, workers=2, ahead=3)
    wait_until(lambda: len(maker.filled) == 11)
    gate.set()
    assert [tuple(batch.images) for batch in assembly] == steps(6)


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_a_slow_taker_bounds_it(ahead: int) -> None:
    """However long nobody takes a batch, only `ahead` of them are begun; each taken lets one more begin."""
    maker = Numbers()
    assembly = Assembly(maker, steps(20), 0, workers=2, ahead=ahead)
    for taken in range(5):
        wait_until(lambda taken=taken: len(maker.filled) == 4 * (taken + ahead))
        time.sleep(0.01)
        assert maker.begun == taken + ahead
        next(assembly)
    assembly.close()


def test_what_is_handed_out_is_not_held() -> None:
    """When the taker forgets a batch, its memory goes, although threads and later batches are there."""
    maker = Numbers()
    assembly = Assembly(maker, steps(8), 0, workers=2, ahead=2)
    for taken in range(1, 7):
        next(assembly)
        wait_until(lambda taken=taken: len(maker.filled) == 4 * min(8, taken + 2))
        wait_until(lambda taken=taken: all(memory() is None for memory in maker.memories[:taken]))
    assembly.close()


def test_an_epoch_may_be_empty() -> None:
    """Nothing is begun where nothing is left, and an empty batch is a batch."""
    assert list(Assembly(Numbers(), steps(3), 3, workers=2, ahead=2)) == []
    (batch,) = Assembly(Numbers(), [()], 0, workers=2, ahead=2)
    assert (batch.images, batch.rows, batch.good) == ([], [], None)


@pytest.mark.parametrize(
    "error", [NotVerified("shard is cut"), OSError(5, "Input/output error"), SystemExit(3)]
)
@pytest.mark.parametrize("where", ["fill", "begin", "finish", "numbers"])
def test_an_error_reaches_the_taker(error: BaseException, where: str) -> None:
    """What fails in a thread is raised at its batch, as it was; the batches before come, and then all is over."""

    class Failing(Numbers):
        def begin(self, count: int) -> Cells:
            if where == "begin" and self.begun == 2:
                raise error
            return super().begin(count)

        def fill(self, memory: Cells, place: int, number: int) -> Row | BrokenImage:
            if where == "fill" and number == 10:
                raise error
            return super().fill(memory, place, number)

        def finish(self, memory: Cells) -> Cells:
            if where == "finish" and memory[0] == 8:
                raise error
            return super().finish(memory)

    class FailingSteps(list[tuple[int, ...]]):
        def __getitem__(self, step: Any) -> Any:
            if where == "numbers" and step == 2:
                raise error
            return super().__getitem__(step)

    assembly = Assembly(Failing(), FailingSteps(steps(5)), 0, workers=1, ahead=2)
    assert [tuple(next(assembly).images) for _ in range(2)] == steps(2)
    with pytest.raises(type(error)) as caught:
        next(assembly)
    assert caught.value is error
    assert alive() == []
    assert list(assembly) == []


def test_of_several_errors_the_first() -> None:
    """Where several samples of a batch fail, it is the first one's error that is raised, whichever failed first."""
    meeting = threading.Barrier(4, timeout=LONG_S)

    def before(number: int) -> None:
        meeting.wait()
        time.sleep(0.02 * (3 - number))
        raise ValueError(f"sample {number}")

    with pytest.raises(ValueError, match="sample 0"):
        next(Assembly(Numbers(before=before), steps(1), 0, workers=4, ahead=1))


def endless(gate: threading.Event) -> Assembly:
    """Threads in the middle of work that ends only with the gate, after one batch."""
    assembly = Assembly(
        Numbers(before=lambda number: gate.wait(LONG_S) and None if number > 5 else None),
        steps(1000),
        0,
        workers=3,
        ahead=4,
    )
    next(assembly)
    return assembly


@pytest.mark.parametrize("how", ["close", "forget", "exception", "break"])
def test_it_stops_at_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed, forgotten, left by an exception or a break: every thread ends after the sample that it is at."""
    monkeypatch.setattr("g3m.load.assemble.STOP_S", 2 * LONG_S)
    gate = threading.Event()
    assembly = endless(gate)
    wait_until(lambda: len(alive()) == 3)
    threading.Timer(0.05, gate.set).start()
    begin = time.monotonic()
    if how == "close":
        assembly.close()
        assert list(assembly) == []
        assembly.close()
    elif how == "forget":
        del assembly
    elif how == "exception":

        def train(batches: Any) -> None:
            for _ in batches:
                raise ValueError("of the user's")

        it, assembly = assembly, None
        holder = [it]
        del it
        with pytest.raises(ValueError, match="of the user's"):
            train(holder.pop())
        gc.collect()
    else:
        for _ in assembly:
            break
        del assembly
    assert alive() == []
    assert time.monotonic() - begin < LONG_S


def test_a_thread_that_hangs_does_not_hang_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a read hangs for long, stopping gives up waiting; the thread ends when the read does."""
    monkeypatch.setattr("g3m.load.assemble.STOP_S", 0.05)
    gate = threading.Event()
    assembly = endless(gate)
    begin = time.monotonic()
    assembly.close()
    assert time.monotonic() - begin < LONG_S
    assert len(alive()) == 3
    gate.set()
    wait_until(lambda: not alive())


def test_closed_by_another_thread() -> None:
    """Who waits for a batch while somebody else closes gets the end, and does not wait for ever."""
    gate = threading.Event()
    assembly = endless(gate)
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(list(assembly)))
    waiting.start()
    threading.Timer(0.05, gate.set).start()
    assembly.close()
    waiting.join(LONG_S)
    assert not waiting.is_alive()
    assert len(got) == 1


def test_forgotten_by_a_collection_in_one_of_its_own_threads() -> None:
    """The collector may run anywhere: a stop that happens in one of the threads does not wait for itself."""
    gate = threading.Event()
    collect = threading.Event()

    def before(number: int) -> None:
        if number > 5:
            gate.wait(LONG_S)
            if not collect.is_set():
                collect.set()
                gc.collect()

    assembly = Assembly(Numbers(before=before), steps(1000), 0, workers=2, ahead=2)
    next(assembly)
    cycle: list[Any] = [assembly]
    cycle.append(cycle)
    del assembly, cycle
    gc.disable()
    try:
        gate.set()
        wait_until(lambda: not alive())
    finally:
        gc.enable()


def run(script: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, with a maker and batches at hand."""
    prelude = """
        import os, signal, sys, threading, time, _thread
        from g3m.load.assemble import Assembly
        class Maker:
            delay_s = 0.0
            def begin(self, count): return [None] * count
            def fill(self, memory, place, number):
                time.sleep(self.delay_s)
                memory[place] = number
                return str(number), ""
            def copy(self, memory, place, source): pass
            def finish(self, memory): return memory
        batches = [(n, n + 1) for n in range(0, 2000, 2)]
    """
    text = textwrap.dedent(prelude) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_fork_begins_its_own() -> None:
    """A forked process is told that its parent's epoch is not its own, and can make one; the parent goes on."""
    done = run("""
        mine = Assembly(Maker(), batches, 0, workers=2, ahead=2)
        next(mine)
        child = os.fork()
        if child == 0:
            try:
                next(mine)
                os._exit(2)
            except Exception as error:
                if "another process" not in str(error): os._exit(3)
            mine.close()
            whole = [b.images[0] for b in Assembly(Maker(), batches, 0, workers=2, ahead=2)]
            os._exit(0 if whole == list(range(0, 2000, 2)) else 4)
        rest = sum(1 for _ in mine)
        print(rest, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (done.stdout, done.stderr) == ("999 0\n", "")


def test_interrupted_while_it_waits() -> None:
    """Ctrl-C reaches a program that waits for a batch, and ends it with its threads."""
    done = run("""
        Maker.delay_s = 0.2
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            for _ in Assembly(Maker(), [tuple(range(10000))], 0, workers=2, ahead=2): pass
        except KeyboardInterrupt:
            print(sorted(t.name for t in threading.enumerate() if t.name.startswith("g3m")))
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


def test_a_program_may_end_in_the_middle() -> None:
    """A batch sequence that somebody still holds does not keep a program from ending, nor makes it crash."""
    begin = time.monotonic()
    done = run("""
        Maker.delay_s = 0.001
        kept = Assembly(Maker(), batches, 0, workers=4, ahead=50)
        next(kept)
        print("end")
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)
    assert time.monotonic() - begin < LONG_S


@given(st.lists(st.booleans(), max_size=40))
def test_substitutes(usable: list[bool]) -> None:
    """Each place that is not usable gets the next that is, going round; none if there is none."""
    found = dict(substitutes(usable))
    if not any(usable):
        assert found == {}
        return
    assert sorted(found) == [place for place, good in enumerate(usable) if not good]
    for place, source in found.items():
        way = [(place + step) % len(usable) for step in range(1, len(usable))]
        assert source == next(other for other in way if usable[other])


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_broken_ones_are_replaced(workers: int) -> None:
    """A broken picture gives way to the next good one of its batch, with its row; it is named; `good` is the last."""
    maker = Numbers(broken=[0, 1, 7])
    if workers:
        got = list(Assembly(maker, steps(3), 0, workers=workers, ahead=2))
    else:
        got = [make(maker, numbers) for numbers in steps(3)]
    assert [list(batch.images) for batch in got] == [[2, 2, 2, 3], [4, 5, 6, 4], [8, 9, 10, 11]]
    assert [row[0] for row in got[1].rows] == ["d/k4", "d/k5", "d/k6", "d/k4"]
    assert [[one.key for one in batch.broken] for batch in got] == [["k0", "k1"], ["k7"], []]
    assert [batch.good for batch in got] == [3, 6, 11]


def test_a_batch_without_a_good_one() -> None:
    """It is handed on without images, and can be filled with an earlier sample, or says what is wrong."""
    maker = Numbers(broken=range(4))
    batch = make(maker, (0, 1, 2, 3))
    assert (batch.images, batch.rows, batch.good) == (None, [], None)
    filled = replace_all(maker, batch, 9)
    assert list(filled.images) == [9, 9, 9, 9]
    assert [row[0] for row in filled.rows] == ["d/k9"] * 4
    assert (filled.good, filled.broken) == (9, batch.broken)
    with pytest.raises(NotVerified, match=r"d/k0: cannot be decoded \(torn\)"):
        replace_all(maker, batch, None)
    with pytest.raises(NotVerified, match="d/k2: could be decoded, and now cannot: torn"):
        replace_all(maker, batch, 2)


def test_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a forked process has a hint in both languages."""
    assembly = Assembly(Numbers(), steps(2), 0, workers=1, ahead=1)
    monkeypatch.setattr("g3m.load.assemble.os.getpid", lambda: -1)
    with pytest.raises(UsageError, match="another process") as caught:
        next(assembly)
    assert all("iter(loader)" in text for text in caught.value.hint)
    monkeypatch.undo()
    assembly.close()
