"""The verbs of ./lab."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from lablib import __version__
from lablib.cli_check import check
from lablib.cli_compare import compare
from lablib.cli_present import present
from lablib.cli_release import release
from lablib.cli_site import site
from lablib.cli_trace import json_option, print_json, replay, trace
from lablib.errors import LabError
from lablib.language import LOCALES, reader_locale, term

CHECKOUT = Path(__file__).resolve().parents[1]


class _OrderedGroup(click.Group):
    """Lists the verbs in the order in which a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_OrderedGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The Memory Leak Lab. Without a verb: open the workbook in JupyterLab.\n\n"
    "--no-system, anywhere: install nothing outside the checkout. --bundle FILE: set up without a "
    "network, from what ./lab bundle has made.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="JupyterLab's port (default: a free one)"
)
@click.option(
    "--lang",
    type=click.Choice(list(LOCALES)),
    envvar="LAB_LANG",
    default="en",
    show_default=True,
    help="The language of the workbook, also by LAB_LANG in the environment.",
)
@click.pass_context
def verbs(context: click.Context, port: int | None, lang: str) -> None:
    """Open the workbook when no verb is given."""
    os.environ["LAB_LANG"] = lang  # for the kernels, too
    if context.invoked_subcommand is None:
        from lablib.jupyter.workbook import open_workbook

        sys.exit(open_workbook(CHECKOUT, port, reader_locale()))


@verbs.command()
@click.option(
    "--docker", "wanted", flag_value="docker", help="Run the programs in Docker, or fail."
)
@click.option("--local", "wanted", flag_value="local", help="Run the programs as local processes.")
@click.option(
    "--seconds",
    type=click.FloatRange(3, 60),
    default=6.0,
    show_default=True,
    help="How long to watch each program.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, 200),
    default=100.0,
    show_default=True,
    help="Fibonacci terms a second; each leaks 8,192 bytes.",
)
@json_option
def demo(wanted: str | None, seconds: float, rate: float, as_json: bool) -> None:
    """Run the case study on this machine's kernel."""
    from lablib.demo import describe_demo, run_demo
    from lablib.report import make_console

    result = run_demo(make_console(as_json), wanted, seconds, rate)
    if as_json:
        print_json(describe_demo(result))
    sys.exit(0 if result.fix.kind == "fixed" and result.leak.verdict.kind == "leaking" else 1)


@verbs.command()
@json_option
def doctor(as_json: bool) -> None:
    """Try what this machine can do, and say how to mend what it can't."""
    from lablib.doctor import examine, render_capabilities
    from lablib.privilege import ask_for_root
    from lablib.report import make_console

    console = make_console(as_json)
    ask_for_root("the trials that need root")
    with console.status("") as status:
        found = examine(lambda name: status.update(f"trying: {name} ..."))
    if as_json:
        print_json([dataclasses.asdict(capability) for capability in found])
    else:
        console.print(render_capabilities(found))
    sys.exit(0 if all(capability.works for capability in found) else 1)


verbs.add_command(trace)
verbs.add_command(replay)
verbs.add_command(compare)
verbs.add_command(check)
verbs.add_command(release)
verbs.add_command(site)
verbs.add_command(present)


@verbs.command()
@click.argument("action", type=click.Choice(["start", "stop", "status", "unit"]))
def tracer(action: str) -> None:
    """Start, stop or look at the tracer service; or print a systemd unit that runs it."""
    from lablib.privilege import ask_for_root
    from lablib.tracing import client, control, protocol

    if action == "start":
        ask_for_root("the tracer service")
        status = control.start_service()
        click.echo(f"the tracer service runs (process {status['pid']})")
    elif action == "stop":
        client.stop_service()
        click.echo("the tracer service has stopped")
    elif action == "unit":
        click.echo(control.describe_unit(), nl=False)
    else:
        status = client.read_status()
        is_ours = status["fingerprint"] == protocol.service_fingerprint()
        click.echo(
            f"the tracer service runs: process {status['pid']}, kernel {status['kernel']}, "
            f"version {status['fingerprint']}{'' if is_ours else ' (another than this checkout)'}, "
            f"log {protocol.socket_path().with_suffix('.log')}"
        )


@verbs.command()
def clean() -> None:
    """Stop and remove all that the lab has running on this machine."""
    from lablib.cleanup import clean_up
    from lablib.engine import own_engine_dir
    from lablib.privilege import ask_for_root

    if own_engine_dir().exists():
        ask_for_root("stopping the lab's Docker engine")
    removed = clean_up()
    for line in removed:
        click.echo(f"removed: {line}")
    if not removed:
        click.echo("nothing of the lab was running")


@verbs.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def bench(name: str | None, as_json: bool) -> None:
    """Measure: the figures that the README quotes, side by side with other tools."""
    _require_folder("benchmarks")
    from benchmarks import NAMES

    if name not in NAMES:
        raise click.UsageError(f"give the name of a benchmark: {', '.join(NAMES)}")
    os.chdir(CHECKOUT)
    words = [sys.executable, "-m", f"benchmarks.{name}", *(["--json"] if as_json else [])]
    os.execv(sys.executable, words)


@verbs.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def bundle(file: Path | None) -> None:
    """Make an archive of all that the set-up fetches, for a room without network.

    There, on a machine like this one: ./lab --bundle FILE
    """
    from lablib.bundle import list_wanted_packages, make_bundle, name_bundle
    from lablib.report import make_console

    lock, packages = CHECKOUT / "requirements.lock", list_wanted_packages()
    made = make_bundle(file or Path(name_bundle()), lock, packages, make_console(False))
    click.echo(made.sentence)


@verbs.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
def test(pytest_args: tuple[str, ...]) -> None:
    """Run all tests, in three processes at once; with further words, those that pytest is told of.

    On one processor it is two: tests wait for programs, kernels and pages more than they compute.
    """
    _require_folder("tests")
    os.chdir(CHECKOUT)
    words = pytest_args or ("-n", str(min(3, 1 + len(os.sched_getaffinity(0)))))
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])


@verbs.command("help")
@click.pass_context
def show_help(context: click.Context) -> None:
    """Show this page."""
    assert context.parent is not None
    click.echo(context.parent.get_help())


@verbs.command()
def version() -> None:
    """Print the lab's version."""
    click.echo(__version__)


def _require_folder(name: str) -> None:
    if not (CHECKOUT / name).is_dir():
        raise LabError(
            term("this hand-out of the lab has no {folder}", folder=name),
            term("take the whole lab for that"),
        )


def _end_in_order(number: int, frame: FrameType | None) -> NoReturn:
    """On SIGTERM and SIGHUP unwind like on Ctrl-C, so that everything is removed."""
    sys.exit(128 + number)


def main() -> NoReturn:
    """Run a verb; every failure is one line on standard error, and exit 2."""
    signal.signal(signal.SIGTERM, _end_in_order)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _end_in_order)
    try:
        sys.exit(verbs.main(prog_name="./lab", standalone_mode=False))
    except (KeyboardInterrupt, click.Abort):
        _fail("stopped; the programs that it had started have ended", 130)
    except LabError as error:
        _fail(str(error))
    except click.ClickException as error:
        _fail(f"{error.format_message()} (see ./lab help)")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail("the disk is full; free some space and try again")
        _fail(f"the system refused something: {error}")


def _fail(line: str, status: int = 2) -> NoReturn:
    click.echo(f"lab: {' '.join(line.split())}", err=True)
    sys.exit(status)
