"""Predictions: what is kept, what is said beside the result, and what stays in a saved notebook."""

import copy

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from lablib.errors import LabError
from lablib.teaching.predictions import Prediction, parse_number, predict
from lablib.wording import amount_of

PAGES = "How many pages are resident?"


def make_kept(answer, unit="", choices=()):
    prediction = Prediction(PAGES, unit, choices)
    prediction.keep(answer)
    return prediction


@pytest.mark.parametrize(
    ("number", "unit", "words"),
    [
        (512, "pages", "512 pages"),
        (1, "pages", "1 page"),
        (1, "processes", "1 process"),
        (1.0, "minor faults", "1 minor fault"),
        (1, "s", "1 s"),
        (0, "pages", "0 pages"),
        (1.004, "pages", "1 page"),
        (-3, "pages", "-3 pages"),
        (1234567, "", "1,234,567"),
        (2.5, "s", "2.5 s"),
        (0.00012, "s", "0.00012 s"),
        (99.999, "%", "100 %"),
        (np.int64(7), "pages", "7 pages"),
        (1023, "bytes", "1,023 bytes"),
        (1024, "bytes", "1,024 bytes (1 KiB)"),
        (8192, "bytes / s", "8,192 bytes / s (8 KiB / s)"),
        (-(1 << 20), "bytes", "-1,048,576 bytes (-1 MiB)"),
        (10_000, "bytes", "10,000 bytes (9.8 KiB)"),
        (1 << 47, "bytes", "140,737,488,355,328 bytes (128 TiB)"),
        (1 << 70, "bytes", "1,180,591,620,717,411,303,424 bytes (1,024 EiB)"),
    ],
)
def test_an_amount_has_its_unit_and_bytes_have_a_binary_one_beside_it(number, unit, words):
    assert amount_of(number, unit) == words


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("512", "pages", 512),
        (" 1,024 pages ", "pages", 1024),
        ("1 page", "pages", 1),
        ("-2.5", "s", -2.5),
        (".5 s", "s", 0.5),
        ("1e6", "", 1_000_000),
        ("8192", "bytes", 8192),
        ("8 KiB", "bytes", 8192),
        ("8kB", "bytes", 8000),
        ("0.5 MiB", "bytes", 1 << 19),
        ("2 GiB / s", "bytes / s", 2 << 30),
        ("2 GiB", "bytes / s", 2 << 30),
        ("1 byte", "bytes", 1),
        ("100 MiB", "MiB", 100),
        ("1.5 kB / s", "kB / s", 1.5),
    ],
)
def test_a_typed_number_is_read_in_its_unit(text, unit, number):
    assert parse_number(text, unit) == number


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "pages"),
        ("many", "pages"),
        ("2,5", "s"),
        ("1,0240", "pages"),
        ("1,024.5.6", "pages"),
        ("12 13", "pages"),
        ("5 bytes", "pages"),
        ("5 KiB", "pages"),
        ("5 K", "bytes"),
        ("5 MiB / h", "bytes / s"),
        (".", ""),
        ("-", ""),
        ("nan", ""),
    ],
)
def test_what_is_no_number_or_another_unit_is_not_understood(text, unit):
    with pytest.raises(LabError, match="is not understood; write a number"):
        parse_number(text, unit)


@pytest.mark.parametrize(
    ("said", "actual", "sentence"),
    [
        (512, 512, "You said 512 pages, and that is right."),
        (512, 512.001, "You said 512 pages, and that is right."),
        (500, 512, "You said 500 pages; it was 512 pages: close, 2 % too low."),
        (513, 512, "You said 513 pages; it was 512 pages: close, less than 1 % too high."),
        (110, 100, "You said 110 pages; it was 100 pages: close, 10 % too high."),
        (111, 100, "You said 111 pages; it was 100 pages: 11 % too high."),
        (60, 100, "You said 60 pages; it was 100 pages: 40 % too low."),
        (
            4096,
            512,
            "You said 4,096 pages; it was 512 pages: your prediction is 8 times the result.",
        ),
        (
            3,
            10,
            "You said 3 pages; it was 10 pages: the result is about 3.3 times your prediction.",
        ),
        (5, 0, "You said 5 pages; it was 0 pages: 5 pages too high."),
        (0, 1, "You said 0 pages; it was 1 page: 1 page too low."),
        (-5, 12, "You said -5 pages; it was 12 pages: 17 pages too low."),
        (-9, -10, "You said -9 pages; it was -10 pages: close, 10 % too high."),
    ],
)
def test_the_sentence_says_how_far_the_prediction_is_from_the_result(said, actual, sentence):
    assert make_kept(said, "pages").judge(actual) == sentence


def test_an_exact_question_calls_nothing_close():
    assert make_kept(513, "pages").judge(512, tolerance=0).endswith(": less than 1 % too high.")


def test_without_a_prediction_the_result_is_shown_all_the_same(capsys):
    Prediction(PAGES, "pages").compare(512)
    assert capsys.readouterr().out.splitlines() == [
        PAGES,
        "Your prediction: none was kept",
        "The result: 512 pages",
        "No prediction was kept. The result is 512 pages.",
    ]


def test_choices_are_right_or_not_and_nothing_else():
    prediction = make_kept("[heap]", choices=("[heap]", "[stack]"))
    assert prediction.judge("[heap]") == "You were right."
    assert prediction.judge("[stack]") == "You expected something else."
    with pytest.raises(
        LabError, match=r"“a file” is not one of the choices; choose from “\[heap\]”"
    ):
        prediction.compare("a file")


def test_a_kept_prediction_stays():
    prediction = make_kept("2 KiB", "bytes")
    with pytest.raises(LabError, match=r"kept already: 2,048 bytes \(2 KiB\); run the cell"):
        prediction.keep(4096)
    assert prediction.value == 2048


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("[bss]", "“.bss.” is not one of the choices"),
        (3, "“3” is not one of the choices"),
        (None, "nothing is chosen; choose from “.heap.”; “.stack.”"),
        ("", "nothing is chosen"),
    ],
)
def test_what_is_no_choice_is_not_kept(answer, reason):
    prediction = Prediction(PAGES, choices=("[heap]", "[stack]"))
    with pytest.raises(LabError, match=reason):
        prediction.keep(answer)
    assert prediction.value is None


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_what_can_not_be_compared_is_not_kept(answer):
    with pytest.raises(LabError):
        make_kept(answer)


@pytest.mark.parametrize(
    "options", [{"low": 1}, {"high": 1}, {"low": 0, "high": 9, "choices": ["a"]}], ids=str
)
def test_a_question_has_one_kind_of_answer(options):
    with pytest.raises(ValueError, match="give low and high, or choices"):
        predict(PAGES, **options)


def test_without_a_kernel_the_question_and_the_choices_are_printed(capsys):
    prediction = predict(PAGES, choices=["many", "few"])
    prediction.keep("few")
    assert capsys.readouterr().out.splitlines() == [
        PAGES,
        "- many",
        "- few",
        "No prediction was kept.",
    ]


SET_UP = """
import ipywidgets as widgets
from lablib.teaching.predictions import predict

made = []
widgets.Widget.on_widget_constructed(made.append)

def all_of(kind):
    return [widget for widget in made if isinstance(widget, kind)]
"""
ASK = [
    "pages = predict('Pages of `malloc` <b>?', unit='pages')",
    "rate = predict('How fast?', unit='bytes / s', low=0, high=9000)",
    "where = predict('Where?', choices=['In <heap>', 'On the stack'])",
    "never = predict('Never answered?', unit='s')",
]
ANSWER = """
all_of(widgets.Text)[0].value = "500"
all_of(widgets.IntSlider)[0].value = 8192
heap, stack = all_of(widgets.RadioButtons)
heap.value = "In <heap>"
stack.value = "On the stack"
assert heap.value is None
for button in all_of(widgets.Button):
    button.click()
assert [button.disabled for button in all_of(widgets.Button)] == [True, True, True, False]
"""
COMPARE = "pages.compare(512); rate.compare(8192); where.compare('In <heap>'); never.compare(2.5)"


@pytest.fixture(scope="module")
def saved():
    """A notebook in which a reader was asked four questions and answered three by their buttons."""
    sources = [SET_UP, *ASK, ANSWER, COMPARE]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return notebook


def read_outputs(notebook, number):
    return [output["data"] for output in notebook.cells[number].outputs]


def test_a_kept_prediction_takes_the_place_of_its_field(saved):
    question, kept = read_outputs(saved, 1)
    assert (
        question["text/html"] == "<p><strong>Pages of <code>malloc</code> &lt;b&gt;?</strong></p>"
    )
    assert kept == {
        "text/html": "<p>Your prediction: 500 pages.</p>",
        "text/plain": "Your prediction: 500 pages.",
    }


def test_a_kept_choice_is_shown_with_all_choices(saved):
    assert read_outputs(saved, 3)[1]["text/html"] == (
        "<ul><li>In &lt;heap&gt;</li><li>On the stack</li></ul>"
        "<p>Your prediction: “On the stack”.</p>"
    )


def test_an_empty_field_is_not_kept(saved):
    _, form = read_outputs(saved, 4)
    assert "application/vnd.jupyter.widget-view+json" in form
    assert form["text/html"] == "<p>No prediction was kept.</p>"


def test_the_comparisons_are_outputs_that_stay(saved):
    pages, rate, where, never = read_outputs(saved, 6)
    assert all(set(data) == {"text/html", "text/plain"} for data in (pages, rate, where, never))
    assert pages["text/plain"].endswith("You said 500 pages; it was 512 pages: close, 2 % too low.")
    assert "8,192 bytes / s (8 KiB / s)</td>" in rate["text/html"]
    assert rate["text/plain"].endswith("and that is right.")
    assert where["text/plain"].endswith("You expected something else.")
    assert never["text/plain"].endswith("No prediction was kept. The result is 2.5 s.")


@pytest.mark.parametrize("has_widget_state", [True, False])
def test_an_exported_page_has_questions_predictions_and_results(saved, has_widget_state):
    notebook = copy.deepcopy(saved)
    if not has_widget_state:
        del notebook.metadata["widgets"]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    for words in (
        "<strong>Pages of <code>malloc</code> &lt;b&gt;?</strong>",
        "<p>Your prediction: 500 pages.</p>",
        "<p>You said 500 pages; it was 512 pages: close, 2 % too low.</p>",
        "<li>In &lt;heap&gt;</li>",
        "<strong>Never answered?</strong>",
        "<p>No prediction was kept. The result is 2.5 s.</p>",
    ):
        assert words in page
    assert ("<p>No prediction was kept.</p>" in page) != has_widget_state
