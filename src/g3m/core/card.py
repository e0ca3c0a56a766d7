"""The page that stands beside a dataset's shards: what it is, how to cite it, and every count explained.

Pure text from a recipe and its manifest. Nothing here is counted anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from g3m.core.gathering import READER
from g3m.core.outcomes import REASONS as ROW_REASONS
from g3m.core.receipt import NOTES, Manifest
from g3m.core.recipe import Recipe
from g3m.core.samples import REASONS
from g3m.core.treatment import CLASSES, DECODED, FIXES

_TABLES = (
    "Each row of the lists has a line in the table beside its shard, `00000.parquet` or `00000.rows.jsonl`, "
    "with its URL, its reason and the sha256 of what came; `00000_stats.json` has the sums. A row that was "
    "tried again has a second line, in the table of a later shard, which counts; `row` is its number. "
    "`duplicates.txt` names samples whose pictures an earlier one has, too."
)


def card(recipe: Recipe, made: Manifest) -> str:
    """The README.md of a published dataset."""
    lines = [
        f"# {recipe.title}",
        "",
        f"{made.samples} samples in {len(made.shards)} shards, {made.size_bytes} bytes.",
        "",
        *([f"Homepage: {recipe.homepage}", ""] if recipe.homepage else []),
        f"Licence: {recipe.licence}",
        "",
        recipe.terms,
        "",
        "## Counts",
        "",
        *_counts(made),
        "",
        "## Left out",
        "",
        *_left_out(made),
        "",
        "## Found in what was packed",
        "",
        *_found(recipe, made),
        "",
        *(["## Cite", "", "```bibtex", recipe.citation, "```", ""] if recipe.citation else []),
    ]
    return "\n".join(lines)


def _counts(made: Manifest) -> Iterator[str]:
    """Packed, left out and overwritten make what was seen; and how that differs from what is stated."""
    expected, borrowed = made.expected_samples, made.notes.get("from_peer", 0)
    if expected is not None:
        yield f"The source states {expected}: {made.expected_source}."
        yield ""
    if borrowed:
        yield f"{borrowed} of the shards were packed on another machine and taken on its word."
        return
    yield f"- packed: {made.samples}"
    yield f"- left out: {made.left_out}"
    if "overwritten" in made.notes:
        yield f"- overwritten: {made.notes['overwritten']} ({NOTES['overwritten']})"
    yield f"- together, what was seen in the source: {made.seen}"
    for name in ("renamed_keys", "rewritten_shard"):
        if name in made.notes:
            yield f"- {name}: {made.notes[name]} ({NOTES[name]})"
    if expected is not None:
        yield ""
        yield _difference(expected, made)


def _difference(expected: int, made: Manifest) -> str:
    if expected == made.samples == made.seen:
        return "Packed is what the source states."
    if expected == made.seen:
        return "All that the source states was seen; what is not packed was left out or overwritten."
    more = made.seen - expected
    word = "more" if more > 0 else "fewer"
    why = "which of the two figures is wrong is not known here"
    return f"In the files of the source there are {abs(more)} samples {word} than it states; {why}."


def _left_out(made: Manifest) -> Iterator[str]:
    for reason, count in made.rejected.items():
        meaning = ROW_REASONS[reason].meaning if reason in ROW_REASONS else REASONS.get(reason, reason)
        yield f"- {reason}: {count} ({meaning})"
    strays = made.notes.get("stray_files", 0)
    if strays:
        yield f"- of all these, {strays} are {NOTES['stray_files']}"
    yield "" if made.rejected else "Nothing was left out."
    if made.form == READER:
        yield ""
        yield _TABLES
    elif made.rejected:
        yield "`rejected.jsonl` names each."


def _found(recipe: Recipe, made: Manifest) -> Iterator[str]:
    for name, counts in (made.findings or {}).items():
        done = ", ".join(f"{count} {word}" for word, count in counts.items())
        fix = f"; {FIXES[name]}" if "fixed" in counts and name in FIXES else ""
        yield f"- {name}: {done} ({CLASSES.get(name, name)}{fix})"
    if made.findings and made.form == READER:
        yield ""
        yield "The column `found` of the tables names each; a sample may have several."
    elif made.findings:
        yield ""
        yield "`findings.jsonl` names each; a sample may have several. Kept is what was not changed."
    else:
        yield "Nothing was found."
    yield ""
    words = made.treatment.words()
    yield f"Pictures were treated: {words}." if words else "Pictures have the bytes of the source."
    if recipe.samples.reader == "shards" and not made.notes.get("from_peer"):
        yield "The shards came ready and were adopted: only the first bytes of each picture were looked at."
    elif not made.treatment.decodes and made.treatment.resize is None:
        yield f"No picture was decoded to look for {', '.join(DECODED)}: `g3m verify --deep` does that."
    if made.treatment.action("duplicate_image") == "keep":
        yield "Equal pictures were not looked for (`--policy duplicate_image=reject` does)."
