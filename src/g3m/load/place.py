"""Where in which epoch a loader is, as a value and as a document that a checkpoint can hold.

A place counts batches that were handed out. It knows by how many ranks and in what batches, so that another
number of ranks can go on with exactly what is left (core/order.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from g3m.core.errors import UsageError
from g3m.core.order import Order, Share, Stretch

FORMAT = 1
_NAME = "g3m_loader"

_HINT_OTHER = (
    "use the same datasets, exclusions, weights, seed and shuffle as then, or begin without the state",
    "请使用与当时相同的数据集、排除列表、权重、seed 和 shuffle，或不加载该状态从头开始",
)
_HINT_AS_GIVEN = (
    "give load_state_dict() what state_dict() gave, by the same version of g3m",
    "请把 state_dict() 的返回值原样传给 load_state_dict()，并使用同一版本的 g3m",
)


@dataclass(frozen=True, slots=True)
class Place:
    """So many batches of an epoch are handed out; `earlier` were made by other shares before these."""

    epoch: int = 0
    steps: int = 0
    earlier: tuple[Stretch, ...] = ()

    def one_later(self) -> Place:
        """Behind one more batch."""
        return replace(self, steps=self.steps + 1)


def document(place: Place, good: int | None, order: Order, share: Share) -> dict[str, Any]:
    """A place as a dict for JSON. All but `good`, the last good sample handed out, is alike on all ranks."""
    return {
        _NAME: FORMAT,
        "epoch": place.epoch,
        **_written(Stretch(share.world, share.batch_size, share.last, place.steps)),
        "earlier": [_written(stretch) for stretch in place.earlier],
        "good": good,
        **_ordered(order),
    }


def place_of(state: dict[str, Any], order: Order, share: Share, fingerprint: str) -> tuple[Place, int | None]:
    """Where this share goes on, and the last good sample; UsageError if data or order are others."""
    if state.get(_NAME) != FORMAT:
        raise UsageError(
            f"not the state of a g3m loader of format {FORMAT}; it has: {', '.join(map(str, state))[:200]}",
            hint=_HINT_AS_GIVEN,
        )
    for name, value in {"dataset": fingerprint, **_ordered(order)}.items():
        if state.get(name) != value:
            raise UsageError(
                f"the state is of another {name}: {_short(state.get(name))}, here it is {_short(value)}",
                hint=_HINT_OTHER,
            )
    try:
        epoch, good = _whole(state["epoch"]), state["good"]
        done, earlier = _read(state), tuple(_read(stretch) for stretch in state["earlier"])
        good = None if good is None else _whole(good)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the state is damaged: {error!r}", hint=_HINT_AS_GIVEN) from None
    if (done.world, done.batch_size, done.last) == (share.world, share.batch_size, share.last):
        return Place(epoch, done.steps, earlier), good
    if done.steps:
        earlier = (*earlier, done)
    return Place(epoch, 0, earlier), good


def _ordered(order: Order) -> dict[str, Any]:
    return {
        "seed": order.seed,
        "shuffle": order.shuffle,
        "blocks": [order.block_samples, order.window_blocks],
        "weights": None if order.weights is None else list(order.weights),
    }


def _written(stretch: Stretch) -> dict[str, Any]:
    return {
        "world": stretch.world,
        "batch_size": stretch.batch_size,
        "last": stretch.last,
        "steps": stretch.steps,
    }


def _read(stretch: dict[str, Any]) -> Stretch:
    """Raises KeyError, TypeError or ValueError for what no loader wrote."""
    world, batch_size = _whole(stretch["world"]), _whole(stretch["batch_size"])
    share = Share(0, world, batch_size, stretch["last"])  # checks all three
    return Stretch(share.world, share.batch_size, share.last, _whole(stretch["steps"]))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of things")
    return value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
