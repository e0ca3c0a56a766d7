"""Lets torchvision be imported beside a torch without CUDA: its wheel's operators cannot be loaded there.

It looks for them when it is imported; they are declared here, and nobody calls them.
"""

from __future__ import annotations

from contextlib import suppress

from torch import library

NAMES = (
    "nms", "qnms", "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
    "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
)  # fmt: skip

_declared = library.Library("torchvision", "FRAGMENT")
"""Held, because the operators go with it."""


def declare() -> None:
    """To be called before torchvision is imported; again, it does nothing."""
    for name in NAMES:
        with suppress(RuntimeError):  # it is there
            _declared.define(f"{name}(Tensor x) -> Tensor")
