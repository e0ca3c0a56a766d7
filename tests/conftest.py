"""What all tests share: Hypothesis without a clock, because CI machines are slow at times."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("g3m", deadline=None)
settings.load_profile("g3m")
