"""All addresses together: pages, pictures, what is live, and the files that a browser needs for them."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from g3m.core.secrets import Secret
from g3m.ui.web.collection import Collection
from g3m.ui.web.facts import NotHere
from g3m.ui.web.gate import App, Gate
from g3m.ui.web.links import STATIC, Links, digest_of
from g3m.ui.web.live import Live
from g3m.ui.web.pages import Pages
from g3m.ui.web.pictures import Pictures

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
_NAMES = frozenset(path.name for path in STATIC.iterdir())


def make_app(
    collection: Collection,
    *,
    pictures: Pictures,
    live: Live | None = None,
    links_for: Callable[[Request], Links] | None = None,
    lang: str = "",
) -> Starlette:
    """The app without its gate."""
    pages = Pages(collection, live, links_for, lang)
    routes = [*pages.routes(), *pictures.routes(), Route("/static/{name}", static, methods=["GET"])]
    if live is not None:
        routes += live.routes(pages.live_part)
    return Starlette(routes=routes, exception_handlers=pages.exception_handlers())


def gated(app: Starlette, token: Secret | None) -> App:
    """The app behind its gate."""
    return Gate(app, token)


def static(request: Request) -> Response:
    """A file of `static/`; another content has another address, so it may be kept for good."""
    name = request.path_params["name"]
    if name not in _NAMES:
        raise NotHere(name)
    path = STATIC / name
    is_same = request.query_params.get("v") == digest_of(name)
    head = {"Cache-Control": "public, max-age=31536000, immutable" if is_same else "no-cache"}
    return Response(path.read_bytes(), media_type=_KINDS[path.suffix], headers=head)
