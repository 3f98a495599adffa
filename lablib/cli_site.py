"""The verb that makes a site of the workbook: ./lab site."""

from __future__ import annotations

from pathlib import Path

import click

CHECKOUT = Path(__file__).resolve().parents[1]


@click.command(
    epilog="""Examples:

    \b
    ./lab site                      the site, in the folder site
    ./lab site --no-run /tmp/site   in seconds, without the cells' outputs"""
)
@click.argument(
    "folder", required=False, default="site", type=click.Path(file_okay=False, path_type=Path)
)
@click.option(
    "--lang",
    "language",
    type=click.Choice(["en", "zh", "all"]),
    default="all",
    show_default=True,
    help="The language of the workbook, or all that there are.",
)
@click.option("--no-run", is_flag=True, help="Don't run the notebooks; their pages say so.")
def site(folder: Path, language: str, no_run: bool) -> None:
    """Make a site of the workbook: static pages, for a browser without a server or a network.

    The notebooks are run on their recordings, which takes minutes at first. Each that has run is
    kept: what hasn't changed isn't run again, and after Ctrl-C the rest is. A site with a link that
    leads nowhere is not built.
    """
    from lablib.report import make_console
    from lablib.scratch import make_scratch_folder
    from lablib.site import build_site, make_editions

    console = make_console(is_json=False)
    with make_scratch_folder("site") as made, console.status("making the pages ..."):
        editions = [e for e in make_editions(CHECKOUT, made) if language in (e.code, "all")]
        built = build_site(CHECKOUT, folder, editions, not no_run, tell=console.print)
    click.echo(f"{built.pages} pages; open {built.first_page} in a browser")
