"""The verb that presents a notebook as slides: ./lab present."""

from __future__ import annotations

import sys
from pathlib import Path

import click

CHECKOUT = Path(__file__).resolve().parents[1]


@click.command()
@click.argument("number", required=False, type=click.Choice(["01", "09"]))
@click.option(
    "--port", type=click.IntRange(1, 65535), help="JupyterLab's port (default: a free one)"
)
def present(number: str | None, port: int | None) -> None:
    """Show 01 and 09 as slides that run live, with a recording to fall back to at a key.

    What takes long is prepared first; the first time that is a minute or two.
    """
    from lablib.presenter.presenting import NUMBERS
    from lablib.presenter.presenting import present as open_slides

    sys.exit(open_slides(CHECKOUT, [number] if number else NUMBERS, port))
