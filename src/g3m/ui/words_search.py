"""What `g3m search` and `g3m sql` say."""

from __future__ import annotations

from collections.abc import Mapping

from g3m.core.errors import Bilingual

SEARCH: Mapping[str, Bilingual] = {
    "search-none": (
        "No caption has that, among {samples} samples of {datasets}.",
        "在 {datasets} 的 {samples} 个样本中，没有说明文字与之匹配。",
    ),
    "search-all": ("{count} found.", "共找到 {count} 个。"),
    "search-more": (
        "{shown} of {count} found; --limit shows more, --keys lists all.",
        "找到 {count} 个，显示前 {shown} 个；--limit 可显示更多，--keys 列出全部。",
    ),
    "search-many": (
        "{shown} of more than {count} found; --limit shows more, --keys lists all.",
        "找到超过 {count} 个，显示前 {shown} 个；--limit 可显示更多，--keys 列出全部。",
    ),
    "sql-rows": ("Rows: {count}", "{count} 行"),
    "sql-cut": (
        "The first {count} rows; --limit shows more.",
        "仅显示前 {count} 行；--limit 可显示更多。",
    ),
}
