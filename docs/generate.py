"""Writes the pages that are made from tables in the code, so that they cannot fall behind.

python docs/generate.py            rewrite docs/reference/settings.md, docs/reference/errors.md and the
                                   tables in docs/datasets.md and docs/guides/policy.md
python docs/generate.py --check    change nothing; exit 1 if a page is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from g3m.core.errors import G3MError, all_errors
from g3m.core.receipt import NOTES
from g3m.core.samples import REASONS
from g3m.core.settings import OPTIONS, Option
from g3m.core.treatment import CLASSES, DECODED, DEFAULTS, FIXES, NEVER_KEPT

DOCS = Path(__file__).resolve().parent

SETTINGS_HEAD = """\
# Settings

Made from `g3m.core.settings.OPTIONS` by `docs/generate.py`; do not edit.

A flag wins over a variable, that over `./g3m.toml` in the working folder, that over
`~/.config/g3m/config.toml`, that over the default. An empty variable counts as absent. `g3m doctor` shows
what was set, and where. The Python functions take the same names as keywords and read no config file.
"""

SETTINGS_TAIL = """\
One more key, `mirrors`, is a list of tables with exactly the keys `prefix` and `places`. An address that
begins with `prefix` is asked for at each of `places` in order; the longest prefix that fits decides. Put
the prefix itself among the places to keep the origin.

```toml
[[mirrors]]
prefix = "https://s3.amazonaws.com/images.cocodataset.org/"
places = ["https://mirror.example.org/coco/", "https://s3.amazonaws.com/images.cocodataset.org/"]
```

`G3M_CACHE` and `G3M_CACHE_LIMIT` are for reading [shards behind an address](../guides/remote.md): the folder
of the cache and how much may lie in it. They belong to `g3m.dataset`, so they are no options of a command.

Read as well: the variables of [proxies](../guides/proxies.md) and [tokens](../guides/tokens.md),
`SSL_CERT_FILE` or `CURL_CA_BUNDLE` for certificates, and `LC_ALL`, `LC_MESSAGES`, `LANG` for the language.
"""

ERRORS_HEAD = """\
# Errors

Made from `g3m.core.errors` by `docs/generate.py`; do not edit.

A message has three parts: a code with a title, what happened and where, and what to try. Codes are the same
in every language. "Retry" is what another attempt may hope for. See also [exit codes](exit-codes.md).
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def settings_page() -> str:
    """The page of all options."""
    head = ("key in the config file", "flag", "variable", "default", "meaning")
    return f"{SETTINGS_HEAD}\n{table(head, map(_option_row, OPTIONS))}\n{SETTINGS_TAIL}"


def _option_row(option: Option) -> tuple[str, ...]:
    code = [f"`{text}`" if text else "" for text in (option.name, option.flag, option.variable)]
    default = ", ".join(option.default) if isinstance(option.default, tuple) else str(option.default)
    default = default.lower() if isinstance(option.default, bool) else default
    choices = [choice for choice in option.choices if choice]
    words = f" One of {', '.join(choices)}." if choices else ""
    return (*code, f"`{default}`" if default else "", option.help + words)


def errors_page() -> str:
    """The page of all errors, by code."""
    head = ("code", "exit", "class", "retry", "title", "标题", "what to try")
    return f"{ERRORS_HEAD}\n{table(head, sorted(_error_rows()))}"


def _error_rows() -> Iterator[tuple[str, ...]]:
    for kind in all_errors():
        parent = kind.__base__.__name__ if kind.__base__ and kind is not G3MError else ""
        name = f"{kind.__name__} ({parent})" if parent not in ("", "G3MError") else kind.__name__
        yield kind.code, str(kind.exit_code), name, kind.advice.value, *kind.title, kind.default_hint[0]


def with_table(page: str, name: str, made: str) -> str:
    """The page with the table between its marks as the code has it."""
    begin, end = f"<!-- {name}: begin (docs/generate.py) -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{made}\n{end}{after}"


def datasets_page(page: str) -> str:
    """docs/datasets.md with the tables of reasons and notes."""
    for name, head, rows in (("reasons", "reason", REASONS), ("notes", "note", NOTES)):
        made = table((head, "meaning"), ((f"`{word}`", words) for word, words in rows.items()))
        page = with_table(page, name, made)
    return page


def policy_page(page: str) -> str:
    """docs/guides/policy.md with the table of classes."""
    head = ("class", "meaning", "default", "also", "what `fix` does")
    return with_table(page, "classes", table(head, map(_class_row, CLASSES)))


def _class_row(name: str) -> tuple[str, ...]:
    default = DEFAULTS.get(name, "keep")
    possible = ["reject", *(["fix"] if name in FIXES else []), *([] if name in NEVER_KEPT else ["keep"])]
    also = ", ".join(f"`{action}`" for action in possible if action != default)
    meaning = CLASSES[name] + (" (shows only in decoding)" if name in DECODED and name != "broken" else "")
    return f"`{name}`", meaning, f"`{default}`", also, FIXES.get(name, "")


def main() -> int:
    """Write the pages, or with --check say which are stale."""
    datasets, policy = DOCS / "datasets.md", DOCS / "guides" / "policy.md"
    pages = {
        DOCS / "reference" / "settings.md": settings_page(),
        DOCS / "reference" / "errors.md": errors_page(),
        datasets: datasets_page(datasets.read_text(encoding="utf-8")),
        policy: policy_page(policy.read_text(encoding="utf-8")),
    }
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text("utf-8") != text]
    check = "--check" in sys.argv[1:]
    for path in stale:
        if not check:
            path.write_text(pages[path], encoding="utf-8")
        words = "is stale: run `python docs/generate.py`" if check else "written"
        sys.stderr.write(f"{path.relative_to(DOCS.parent)} {words}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
