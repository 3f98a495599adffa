"""Each Chinese notebook is run like the English one, and talks to its reader in Chinese."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from conftest import require_tracer
from execution import NAMES, NOTEBOOKS, ROOT, run_in_chinese
from left_english import find_english, list_source_lines, read_page
from parallel import MACHINE_NOTEBOOKS, mark_notebook

UNIT = "Chinese notebooks"
AT_A_TIME = 3
NAME = "02_promised_and_paid"
TOOLS, ROOM = "10_which_tool_sees_what", "11_incident_room"
RUNS = [(name, "recorded") for name in NAMES] + [(name, "auto") for name in (TOOLS, ROOM)]
"""Each on its recordings; the last two with the tools and the container of this machine too."""

# What is nowhere in English: by it one sees that the cells did what they are there for.
SHOWN = {
    TOOLS: ("你的预测：没有记下", "误报"),
    ROOM: ("你的预测：没有记下", "时间线"),
}

pytestmark = pytest.mark.xdist_group(UNIT)


def mark_run(name, source):
    """A run as a parameter of tests, in the unit of its notebook."""
    marks = mark_notebook(name, UNIT).marks
    return pytest.param((name, source), marks=marks, id=f"{name}-{source}")


@pytest.fixture(scope="module")
def running(request):
    """The runs of the tests to come, a few at a time, as they wait more than they work.

    Those that use the machine's containers and groups are not among them.
    """
    tests = [test for test in request.session.items if "notebook" in test.fixturenames]
    runs = [test.callspec.params["run"] for test in tests if test.module is request.module]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {
            run: pool.submit(run_in_chinese, *run)
            for run in sorted(set(runs), key=RUNS.index, reverse=True)  # the longest first
            if run[0] not in MACHINE_NOTEBOOKS
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def notebook(request, run):
    name, source = run
    if source != "recorded":
        require_tracer()
    if name in MACHINE_NOTEBOOKS:
        return run_in_chinese(name, source)
    return request.getfixturevalue("running")[run].result()


def read_shown(notebook):
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return "\n".join(
        out.get("text", "") or out["data"].get("text/plain", "")
        for out in outputs
        if out.output_type in ("stream", "display_data")
    )


@pytest.mark.parametrize("run", [mark_run(*run) for run in RUNS])
def test_it_runs_to_its_end_and_talks_chinese(notebook, run):
    name, source = run
    nbformat.validate(notebook)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    shown = read_shown(notebook)
    assert [words for words in SHOWN.get(name, ("你的预测：",)) if words not in shown] == []
    if name in (TOOLS, ROOM):
        assert ("录制的" in shown) == (source == "recorded")


@pytest.mark.parametrize("run", [mark_run(*run) for run in RUNS])
def test_no_english_is_left(notebook):
    assert find_english(read_page(notebook), list_source_lines(ROOT)) == []


@pytest.mark.parametrize("run", [mark_run(NAME, "recorded")])
class TestItsWords:
    """What the texts of one notebook become."""

    def test_the_kernel_is_told_the_language(self, notebook):
        assert "LAB_LANG" not in os.environ or os.environ["LAB_LANG"] in ("", "en")
        shown = read_shown(notebook)
        for words in (
            "`malloc` 返回",  # the question, which is the notebook's
            "你的预测：没有记下",
            "没有记下预测。结果是 ",
            "录制的，不是实时的",
            "次缺页",
            "承诺的 (VmSize) 与兑现的 (RSS, PSS)",
        ):
            assert words in shown, words

    def test_choices_are_shown_in_chinese_and_compared_in_english(self, notebook):
        (result,) = [
            out.data["text/plain"]
            for cell in notebook.cells
            if "freeing.compare" in cell.source
            for out in cell.outputs
            if out.output_type == "display_data"
        ]
        catalogue = json.loads((NOTEBOOKS / f"{NAME}.ipynb").read_text())
        assert "both fall back to where they were before malloc" in json.dumps(catalogue)
        assert "both fall back" not in result
        assert "结果：“" in result

    def test_a_table_has_chinese_headings(self, notebook):
        shown = read_shown(notebook)
        assert "当时没有页" in shown
        for english in ("Your prediction", "The result", "No prediction was kept", "One process"):
            assert english not in shown, english


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("没有记下预测。The result is 4 MiB.", ["The result is"]),
        ("a page has 4,096 bytes here", ["a page has"]),
        ("segments (the program's own) waits", ["the program's own"]),
        ("RSS: 3.9 MiB, as the kernel says", ["MiB, as the kernel says"]),
        ("页表 page table 里，Memcheck 说 still reachable", []),
        ("运行 `./lab trace the whole program` 再看", []),
        ("读 /proc/self/status 和 https://example.org/the/whole/page", []),
        ("==52== 368,000 bytes in 400 blocks are still reachable in loss record 1 of 1", []),
        ("<stdin>:4:9: warning: function returns address of local variable", []),
        ("  12      void *v = malloc(8192);  /* one for each term */", []),
    ],
)
def test_three_english_words_in_a_row_are_found_where_they_are_no_code(text, found):
    lines = frozenset({"void *v = malloc(8192);  /* one for each term */"})
    assert find_english([text], lines) == found


def test_what_a_page_shows_is_read_with_words_for_pictures_and_without_code():
    page = (
        "<p>结果<code>all that is set as code</code></p><img alt='RSS rises and falls'>"
        "<button title='Keeps what you said'>记下</button>"
    )
    output = nbformat.v4.new_output("display_data", data={"text/html": page, "text/plain": "no"})
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    made = nbformat.v4.new_notebook(cells=[cell])
    label = {"description": "Start it now", "_view_name": "the view of it"}
    state = {"state": {"a": {"model_name": "ButtonModel", "state": label}}}
    made.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    assert find_english(read_page(made)) == [
        "RSS rises and falls",
        "Keeps what you said",
        "Start it now",
    ]
