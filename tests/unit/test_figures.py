"""A figure goes into a notebook with its description."""

import base64

import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from lablib.figures import figure_bundle

DESCRIPTION = 'RSS & "PSS" <in MiB>: from 1 to 2.'


def test_the_description_is_alt_text_and_caption():
    data, metadata = figure_bundle(Figure(), DESCRIPTION)
    page = BeautifulSoup(data["text/html"], "html.parser")
    assert page.img["alt"] == page.figcaption.text == DESCRIPTION
    assert page.img["src"] == f"data:image/png;base64,{data['image/png']}"
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == metadata["image/png"]["alt"] == DESCRIPTION


def test_a_figure_without_a_description_is_refused():
    with pytest.raises(ValueError, match="needs a description"):
        figure_bundle(Figure(), " ")
