"""No request leaves the machine: told by the browser's own record of its network. Nothing else may hold a browser here."""

from __future__ import annotations

import json
from pathlib import Path

from tests.web.conftest import View, chromium
from tests.web.test_every_page import PAGES


def test_nothing_leaves_the_machine(view: View, tmp_path: Path) -> None:
    """The browser's own record of its network has no name looked up, and no connection but to this server."""
    log = tmp_path / "net.json"
    with chromium(f"--log-net-log={log}") as browser:
        page = browser.new_page()
        page.goto(view.address)
        for address in PAGES.values():
            page.goto(view.origin + address)
        page.wait_for_load_state("load")
    told = json.loads(log.read_text(encoding="utf-8"))
    kinds = {number: name for name, number in told["constants"]["logEventTypes"].items()}
    seen = [(kinds[one["type"]], one.get("params", {})) for one in told["events"]]
    connected = {
        more["address"] for kind, more in seen if kind == "TCP_CONNECT_ATTEMPT" and "address" in more
    }
    assert connected == {view.origin.removeprefix("http://")}
    # Chromium has errands of its own (updates, accounts), which its resolver rules stop; a page's have an initiator.
    asked = [
        more["url"]
        for kind, more in seen
        if kind == "URL_REQUEST_START_JOB" and more.get("initiator") == view.origin
    ]
    assert len(asked) > len(PAGES)
    assert [url for url in asked if not url.startswith(view.origin + "/")] == []
    assert not [kind for kind, _ in seen if kind.startswith("DNS_TRANSACTION")]
