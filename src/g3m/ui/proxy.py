"""`g3m proxy`: look at the proxy core of this machine, test its nodes, and choose one if asked to.

What the commands do is found in steps/nodes.py, what they look like in ui/proxy_views.py. No command edits a
core's configuration, starts or stops it, or reads a subscription.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from g3m.core.errors import UsageError
from g3m.ui.options import (
    Context,
    json_flag,
    load_settings,
    open_context,
    print_json,
    print_lines,
    setting_flags,
)
from g3m.ui.words import Speaker, language, printable

if TYPE_CHECKING:
    from g3m.steps.choices import Choices

Command = TypeVar("Command", bound=Callable[..., Any])
DATASET = "coco_valid"
SHELLS = ("bash", "zsh", "fish")
NEEDS_YES = (
    "say --yes, or run it on a terminal, where g3m can ask",
    "请加上 --yes，或在终端中运行以便 g3m 询问",
)

yes_flag = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
group_flag = click.option("--group", default="", metavar="GROUP", help="The group in which to choose.")


def core_flags(command: Command) -> Command:
    """The flags that say which core."""
    words = "Where the core's controller is: 127.0.0.1:PORT or unix:/path/to.sock. [CLASH_API]"
    command = click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The core's config, of which only the secret is read. [G3M_CLASH_SECRET]",
    )(command)
    return click.option("--controller", default="", metavar="ADDRESS", help=words)(command)


def target_flags(command: Command) -> Command:
    """The flags that say which file to measure with."""
    command = click.option("--url", default="", metavar="URL", help="Measure with this file.")(command)
    words = "Measure with the first file of this dataset."
    return click.option("--dataset", default=DATASET, show_default=True, metavar="DATASET", help=words)(
        command
    )


@click.group()
def proxy() -> None:
    """Look at the proxy core here (Clash, mihomo, sing-box), test its nodes, choose one.

    g3m brings no proxy and no node, reads no subscription, and edits no core's configuration.
    """


@proxy.command()
@core_flags
@target_flags
@json_flag
@setting_flags("proxy", "offline", "lang")
def status(controller: str, config: Path | None, json: bool, **flags: Any) -> None:
    """Show core, mode, ports, what stands open, and which rule and node a dataset's host really gets.

    For the last one byte of a dataset's file is fetched through the proxy; not with --offline.
    """
    from g3m.adapters.sampling import ONE_BYTE
    from g3m.steps import nodes
    from g3m.ui import proxy_views

    dataset, url = flags.pop("dataset"), flags.pop("url")
    context = open_context(flags, json=json)
    session = context.session
    found = nodes.look_around(session, nodes.Wish(controller, config))
    traced = None
    if found.proxy and not session.settings.offline:
        traced = nodes.trace(found, nodes.target_of(session, dataset, url), ONE_BYTE, session)
    if json:
        print_json(proxy_views.status(found, traced))
    else:
        print_lines(proxy_views.status_lines(found, traced, context.speaker))


@proxy.command("nodes")
@click.argument("group", default="", metavar="[GROUP]")
@core_flags
@json_flag
@setting_flags("lang")
def nodes_(group: str, controller: str, config: Path | None, json: bool, **flags: Any) -> None:
    """List groups and their nodes with the last delay; * marks the chosen one."""
    from g3m.core.cores import groups_to_show
    from g3m.steps import nodes
    from g3m.ui import proxy_views

    context = open_context(flags, json=json)
    found = nodes.look_around(context.session, nodes.Wish(controller, config))
    known = found.need_core().nodes()
    groups = groups_to_show(known, group, found.state.mode)
    if json:
        print_json(proxy_views.nodes(known, groups))
    else:
        print_lines(proxy_views.node_lines(known, groups, context.speaker))


@proxy.command()
@click.argument("names", nargs=-1, metavar="[NODE...]")
@core_flags
@group_flag
@target_flags
@click.option(
    "--nodes",
    "count",
    default=3,
    show_default=True,
    type=click.IntRange(0, 50),
    metavar="N",
    help="So many others, the fastest to answer.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1, 30),
    metavar="SECONDS",
    help="For each test of the delay.",
)
@yes_flag
@json_flag
@setting_flags("proxy", "lang")
def test(yes: bool, json: bool, lang: str | None, proxy: tuple[str, ...], **question: Any) -> None:
    """Measure nodes by fetching a dataset's own file for two seconds, not only by the core's delay test.

    All nodes get a delay test to that host, and the chosen node is measured. To measure others each must
    be chosen for a moment, for which you are asked; the former choice is put back, also after Ctrl-C.
    """
    from g3m.steps.nodes import Wish
    from g3m.ui.proxy_trial import Question, run_trial

    wish = Wish(question.pop("controller"), question.pop("config"))
    context = open_context({"lang": lang, "proxy": proxy}, json=json)
    run_trial(
        Question(wish=wish, **question), context, _choices(), lambda words: _agreed(context, words, yes)
    )


@proxy.command()
@click.argument("node")
@core_flags
@group_flag
@target_flags
@yes_flag
@json_flag
@setting_flags("proxy", "lang")
def use(node: str, yes: bool, json: bool, **flags: Any) -> None:
    """Let a group use another node, read it back, and remember the former one.

    Without --group it is the group that a dataset's host goes through, found with one byte of its file.
    """
    from g3m.adapters.sampling import ONE_BYTE
    from g3m.core.cores import group_for
    from g3m.steps import nodes

    named, wish = flags.pop("group"), nodes.Wish(flags.pop("controller"), flags.pop("config"))
    dataset, url = flags.pop("dataset"), flags.pop("url")
    context = open_context(flags, json=json)
    found = nodes.look_around(context.session, wish)
    core = found.need_core()
    known = core.nodes()
    chain: tuple[str, ...] = ()
    if not named and node in known and found.proxy:
        target = nodes.target_of(context.session, dataset, url)
        link = nodes.trace(found, target, ONE_BYTE, context.session).link
        chain = link.chain if link else ()
    group = group_for(known, chain, member=node, named=named)
    former = known[group].now
    if former == node:
        context.say("proxy-uses-already", group=group, node=node)
    else:
        question = context.speaker.say("proxy-may-use", group=group, former=former, node=node)
        if not yes and not _can_ask(context):
            raise UsageError("choosing a node concerns every program that uses the group", hint=NEEDS_YES)
        if not _agreed(context, question, yes):
            context.tell(context.speaker.say("proxy-declined"))
            return
        _choices().change(core, group, node)
        context.say("proxy-uses", group=group, node=node, former=former)
        context.say("proxy-open-stay")
    if json:
        print_json({"group": group, "node": node, "former": former})


@proxy.command()
@core_flags
@group_flag
@yes_flag
@json_flag
@setting_flags("lang")
def restore(controller: str, config: Path | None, group: str, yes: bool, json: bool, **flags: Any) -> None:
    """Put back what groups had chosen before `g3m proxy use`, or before a test that was killed."""
    from g3m.steps import nodes

    context = open_context(flags, json=json)
    core = nodes.look_around(context.session, nodes.Wish(controller, config)).need_core()
    choices, done = _choices(), []
    known = core.nodes()
    for choice in choices.of(str(core.controller)):
        if group not in ("", choice.group):
            continue
        now = known[choice.group].now if choice.group in known else ""
        words = context.speaker.say("proxy-may-restore", group=choice.group, now=now, former=choice.former)
        if now not in (choice.chosen, choice.former) and not _agreed(context, words, yes):
            continue
        if now != choice.former:
            core.choose(choice.group, choice.former)
        choices.forget(choice)
        done.append({"group": choice.group, "node": choice.former})
        context.say("proxy-put-back", group=choice.group, former=choice.former)
    if json:
        print_json({"restored": done})
    elif not done:
        context.say("proxy-nothing-to-restore")


@proxy.command()
@click.option("--shell", type=click.Choice(SHELLS), default=None, help="Whose syntax.  [default: yours]")
@click.option("--off", is_flag=True, help="Unset the variables.")
@core_flags
@setting_flags("proxy", "lang")
def env(shell: str | None, off: bool, controller: str, config: Path | None, **flags: Any) -> None:
    """Print lines that set the proxy variables: eval "$(g3m proxy env)", or | source for fish.

    The proxy is the core's, or one that listens at a usual port and is not another user's.
    """
    from g3m.adapters.session import open_session
    from g3m.steps import nodes
    from g3m.ui.shell_lines import all_names, set_lines, unset_lines, without_login

    mine = Path(os.environ.get("SHELL", "")).name
    shell = shell or (mine if mine in SHELLS else "bash")
    if off:
        click.echo("\n".join(unset_lines(shell)))
        return
    settings = load_settings(flags)
    # What the proxy variables say now may be wrong: these lines are how it is put right.
    variables = {name: value for name, value in os.environ.items() if name not in all_names()}
    found = nodes.look_around(open_session(settings, variables=variables), nodes.Wish(controller, config))
    address = without_login(found.need_proxy())
    if address != found.proxy or any(item.wants_login for item in found.listeners if item.url == address):
        speaker = Speaker(language(settings.lang, os.environ))
        click.echo(speaker.say("proxy-env-login"), err=True)
    click.echo("\n".join(set_lines(shell, address, os.environ)))


def _agreed(context: Context, question: str, yes: bool) -> bool:
    """Whether the user consents: by --yes, or on a terminal by answering; elsewhere that is a no."""
    if yes or not _can_ask(context):
        return yes
    return click.confirm(printable(question), default=False, err=True)


def _can_ask(context: Context) -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and not context.json


def _choices() -> Choices:
    import platformdirs

    from g3m.steps.choices import Choices

    return Choices(Path(platformdirs.user_state_dir("g3m")) / "proxy.json")
