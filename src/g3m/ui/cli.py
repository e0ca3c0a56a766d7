"""The commands: each parses, calls one function and prints. What they do is found in runners/run.py.

Results go to stdout; progress, messages and errors to stderr. Heavy modules are imported inside the
commands, so that `g3m --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from g3m import __version__
from g3m.core.errors import G3MError, Interrupted, NotVerified, RecipeError, Refused, storage_error
from g3m.core.recipe import choose_form, suggest
from g3m.ui.drop import drop
from g3m.ui.export import export
from g3m.ui.gather import LIST_SETTINGS, gather, gather_again, retry_flag, show_gathered
from g3m.ui.index import index
from g3m.ui.leave import run_and_leave
from g3m.ui.options import (
    Context,
    config_files,
    json_flag,
    load_settings,
    open_context,
    print_json,
    print_lines,
    quiet_flag,
    setting_flags,
)
from g3m.ui.pack import pack
from g3m.ui.proxy import proxy
from g3m.ui.search import search, sql
from g3m.ui.share import import_, share, write_list
from g3m.ui.stats import stats
from g3m.ui.streams import gave_up, keep_streams
from g3m.ui.view import view
from g3m.ui.watch import watched
from g3m.ui.words import Speaker, language, printable

if TYPE_CHECKING:
    from g3m.core.plan import Plan
    from g3m.core.receipt import Manifest

Command = TypeVar("Command", bound=Callable[..., Any])
EXAMPLES = """\b
Examples:
  g3m demo                           see the whole way on this machine, offline
  g3m plan g3m eval                  what it costs, before a byte moves
  g3m get coco_valid --root /data    fetch, verify, pack; run it again to continue
  g3m get coco --from /nas/coco      use what the lab already has
\b
Exit codes: 0 done, 1 error, 2 usage, 3 partial, 4 sign-in or terms, 5 network,
6 disk, 7 verification failed, 10 time is up, 130, 138 or 143 stopped by a
signal (after the last four: run it again)."""

PICTURES_HINT = (
    "the shards are whole: these pictures came so from the source; leave them out when you train",
    "分片完好：这些图片在数据源中就是如此；训练时请排除它们",
)
"""A picture that never decoded cannot be repaired, so `--repair` would be the wrong advice."""

names_argument = click.argument("names", nargs=-1, required=True, metavar="DATASET...")


class Group(click.Group):
    """Commands in the order of a user's way, with a suggestion for a mistyped one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the name is click's
        """In the order of definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; UsageError with the nearest name if there is none."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = suggest(args[0], list(self.commands))
            raise click.UsageError(f"no command is called {args[0]!r}{near}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Group, invoke_without_command=True, epilog=EXAMPLES, context_settings={"max_content_width": 100}
)
@click.version_option(__version__, prog_name="g3m", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Bring the G3M image-caption data to this machine: found, fetched, verified, packed for training."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """The entry point: runs a command and turns errors into messages and exit codes."""
    keep_streams()
    run_and_leave(_run)


def _run() -> int:
    try:
        code = cli.main(prog_name="g3m", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except G3MError as error:
        _show_error(error)
        return error.exit_code
    except OSError as error:  # of a file or folder that was only looked at, or of what is printed
        if not isinstance(error.filename, str) and not gave_up(error):
            raise
        told = storage_error(error, error.filename or "stdout")
        _show_error(told)
        return told.exit_code


def _show_error(error: G3MError) -> None:
    speaker = Speaker(language(_wanted_language(), os.environ))
    if "--json" in sys.argv:
        body = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint[0],
            "exit_code": error.exit_code,
        }
        print_json({"error": body})
    if not isinstance(error, Interrupted):
        click.echo(speaker.error(error), err=True)


def _wanted_language() -> str:
    """The language that was asked for, also if the command line or a config file is not right."""
    flag = next((arg.partition("=")[2] for arg in sys.argv if arg.startswith("--lang=")), "")
    if "--lang" in sys.argv[:-1]:
        flag = sys.argv[sys.argv.index("--lang") + 1]
    try:
        return load_settings({"lang": flag or None}).lang
    except (G3MError, OSError):
        return ""


@cli.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the demo's files in this folder.")
@setting_flags("lang")
def demo(keep: Path | None, **flags: Any) -> None:
    """Show the whole way on this machine, offline, in under a minute.

    A local origin serves drawn pictures in the real formats, cuts a connection and sends a wrong byte;
    the data is planned, fetched, verified, packed, searched, written as pages and read back.
    """
    from g3m.ui.demo import run_demo

    run_demo(keep, Speaker(language(flags["lang"] or "", os.environ)))


@cli.command("list")
@json_flag
@setting_flags("root", "lang")
def list_(json: bool, **flags: Any) -> None:
    """List datasets and groups, and what of them is here."""
    from g3m.ui import report

    context = open_context(flags, json=json)
    if json:
        groups = {name: list(members) for name, members in context.session.recipes.groups.items()}
        print_json({"datasets": report.list_rows(context.session), "groups": groups})
    else:
        print_lines(report.list_lines(context.session, context.speaker))


@cli.command()
@names_argument
@json_flag
@setting_flags("root", "form", "lang")
def info(names: tuple[str, ...], json: bool, **flags: Any) -> None:
    """Show all about datasets: assets, digests, licence, terms, citation."""
    from g3m.ui import report

    context = open_context(flags, json=json)
    recipes = choose_form(context.session.recipes.expand(names), context.session.settings.form)
    if json:
        print_json({"datasets": [report.info(recipe, context.session) for recipe in recipes]})
    else:
        for recipe in recipes:
            print_lines(report.info_lines(recipe, context.session, context.speaker))


@cli.command()
@names_argument
@click.option(
    "--format",
    "kind",
    type=click.Choice(["metalink", "aria2", "curl"]),
    help="Print what is to be fetched as a list for another program; `g3m import` takes the files in.",
)
@json_flag
@setting_flags(
    "form",
    "policy",
    "image_size",
    "resize",
    "only_if_bigger",
    "quality",
    "hash_mismatch",
    "min_side",
    "max_aspect",
)
@setting_flags("root", "parity", "stream", "offline", "lang", "proxy", "no_proxy", "route")
def plan(names: tuple[str, ...], kind: str | None, json: bool, **flags: Any) -> None:
    """Say what fetching would cost: files, bytes, disk, licences. Nothing is written."""
    context = open_context(flags, json=json)
    if kind is not None and json:
        raise click.UsageError("--format and --json exclude each other")
    made = _resolve(names, context, estimate=True)
    if kind is None:
        _show_plan(context, made)
    else:
        write_list(made, kind, context)


def _resolve(names: tuple[str, ...], context: Context, *, estimate: bool) -> Plan:
    from g3m.steps.resolve import resolve

    return resolve(names, context.session, estimate=estimate, note=context.tell)


def _show_plan(context: Context, made: Plan) -> None:
    from g3m.ui import report

    if context.json:
        print_json({"plan": made.to_dict()})
    elif not context.quiet:
        print_lines(report.plan_lines(made, context.session, context.speaker))


@cli.command()
@names_argument
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; the terms are shown all the same.")
@retry_flag
@json_flag
@quiet_flag
@setting_flags("policy", "image_size", "resize", "only_if_bigger", "quality")
@setting_flags("root", "source", "parity", "jobs", "stream", "keep_assets", "max_rejected", "offline", "lang")
@setting_flags("proxy", "no_proxy", "route", "peer", "trust_peers", "connections", "bwlimit", "max_time")
@setting_flags(*LIST_SETTINGS, "form", "runner", "address", "part", "catalog")
def get(  # one parameter for each option
    names: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    retry_failed: bool,
    json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Fetch, verify and pack datasets, groups (g3m, eval, all) or recipe files (./my.toml).

    Killed, disconnected or out of disk: run the same line again, and it continues. What is here is not
    fetched again. With --json every event is a line on stdout.
    """
    context = open_context(flags, json=json, quiet=quiet)
    if dry_run:
        _show_plan(context, _resolve(names, context, estimate=True))
        return
    from g3m.runners.run import get_in
    from g3m.steps.resolve import check_treatment, unprotected
    from g3m.ui.terms import agree

    recipes = choose_form(context.session.recipes.expand(names), context.session.settings.form)
    for note in (*context.session.ways.notes, *unprotected(recipes, context.session.settings)):
        context.tell(context.speaker.pick(note))
    check_treatment(recipes, context.session.settings)
    agree(recipes, context, ask=not yes)
    with watched(context) as watch:
        if retry_failed:
            summary = gather_again(names, context, watch.sinks)
        else:
            summary = get_in(names, context.session, watch.sinks)
    if not summary.finished:
        context.say("nothing-to-do")
    for name, body in summary.manifests.items():
        show_dataset(context, name, body)


def show_dataset(context: Context, name: str, body: Manifest) -> None:
    """A dataset that stands whole: where, how much, what is left out and what was found in it."""
    from g3m.core.gathering import READER
    from g3m.ui.figures import count_text, size_text
    from g3m.ui.report import findings_text

    folder = context.session.store.root / body.folder
    if body.form == READER:
        show_gathered(context, name, body, place=str(folder))
        return
    if context.json:
        row = {"dataset": name, "samples": body.samples, "shards": len(body.shards), "folder": str(folder)}
        print_json({**row, "rejected": body.rejected, "findings": body.findings})
        return
    size, samples = size_text(body.size_bytes), count_text(body.samples)
    context.say("done", name=name, samples=samples, shards=len(body.shards), size=size, folder=folder)
    if body.rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in body.rejected.items())
        context.say("left-out", reasons=reasons, path=folder / "rejected.jsonl")
    if findings := findings_text(body, context.speaker):
        context.say("findings", findings=findings, path=folder / "findings.jsonl")
    if treatment := body.treatment.words():
        context.say("treated", treatment=treatment)
    if body.expected_samples not in (None, body.samples):
        context.say("expected", expected=count_text(body.expected_samples), source=body.expected_source)


@cli.command()
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@click.option(
    "--structure", is_flag=True, help="Read every shard's structure; look at every picture and caption."
)
@click.option("--deep", is_flag=True, help="Also decode every picture.")
@click.option("--repair", is_flag=True, help="Make broken shards again, and only those.")
@json_flag
@quiet_flag
@setting_flags("root", "source", "parity", "jobs", "offline", "lang")
@setting_flags("proxy", "no_proxy", "route", "peer", "trust_peers", "connections", "bwlimit", "max_time")
@setting_flags("runner", "address")
def verify(
    names: tuple[str, ...], structure: bool, deep: bool, repair: bool, json: bool, quiet: bool, **flags: Any
) -> None:
    """Hash the shards and compare them with the manifest; exit 7 if something differs.

    Classes of pictures (grayscale, turned, ...) are counted; only those that no loader can use, and that were
    not known when the dataset was packed, make it exit 7, too.
    """
    from g3m.core.treatment import CLASSES
    from g3m.runners.run import verify_in
    from g3m.ui.verified import difference_lines, report_body, report_lines

    context = open_context(flags, json=json, quiet=quiet)
    with watched(context) as watch:
        report = verify_in(names, context.session, watch.sinks, structure=structure, deep=deep, repair=repair)
    if json:
        print_json(report_body(report))
    elif not quiet:
        print_lines(report_lines(report, context.speaker))
    if not report.manifests:
        context.say("verify-nothing", root=context.session.store.root)
    if not report.ok:
        pictures_only = all(finding.problem in CLASSES for finding in report.findings)
        lines = "\n".join(difference_lines(report, context.speaker))
        raise NotVerified(lines, hint=PICTURES_HINT if pictures_only else None)


@cli.command()
@json_flag
@click.option("--watch", is_flag=True, help="Follow the run at work until it ends; Ctrl-C does not stop it.")
@setting_flags("root", "lang")
def status(json: bool, watch: bool, **flags: Any) -> None:
    """Show what stands under the root and whether a run is at work; reads files only."""
    from g3m.ui import follow, state

    if json and watch:
        raise click.UsageError("--watch is for people; a program can follow .g3m/events.jsonl")
    context = open_context(flags, json=json)
    if watch:
        follow.watch(context)
    elif json:
        print_json(state.status(context.session))
    else:
        print_lines(state.status_lines(context.session, context.speaker))


@cli.command()
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@json_flag
@setting_flags("root", "proxy", "no_proxy", "allow_private", "offline", "lang")
def doctor(names: tuple[str, ...], json: bool, **flags: Any) -> None:
    """Say what this machine and its network can do: disk, tokens, proxies, and each host over each way.

    One file of every host that the datasets need (all of them by default) is asked for, a few seconds each;
    --offline leaves that out. The output holds no secret and is meant for a bug report, too.
    """
    from g3m.ui.doctor import doctor_lines, examine, look_at_network, open_for_doctor
    from g3m.ui.network import network, network_lines

    context, problems = open_for_doctor(flags, json=json)
    session = context.session
    facts = examine(session, [path for path, _ in config_files()], os.environ)
    if not json:
        print_lines(doctor_lines(facts, session, context.speaker))
    report = None if session.settings.offline else look_at_network(names, context, problems)
    if json:
        print_json({**facts, "network": None if report is None else network(report)})
    elif report is not None:
        print_lines(network_lines(report, context.speaker))


@cli.command()
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@setting_flags("root", "lang")
def cite(names: tuple[str, ...], **flags: Any) -> None:
    """Print BibTeX for datasets; by default for those under the root."""
    from g3m.steps.check import manifests

    context = open_context(flags)
    session = context.session
    here = tuple(dict.fromkeys(body.dataset for body in manifests(session, ()).values()))
    for name in here if not names else ():
        if name not in session.recipes.names:
            context.tell(context.speaker.say("no-recipe", name=name))
    wanted = names or tuple(name for name in here if name in session.recipes.names)
    shown: set[str] = set()
    for recipe in session.recipes.expand(wanted):
        if not recipe.citation:
            context.tell(context.speaker.say("no-citation", name=recipe.name))
        elif recipe.citation not in shown:
            shown.add(recipe.citation)
            click.echo(printable(recipe.citation))


@cli.group()
def recipe() -> None:
    """Look at recipes: what a dataset is, written as TOML."""


@recipe.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@setting_flags("lang")
def recipe_check(files: tuple[Path, ...], **flags: Any) -> None:
    """Explain what is wrong with recipe files, each problem with the key's path."""
    from g3m.adapters.recipes import read_recipe

    context = open_context(flags)
    problems = []
    for path in files:
        try:
            read_recipe(path)
            context.say("recipe-good", path=path)
        except RecipeError as error:
            problems.append(error.message)
    if problems:
        raise RecipeError(
            "\n".join(problems),
            hint=("docs/guides/recipes.md explains every key", "docs/guides/recipes.md 说明了每个键"),
        )


@recipe.command("show")
@click.argument("name")
@setting_flags("lang")
def recipe_show(name: str, **flags: Any) -> None:
    """Print the recipe of a dataset, to begin one of your own."""
    from g3m.adapters.plain import read_plain

    text = read_plain(open_context(flags).session.recipes.path(name)).decode("utf-8", "replace")
    click.echo(printable(text), nl=False)


cli.add_command(gather)
cli.add_command(proxy)
cli.add_command(share)
cli.add_command(import_)
cli.add_command(pack)
cli.add_command(index)
cli.add_command(export)
cli.add_command(search)
cli.add_command(sql)
cli.add_command(stats)
cli.add_command(drop)
cli.add_command(view)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(g3m completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise Refused(f"no completion for {shell}")
    click.echo(kind(cli, {}, "g3m", "_G3M_COMPLETE").source())
