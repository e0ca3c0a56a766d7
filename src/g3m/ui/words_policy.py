"""What is said of findings in pictures and captions, and of what was done with them."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

POLICY: Mapping[str, Bilingual] = {
    "findings": ("  found: {findings} (see {path})", "  发现：{findings}（见 {path}）"),
    "finding-kept": ("{count} {name}", "{count} 个 {name}"),
    "finding-fixed": ("{count} {name} (fixed)", "{count} 个 {name}（已修复）"),
    "findings-comma": (", ", "，"),
    "treated": ("  treated: {treatment}", "  处理方式：{treatment}"),
}
