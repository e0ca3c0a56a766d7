"""Lets packages import torchvision beside a torch without CUDA: its wheel's operators cannot be loaded there.

Two of its operators are named at import; they are declared, and nobody here calls them. Import this first.
"""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("torchvision", "DEF")
_BOXES = "Tensor dets, Tensor scores, float iou_threshold"
_LIBRARY.define(f"nms({_BOXES}) -> Tensor")
_LIBRARY.define(f"qnms({_BOXES}) -> Tensor")
