"""Everybody can read the workbook; and each rule finds the notebook that breaks it."""

import pytest
from accessibility import find_problems
from execution import NAMES, UNIT, VMSTAT, execute, run_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from parallel import mark_notebook

TITLE = "# A title\n\n"


PARAMETERS = [
    pytest.param(name, marks=pytest.mark.alone) if name == VMSTAT else mark_notebook(name, UNIT)
    for name in NAMES
]


@pytest.mark.parametrize("name", PARAMETERS)
def test_everybody_can_read_the_notebook(name):
    assert find_problems(run_notebook(name)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Text without a title.", "headings: one h1"),
        ("## A section\n\n# The title", "headings: one h1"),
        ("# One\n\n# Two", "headings: one h1"),
        (TITLE + "### Too deep", "headings: an h3 follows an h1"),
        (TITLE + "![](map.png)", "pictures: no alt text"),
        (TITLE + "![map.png](map.png)", "pictures: the alt text says nothing"),
        (TITLE + "See [here](https://example.org).", "links: says nothing"),
        (TITLE + "[](https://example.org)", "links: says nothing"),
        (TITLE + "<table><tr><td>RSS</td><td>4</td></tr></table>", "tables: no header"),
        (TITLE + "The red line is the leak.", "colours: told by its colour alone: red line"),
        (TITLE + "Such regions are green.", "colours: told by its colour alone: regions are green"),
    ],
)
def test_a_text_that_shuts_people_out_is_found(text, problem):
    (found,) = find_problems(new_notebook(cells=[new_markdown_cell(text)]))
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import ipywidgets\nipywidgets.IntSlider()", "controls: no description: IntSliderModel"),
        ("import ipywidgets\nipywidgets.Button()", "controls: no description: ButtonModel"),
        (
            "import ipywidgets\nipywidgets.RadioButtons(options=['stack', 'heap'])",
            "controls: no description: RadioButtonsModel",
        ),
        ("from IPython.display import HTML\nHTML('<input>')", "controls: no label"),
        (
            "from matplotlib.figure import Figure\n"
            "%matplotlib inline\n"
            "figure = Figure()\nfigure.subplots().plot([1, 2])\ndisplay(figure)",
            "pictures: no alt text",
        ),
        ("from IPython.display import HTML\nHTML('<svg></svg>')", "pictures: no alt text"),
    ],
)
def test_an_output_that_shuts_people_out_is_found(code, problem):
    cells = [new_markdown_cell(TITLE), new_code_cell(code)]
    (found,) = find_problems(execute(new_notebook(cells=cells)))
    assert found.startswith(problem)


def test_a_notebook_for_everybody_has_no_problems():
    text = TITLE + (
        "## A section\n\n![The heap grows upward from the data.](map.png)\n\n"
        "[The manual page](https://example.org) tells more.\n\n"
        "| size | value |\n|---|---|\n| RSS | 4 |\n\nThe dashed orange line is the leak."
    )
    code = (
        "import ipywidgets\nfrom IPython.display import HTML\n"
        "from matplotlib.figure import Figure\nfrom lablib.figures import show_figure\n"
        "figure = Figure()\nfigure.subplots().plot([1, 2])\n"
        "show_figure(figure, 'A line from 1 to 2 & \"no\" <further>.')\n"
        "display(HTML('<label>size <input></label>'), ipywidgets.IntSlider(description='size'))"
    )
    notebook = execute(new_notebook(cells=[new_markdown_cell(text), new_code_cell(code)]))
    assert find_problems(notebook) == []
