"""Lists a dataset repository of the Hugging Face Hub at one commit: names, sizes and digests.

Large files come with their sha256, small ones with git's blob hash, so every file can be verified. A
commit never changes, so a listing is asked for once and kept (steps/resolve.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from g3m.adapters.ports import Fetcher
from g3m.core.digest import Digest
from g3m.core.errors import Changed
from g3m.core.recipe import Asset, Listing
from g3m.core.resume import Wanted, decide
from g3m.core.secrets import mask

PAGE_LIMIT = 1000
LISTING_LIMIT_BYTES = 64 * 2**20
"""What all pages together may have: a hundred times what the largest datasets need."""

_SIZE_LIMIT_BYTES = 2**63
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


def list_repository(
    http: Fetcher, endpoint: str, way: str, listing: Listing, stopping: Callable[[], None]
) -> tuple[Asset, ...]:
    """The assets of a listing, by name, asked for over `way`; SourceError if the hub talks nonsense."""
    base = f"{endpoint.rstrip('/')}/api/datasets/{listing.repository}/tree/{listing.revision}"
    url = f"{base}?recursive=true"
    assets: list[Asset] = []
    left_bytes = LISTING_LIMIT_BYTES
    for _ in range(PAGE_LIMIT):
        stopping()
        with http.open(url, way=way) as response:
            decide(Wanted(label=f"listing of {listing.repository}"), response.answer)
            body = response.read(left_bytes)
            left_bytes -= len(body)
            following = _NEXT.search(response.answer.headers.get("link", ""))
        assets += [_asset(item, listing) for item in _items(body, url) if _wanted(item, listing)]
        if following is None:
            return _sorted(assets, listing)
        # Only the query is taken over: the answer cannot move us, or our token, to another host.
        url = f"{base}?{following[1].partition('?')[2].partition('#')[0]}"
    raise Changed(f"{mask(base)}: the listing has more than {PAGE_LIMIT} pages")


def _sorted(assets: list[Asset], listing: Listing) -> tuple[Asset, ...]:
    names = {asset.name for asset in assets}
    if len(names) != len(assets):
        raise Changed(f"listing of {listing.repository}: a name stands there twice")
    return tuple(sorted(assets, key=lambda asset: asset.name))


def _items(body: bytes, url: str) -> list[Any]:
    try:
        items = json.loads(body)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list):
        raise Changed(f"{mask(url)}: the answer is not a listing")
    return items


def _wanted(item: Any, listing: Listing) -> bool:
    is_file = isinstance(item, dict) and item.get("type") == "file"
    return is_file and isinstance(item.get("path"), str) and listing.takes(item["path"])


def _asset(item: dict[str, Any], listing: Listing) -> Asset:
    path = item["path"]
    large = item.get("lfs")
    try:
        if isinstance(large, dict):
            digest, size = Digest.parse(f"sha256:{large['oid']}"), large["size"]
        else:
            digest, size = Digest.parse(f"git-sha1:{item['oid']}"), item["size"]
        if type(size) is not int or not 0 <= size < _SIZE_LIMIT_BYTES or not _NAME.fullmatch(path):
            raise ValueError("size or path")
    except (KeyError, ValueError) as error:
        raise Changed(
            f"listing of {listing.repository}: the entry {path!r} cannot be used ({error})"
        ) from None
    place = f"hub://{listing.repository}@{listing.revision}/{path}"
    return Asset(name=path, places=(place,), size_bytes=size, digests=(digest,))
