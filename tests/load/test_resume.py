"""Going on in the middle of an epoch: exactly the samples that were not yet handed out, whoever goes on."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.load.folders import folder_of
from tests.whole.sources import tiny_jpeg

from g3m.core.errors import UsageError
from g3m.load.dataset import Dataset, dataset
from g3m.load.torch import loader

torch.set_num_threads(1)

SAMPLES = 101
BATCH = 3
SIZE = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [(f"k{n}", {"jpg": tiny_jpeg(n), "txt": f"caption {n}".encode()}) for n in range(SAMPLES)]
    return folder_of(
        tmp_path_factory.mktemp("resume") / "mine", {"0.tar": samples[:50], "1.tar": samples[50:]}
    )


@pytest.fixture(scope="module")
def data(place: Path) -> Any:
    with dataset(place) as found:
        yield found


def made(data: Dataset, batch_size: int = BATCH, **options: Any) -> Any:
    return loader(
        data, batch_size, **{"image_size": SIZE, "seed": 4, "last": "even", "workers": 2, **options}
    )


def keys_of(epoch: Any) -> list[str]:
    return [key for _, _, keys in epoch for key in keys]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(state))


def taken(epoch: Any, count: int) -> list[str]:
    return [key for _ in range(count) for key in next(epoch)[2]]


@pytest.mark.parametrize(
    ("workers", "processes", "points"),
    [(0, False, 20), (1, False, 20), (2, False, 20), (4, False, 20), (0, True, 20), (2, True, 4)],
)
@pytest.mark.parametrize("shuffle", ["full", "block"])
def test_at_random_points(data: Dataset, workers: int, processes: bool, points: int, shuffle: str) -> None:
    """Twenty points of an epoch: what a new loader gives after the state is what the epoch had left, in its order."""
    options: Any = {"workers": workers, "processes": processes, "shuffle": shuffle}
    whole = keys_of(made(data, workers=0, shuffle=shuffle))
    assert sorted(whole) == sorted(data.key(number) for number in range(SAMPLES))
    generator = random.Random(f"{workers} {processes} {shuffle}")
    for _ in range(points):
        steps = generator.randrange(len(made(data)) + 1)
        first = made(data, **options)
        epoch = iter(first)
        before = taken(epoch, steps)
        second = made(data, **options)
        second.load_state_dict(through_json(first.state_dict()))
        assert before + keys_of(second) == whole
        assert second.state_dict() == first.state_dict() | {
            "epoch": 1,
            "steps": 0,
            "good": second.state_dict()["good"],
        }
        first.close()


@pytest.mark.parametrize(
    ("then", "now"), [((0, False), (4, False)), ((4, False), (2, True)), ((2, True), (1, False))]
)
def test_on_other_workers(data: Dataset, then: Any, now: Any) -> None:
    """Threads, processes or none, many or few: the state does not depend on who made the batches."""
    whole = keys_of(made(data))
    first = made(data, workers=then[0], processes=then[1])
    epoch = iter(first)
    before = taken(epoch, 11)
    state = first.state_dict()
    first.close()
    second = made(data, workers=now[0], processes=now[1])
    second.load_state_dict(state)
    assert before + keys_of(second) == whole


@pytest.mark.parametrize("shuffle", ["full", "block", "none"])
@pytest.mark.parametrize(
    "shares", [[(2, 3, 5), (3, 3, None)], [(3, 4, 3), (1, 7, 6), (2, 2, None)], [(1, 5, 0), (4, 2, None)]]
)
def test_on_another_number_of_ranks(data: Dataset, shuffle: str, shares: list[Any]) -> None:
    """Ranks that come and go, and batches of other sizes: in the end every sample was seen exactly once."""
    state, seen = None, []
    for world, size, steps in shares:
        states = []
        lengths = set()
        for rank in range(world):
            one = made(data, size, rank=rank, world=world, shuffle=shuffle, workers=1)
            one.load_state_dict(state or {})
            epoch = iter(one)
            found = keys_of(epoch) if steps is None else taken(epoch, steps)
            seen += found
            lengths.add(-(-len(found) // size))
            states.append(through_json(one.state_dict()))
            one.close()
        assert len(lengths) == 1
        assert all(other | {"good": None} == states[0] | {"good": None} for other in states)
        state = states[-1]
    assert sorted(seen) == sorted(data.key(number) for number in range(SAMPLES))
    assert state is not None
    assert (state["epoch"], state["steps"], state["earlier"]) == (1, 0, [])


def test_states_between_batches(data: Dataset) -> None:
    """A state counts what was handed out, not what lies ready; before the first batch and after the last, too."""
    one = made(data)
    assert (one.state_dict()["epoch"], one.state_dict()["steps"]) == (0, 0)
    for step, _ in enumerate(one):
        assert (one.state_dict()["epoch"], one.state_dict()["steps"]) == (0, step + 1)
    assert (one.state_dict()["epoch"], one.state_dict()["steps"]) == (1, 0)


def test_at_the_end_as_torchdata_does(data: Dataset) -> None:
    """Taken behind the last batch, a state gives an empty rest, and then epochs; taken after the end, the next epoch."""
    one = made(data)
    second_epoch = [keys_of(one), keys_of(one)][1]
    one.set_epoch(0)
    states = [one.state_dict() for _ in one]
    two = made(data)
    two.load_state_dict(states[-1])
    assert two.state_dict() == states[-1]
    assert (keys_of(two), keys_of(two)) == ([], second_epoch)
    two.load_state_dict(one.state_dict())
    assert keys_of(two) == second_epoch


def test_loading_in_the_middle(data: Dataset) -> None:
    """A state may be loaded at any time: what runs is ended; an empty one is the beginning."""
    one = made(data)
    whole = keys_of(one)
    one.set_epoch(0)
    epoch = iter(one)
    taken(epoch, 5)
    state = one.state_dict()
    taken(epoch, 5)
    one.load_state_dict(state)
    with pytest.raises(UsageError, match="was ended"):
        next(epoch)
    assert keys_of(one) == whole[15:]
    one.load_state_dict({})
    assert keys_of(one) == whole


def test_set_epoch_after_loading(data: Dataset) -> None:
    """A trainer that says the epoch each time goes on in that of the state; another epoch is begun from its start."""
    one = made(data)
    one.set_epoch(3)
    epoch = iter(one)
    before = taken(epoch, 7)
    state = one.state_dict()
    one.set_epoch(3)
    assert state == one.state_dict()  # said while it runs, it is about the next one
    one.close()
    two = made(data)
    two.load_state_dict(state)
    two.set_epoch(3)
    assert two.epoch == 3
    rest = keys_of(two)
    assert (len(rest), len({*before, *rest})) == (SAMPLES - len(before), SAMPLES)
    two.load_state_dict(state)
    two.set_epoch(4)
    assert len(keys_of(two)) == SAMPLES


def test_left_in_the_middle(data: Dataset) -> None:
    """After a break the state is that of the break, and the next iter() is the next epoch."""
    one = made(data)
    for step, _ in enumerate(one):
        if step == 4:
            break
    assert (one.state_dict()["epoch"], one.state_dict()["steps"]) == (0, 5)
    one.set_epoch(1)
    assert (one.state_dict()["epoch"], one.state_dict()["steps"]) == (1, 0)
    assert len(keys_of(one)) == SAMPLES


def test_in_a_checkpoint(data: Dataset) -> None:
    """JSON and torch.save hold a state, the latter readable without trust."""
    one = made(data)
    epoch = iter(one)
    taken(epoch, 3)
    file = io.BytesIO()
    torch.save({"loader": one.state_dict()}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["loader"] == one.state_dict() == through_json(one.state_dict())
    one.close()


@pytest.mark.parametrize(
    ("options", "named"), [({"seed": 5}, "seed: 4"), ({"shuffle": "block"}, "shuffle: full")]
)
def test_another_order_is_refused(data: Dataset, options: Any, named: str) -> None:
    """The rest of an epoch is not the rest in another order."""
    state = made(data).state_dict()
    with pytest.raises(UsageError, match=f"of another {named}") as caught:
        made(data, **options).load_state_dict(state)
    assert "seed" in caught.value.hint[0]
    assert "seed" in caught.value.hint[1]


def test_other_data_is_refused(data: Dataset, place: Path) -> None:
    """Nor with other exclusions or weights; and what is no state is named as that."""
    state = made(data).state_dict()
    with dataset(place, exclude=["k3"]) as less, pytest.raises(UsageError, match="of another dataset"):
        made(less).load_state_dict(state)
    with dataset([place], weights=[1.0]) as weighted, pytest.raises(UsageError, match="of another weights"):
        made(weighted).load_state_dict(state)
    one = made(data)
    with pytest.raises(UsageError, match=r"not the state of a g3m loader of format 1; it has: _num_yielded"):
        one.load_state_dict({"_num_yielded": 3})
    assert len(keys_of(one)) == SAMPLES


def test_other_pictures_are_no_obstacle(data: Dataset) -> None:
    """How pictures look and how batches are made may change in the middle of an epoch."""
    one = made(data, normalize=False)
    epoch = iter(one)
    before = taken(epoch, 9)
    two = made(data, image_size=16, decode="exact", workers=0, prefetch=5)
    two.load_state_dict(one.state_dict())
    one.close()
    assert len({*before, *keys_of(two)}) == SAMPLES


@pytest.mark.parametrize(
    "damage",
    [
        {"epoch": -1},
        {"epoch": "0"},
        {"steps": None},
        {"world": 0},
        {"batch_size": 0},
        {"last": "first"},
        {"good": 1.5},
        {"earlier": [{"world": 2}]},
        {"earlier": 3},
    ],
)
def test_a_damaged_state_is_refused(data: Dataset, damage: dict[str, Any]) -> None:
    """What no loader wrote is an error that says so, and the loader stays usable."""
    loader = made(data)
    state = loader.state_dict()
    with pytest.raises(UsageError, match="the state is damaged"):
        loader.load_state_dict(state | damage)
    loader.load_state_dict(state)
    assert keys_of(loader)
