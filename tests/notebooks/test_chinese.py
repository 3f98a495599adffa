"""A Chinese notebook is run like the English one, and talks to its reader in Chinese."""

import json
import os
import shutil

import nbformat
import pytest
from execution import NOTEBOOKS, execute

from lablib.localising import make_workbook

NAME = "02_promised_and_paid"


def run_in_chinese(name, folder):
    """A notebook as the workbook has it in Chinese, with outputs; the recordings stand in for the
    tracer and the tools, which the English one is run with."""
    for source in (f"{name}.ipynb", "glossary.md"):
        shutil.copy(NOTEBOOKS / source, folder)
    made, _ = make_workbook(folder, "zh_CN")
    notebook = nbformat.read(made / f"{name}.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_LANG", "zh")
        patch.setenv("LAB_SOURCE", "recorded")
        return execute(notebook, made)


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    return run_in_chinese(NAME, tmp_path_factory.mktemp("notebooks"))


def read_shown(notebook):
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return "\n".join(
        out.get("text", "") or out["data"].get("text/plain", "")
        for out in outputs
        if out.output_type in ("stream", "display_data")
    )


def test_the_kernel_is_told_the_language(chinese):
    assert "LAB_LANG" not in os.environ or os.environ["LAB_LANG"] in ("", "en")
    nbformat.validate(chinese)
    shown = read_shown(chinese)
    for words in (
        "`malloc` 返回",  # the question, which is the notebook's
        "你的预测：没有记下",
        "没有记下预测。结果是 ",
        "录制的，不是实时的",
        "次缺页",
        "承诺的 (VmSize) 与兑现的 (RSS, PSS)",
    ):
        assert words in shown, words


def test_choices_are_shown_in_chinese_and_compared_in_english(chinese):
    (result,) = [
        out.data["text/plain"]
        for cell in chinese.cells
        if "freeing.compare" in cell.source
        for out in cell.outputs
        if out.output_type == "display_data"
    ]
    catalogue = json.loads((NOTEBOOKS / f"{NAME}.ipynb").read_text())
    assert "both fall back to where they were before malloc" in json.dumps(catalogue)
    assert "both fall back" not in result
    assert "结果：“" in result


def test_a_table_has_chinese_headings(chinese):
    shown = read_shown(chinese)
    assert "当时没有页" in shown
    for english in ("Your prediction", "The result", "No prediction was kept", "One process"):
        assert english not in shown, english


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("10_which_tool_sees_what", ("你的预测：没有记下", "误报", "录制的")),
        ("11_incident_room", ("你的预测：没有记下", "时间线", "录制的")),
    ],
)
def test_the_last_notebooks_run_in_chinese(name, words, tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_INCIDENTS", str(tmp_path / "incidents"))
    shown = read_shown(run_in_chinese(name, tmp_path))
    assert [word for word in words if word not in shown] == []
