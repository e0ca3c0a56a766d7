"""The sentences of `g3m export`; see ui/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

EXPORT: Mapping[str, Bilingual] = {
    "export-written": ("written: {path}", "已写入：{path}"),
    "export-kept": ("right already: {path}", "已是最新：{path}"),
    "export-more": (" and {count} more", " 等另外 {count} 个"),
}
