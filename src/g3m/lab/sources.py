"""Every drawn source by name: each writes its publisher's formats, oddities included, to a folder.

Orders that differ, pax headers, gaps in keys, trailing blanks and missing files are there on
purpose. The same arguments give byte-identical files, so that their digests can be pinned.
"""

from __future__ import annotations

from g3m.lab.cc3m import Cc3m, cc3m
from g3m.lab.coco import Coco, coco
from g3m.lab.open_images import OpenImages, open_images
from g3m.lab.sbu import sbu, surviving_pairs

__all__ = ["Cc3m", "Coco", "OpenImages", "cc3m", "coco", "open_images", "sbu", "surviving_pairs"]
