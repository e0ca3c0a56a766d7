"""`g3m view --open`: the reader's browser, where there is one to open.

The address has a token, and a command line can be read by every user of the machine. So the browser is given
a file that only its owner can read, and which leads on to the address.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from g3m.core.tunnel import is_remote, is_without_display
from g3m.ui.options import Context

if TYPE_CHECKING:
    from g3m.ui.web.server import Served


class Browser:
    """A context manager: what a browser was given is taken away at its end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._folder: Path | None = None

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, served: Served) -> None:
        """Open the pages, without waiting for it, or say why not."""
        reason = _hindrance(served)
        if reason:
            self._say(reason)
            return
        self._folder = Path(mkdtemp(prefix="g3m-view-"))
        page = self._folder / "open.html"
        page.touch(mode=0o600)
        address = escape(served.address)
        head = '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        way_on = f'<meta http-equiv="refresh" content="0;url={address}">'
        page.write_text(f'{head}{way_on}<title>g3m</title><a href="{address}">g3m</a>\n', encoding="utf-8")
        # Some wait until the browser is closed.
        threading.Thread(target=self._start, args=(page.as_uri(),), daemon=True).start()

    def _start(self, address: str) -> None:
        import webbrowser

        try:
            if webbrowser.open(address):
                return
        except (webbrowser.Error, OSError):
            pass
        self._say("view-not-opened-browser")

    def _say(self, reason: str) -> None:
        self._context.tell(self._context.speaker.say(reason))


def _hindrance(served: Served) -> str:
    """Why there is no browser to open; empty if there may be one."""
    if served.path is not None:
        return "view-not-opened-socket"
    if is_remote(os.environ):
        return "view-not-opened-remote"
    return "view-not-opened-display" if is_without_display(os.environ, sys.platform) else ""
