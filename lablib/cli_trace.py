"""The verbs that trace: ./lab trace and ./lab replay."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command()
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--pid", type=int, help="The process to trace.")
@click.option("--container", help="The running container whose first process to trace.")
@click.option(
    "--seconds", type=click.FloatRange(0.1), help="How long (default: until its end or Ctrl-C)."
)
@click.option("--interval", type=click.FloatRange(0.05, 10), default=0.5, show_default=True)
@click.option("--window", is_flag=True, help="Ask what single actions leave behind: Enter opens.")
@click.option("--follow-forks", is_flag=True, help="Trace the processes that it makes, too.")
@click.option("--no-scan", is_flag=True, help="Don't stop it now and then to see what is lost.")
@click.option("--sample", type=click.IntRange(1, 1 << 20), help="Only one block in so many bytes.")
@click.option("--max-blocks", type=click.IntRange(1, 1 << 26), help="Room for live blocks.")
@click.option("--max-stacks", type=click.IntRange(1, 1 << 20), help="Room for call stacks.")
@click.option(
    "--debug-dir",
    "debug_dirs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="A folder with debug files by build-id, or with unstripped copies.",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "ebpf", "preload"]),
    default="auto",
    show_default=True,
    help="What counts: the kernel, by eBPF; or the command itself, without any privilege.",
)
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Keep the session.")
@click.option(
    "--flame",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw a flame graph of the live bytes (SVG).",
)
@json_option
def trace(
    command: tuple[str, ...],
    pid: int | None,
    container: str | None,
    seconds: float | None,
    interval: float,
    window: bool,
    follow_forks: bool,
    no_scan: bool,
    sample: int | None,
    max_blocks: int | None,
    max_stacks: int | None,
    debug_dirs: tuple[Path, ...],
    source: str,
    save: Path | None,
    flame: Path | None,
    as_json: bool,
) -> None:
    """Trace the heap of a program, and judge it.

    A running one by --pid or --container; or -- COMMAND, started here and traced from its first
    instruction.
    """
    from lablib.privilege import ask_for_root
    from lablib.records import TraceOptions
    from lablib.report import make_console
    from lablib.sources import choose_source
    from lablib.watching import Watch, watch_command, watch_process, watch_windows

    if [pid is not None, container is not None, bool(command)].count(True) != 1:
        raise click.UsageError("give one of --pid N, --container NAME and -- COMMAND")
    if window and (command or seconds):
        raise click.UsageError("--window goes with --pid or --container, and without --seconds")
    if container is not None:
        from lablib.containers import find_container_pid
        from lablib.engine import find_engine

        pid = find_container_pid(find_engine(may_start=False), container)
    if pid is not None:
        _check_is_there(pid)
        source = _choose_for_running(source)
    if source != "preload":
        ask_for_root("the tracer service")
    chosen = choose_source(source)
    options = TraceOptions(sample or 0, follow_forks, max_blocks, max_stacks, not window)
    watch = Watch(seconds, interval, debug_dirs, options, not no_scan, chosen)
    console = make_console(as_json)
    if chosen.reason and source != chosen.name:
        click.echo(f"lab: no eBPF here ({chosen.reason}); the command counts by itself", err=True)
    if pid is None:
        watched = watch_command(command, watch, console)
    elif window:
        watched = watch_windows(pid, watch, console, sys.stdin)
    else:
        watched = watch_process(pid, watch, console)
    _report(watched, save, flame, as_json)


def _report(watched: Any, save: Path | None, flame: Path | None, as_json: bool) -> NoReturn:
    """Keep and print what was seen; the exit code is the verdict's."""
    from lablib.recording import save_bytes, save_trace
    from lablib.report import make_console
    from lablib.watching import describe_watched, judge_watched, render_watched

    recorded = watched.traces[0]
    if save is not None:
        save_trace(recorded, save)
    if flame is not None:
        from lablib.flame import draw_flame

        last = watched.windows[-1] if watched.windows else recorded.snapshots[-1]
        save_bytes(draw_flame(last, recorded.target.command).encode(), flame)
    if watched.nameless:
        click.echo(
            f"lab: {', '.join(watched.nameless)} has no line numbers; "
            "build it with -g, or give its debug files with --debug-dir DIR",
            err=True,
        )
    verdicts = judge_watched(watched)
    if as_json:
        print_json(describe_watched(watched, verdicts))
    else:
        make_console(False).print(render_watched(watched, verdicts))
    sys.exit(1 if any(verdict.kind == "leaking" for verdict in verdicts) else 0)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def replay(file: Path, as_json: bool) -> None:
    """Judge a saved session again."""
    from lablib.analysis import judge_trace
    from lablib.recording import load_trace

    recorded = load_trace(file)
    _print_trace(recorded, judge_trace(recorded), as_json)


def _choose_for_running(source: str) -> str:
    """Return the source for a program that runs already; raises `TracerError` if it has none."""
    from lablib.errors import TracerError
    from lablib.language import term

    if source == "preload":
        raise TracerError(
            term(
                "the preload source counts from inside the program, which must be started with it"
            ),
            term("run: ./lab trace --source preload -- COMMAND"),
        )
    return "ebpf"


def _check_is_there(pid: int) -> None:
    """Tell of a missing process before anything is started for it."""
    from lablib.errors import TargetError
    from lablib.language import term

    if pid <= 0 or not Path(f"/proc/{pid}").exists():
        raise TargetError(
            term("there is no process {pid}", pid=pid),
            term("look for its number with: pgrep -a NAME"),
        )


def _print_trace(recorded: Any, verdict: Any, as_json: bool) -> NoReturn:
    from lablib.report import describe_trace, make_console, render_trace

    if as_json:
        print_json(describe_trace(recorded, verdict))
    else:
        make_console(False).print(render_trace(recorded, verdict))
    sys.exit(1 if verdict.kind == "leaking" else 0)


def print_json(document: Any) -> None:
    """Print a document, and nothing else, on standard output."""
    click.echo(json.dumps(document, indent=2))
