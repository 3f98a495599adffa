"""What a saved notebook and an exported page show of a panel: its picture, with words for it."""

import base64
from pathlib import Path

import nbclient
import nbformat
import pytest
from nbconvert import HTMLExporter

TESTS = Path(__file__).parents[1]
CELLS = [
    f"import sys; sys.path[:0] = [{str(TESTS.parent)!r}, {str(TESTS)!r}]",
    "from lablib.panels import SizesPanel\n"
    "from process_records import make_sizes\n"
    "panel = SizesPanel(make_sizes(5, 0.02), title='Sizes', recorded_on='a Monday')\n"
    "panel.show()",
    "panel.wait(60)",
    "panel.stop()",
]


@pytest.fixture(scope="module")
def notebook():
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    # As JupyterLab does by default, the file is saved without the widgets' state.
    client = nbclient.NotebookClient(
        made, timeout=120, kernel_name="python3", store_widget_state=False
    )
    return client.execute()


def test_the_picture_is_in_the_output_of_the_cell_that_showed_the_panel(notebook):
    widget, picture = notebook.cells[1].outputs
    assert "application/vnd.jupyter.widget-view+json" in widget.data
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")
    assert all(not cell.get("outputs") for cell in notebook.cells[3:])


def test_an_exported_page_has_it_with_words_and_says_that_it_is_recorded(notebook):
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert 'alt="Recorded on a Monday, not live. In 0.1 s VmSize goes' in page
    assert page.count("<img") == 1
    assert "Sizes: moves while the notebook runs." in page
