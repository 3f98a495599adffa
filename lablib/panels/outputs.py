"""What a panel leaves in its cell: a picture that a saved notebook and an exported page still show.

A widget lives only as long as its kernel. A picture is part of the notebook's file.
"""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display
from ipywidgets import Widget
from matplotlib.figure import Figure


def show_widget(widget: Widget, description: str) -> None:
    """Display a widget; where widgets can't be shown, as on an exported page, the description."""
    bundle = dict(widget._repr_mimebundle_() or {})
    display({**bundle, "text/plain": description}, raw=True)


def open_picture() -> DisplayHandle:
    """Return a place in the output of the cell that runs, with nothing in it yet."""
    handle = DisplayHandle()
    handle.display({"text/plain": "", "text/html": ""}, raw=True)
    return handle


def put_picture(handle: DisplayHandle, figure: Figure, description: str) -> None:
    """Draw a figure into the place that `open_picture` has kept, and say in words what it shows.

    A notebook gets it twice: as HTML, the only form in which it shows the text alternative, and as
    a plain image for what takes no HTML, such as a PDF.
    """
    png = render_png(figure)
    alternative = html.escape(description, quote=True)
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    handle.update(
        {
            "text/html": f'<img alt="{alternative}" src="{source}" style="max-width: 100%">',
            "image/png": base64.b64encode(png).decode(),
            "text/plain": description,
        },
        raw=True,
        metadata={"image/png": {"alt": description}},
    )


def remove_picture(handle: DisplayHandle) -> None:
    """Empty the place again."""
    handle.update({"text/plain": "", "text/html": ""}, raw=True)


def render_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def name_running_cell() -> tuple[str, str] | None:
    """Return the ids of the notebook's cell that runs now and of this run of it.

    None where the front end gives none, and outside of notebooks.
    """
    shell: Any = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    return (cell, parent["header"]["msg_id"]) if isinstance(cell, str) else None
