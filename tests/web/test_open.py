"""`g3m view --open` with a real browser: from the file that it is given to the first page."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.web.conftest import Root, Visit, viewing, wait_for


def test_the_file_for_the_browser_leads_to_the_pages(bare_root: Root, tmp_path: Path, visit: Visit) -> None:
    """The cookie is there afterwards, and the token is gone from the address."""
    note, program = tmp_path / "note", tmp_path / "browser"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nopen({str(note)!r} + '.new', 'w').write(sys.argv[-1])\n"
        f"os.rename({str(note)!r} + '.new', {str(note)!r})\n",
        encoding="utf-8",
    )
    program.chmod(0o700)
    with viewing(bare_root, "--open", BROWSER=str(program), DISPLAY=":7", PATH=str(tmp_path)) as view:
        wait_for(note.exists, "the browser")
        visitor = visit(None)
        visitor.go(note.read_text(encoding="utf-8"))
        visitor.page.wait_for_url(f"{view.origin}/")
        assert visitor.page.locator(".dataset").count() > 5
        visitor.page.close()
        # Of its requests a visitor to files complains, because a copy makes none.
        visitor.complaints.clear()
