"""Randomness without a generator: a hash of numbers, and a range in an order computed place by place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt

_ROUNDS, _SMALL_ROUNDS, _SMALL = 8, 16, 4096
"""A small range needs more rounds until each of its orders is as likely as another (the tests count them)."""

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_ONE, _TWO = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""The increment and the multipliers of SplitMix64 (Steele, Lea, Flood: Fast splittable generators, 2014)."""


def mix(*numbers: int) -> int:
    """64 bits that look random and depend on every one of the numbers and on their order.

    >>> mix(0, 1) != mix(1, 0)
    True
    """
    state = len(numbers)
    for number in numbers:
        state = (state + _GOLDEN + (number & _MASK)) & _MASK
        state = (state ^ (state >> 30)) * _ONE & _MASK
        state = (state ^ (state >> 27)) * _TWO & _MASK
        state ^= state >> 31
    return state


@dataclass(frozen=True, slots=True)
class Permutation:
    """A random-looking order of `range(size)`, computed place by place: a Feistel network on pairs.

    The numbers are seen as pairs of range(a) x range(b), with a * b as little above size as may be; what
    falls beyond size goes round again (Black and Rogaway: Ciphers with arbitrary finite domains, 2002).
    """

    size: int
    key: int

    def take(self, places: Iterable[int]) -> list[int]:
        """What stands at these places, each from 0 to size - 1."""
        size = self.size
        a = isqrt(max(size - 1, 0)) + 1
        b = -(-size // a)
        rounds = _SMALL_ROUNDS if size < _SMALL else _ROUNDS
        keys = [(mix(self.key, number), a if number % 2 == 0 else b) for number in range(rounds)]
        found = []
        for place in places:
            value = place
            while True:
                left, right = divmod(value, b)
                for key, modulus in keys:
                    # One side moves by a hash of the other, then they change names: after an even number of
                    # rounds each is itself again.
                    bits = ((right ^ key) * _ONE) & _MASK
                    bits = ((bits ^ (bits >> 32)) * _TWO) & _MASK
                    left, right = right, (left + (bits >> 32)) % modulus
                value = left * b + right
                if value < size:
                    break
            found.append(value)
        return found
