"""torchvision's downloader, in its own environment: URL FOLDER NAME [MD5]."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from torchvision_operators import declare

    declare()
    from torchvision.datasets.utils import download_url

    url, folder, name, *md5 = sys.argv[1:]
    download_url(url, folder, name, md5[0] if md5 else None)
