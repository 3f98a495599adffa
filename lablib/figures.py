"""Figures in a notebook: a picture and its description, for eye, screen reader and export."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from IPython.display import display
from matplotlib.figure import Figure


def show_figure(figure: Figure, description: str) -> None:
    """Display a figure in the cell's output, with its description as alt text and as caption."""
    data, metadata = figure_bundle(figure, description)
    display(data, metadata=metadata, raw=True)


def figure_bundle(figure: Figure, description: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a figure as MIME data and metadata, as `display(data, metadata=..., raw=True)` takes.

    JupyterLab and an exported page show the HTML, because an `image/png` gets no alt attribute from
    JupyterLab 4.6, and from nbconvert 7.17 only one without content. The PNG is for what takes no
    HTML, such as an export to LaTeX. Raises `ValueError` if there is no description.
    """
    if not description.strip():
        raise ValueError("a figure needs a description for those who can't see it")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    encoded = base64.b64encode(png.getvalue()).decode()
    data = {
        "text/html": _page_figure(encoded, html.escape(description)),
        "image/png": encoded,
        "text/plain": description,
    }
    return data, {"image/png": {"alt": description}}


def _page_figure(png: str, description: str) -> str:
    # The caption is hidden from screen readers: the alt text has told them the same.
    return (
        f'<figure style="margin: 0">'
        f'<img src="data:image/png;base64,{png}" alt="{description}" style="max-width: 100%">'
        f'<figcaption aria-hidden="true">{description}</figcaption></figure>'
    )
