"""Notebooks in another language: made anew when the English changes; no learner's work is lost."""

import json
import re

import pytest

from lablib import localising
from lablib.localising import make_workbook, translate_notebook
from lablib.messages import NOTEBOOKS_DIR

NAMES = sorted(path.name for path in NOTEBOOKS_DIR.glob("*.ipynb"))


@pytest.fixture(scope="module")
def workbook(tmp_path_factory):
    """The Chinese workbook, made in a folder that has the English notebooks."""
    notebooks = tmp_path_factory.mktemp("notebooks")
    for path in [*NOTEBOOKS_DIR.glob("*.ipynb"), NOTEBOOKS_DIR / "glossary.md"]:
        (notebooks / path.name).write_bytes(path.read_bytes())
    folder, set_aside = make_workbook(notebooks, "zh_CN")
    assert set_aside == []
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_code_is_the_same_to_the_byte_and_text_is_chinese(workbook, name):
    english = json.loads((NOTEBOOKS_DIR / name).read_text())
    chinese = json.loads((workbook / name).read_text())
    assert chinese["metadata"]["memory_leak_lab"]["locale"] == "zh_CN"
    assert len(chinese["cells"]) == len(english["cells"])
    for ours, theirs in zip(chinese["cells"], english["cells"], strict=True):
        if ours["cell_type"] == "code":
            assert ours == theirs
        else:
            assert {**ours, "source": ""} == {**theirs, "source": ""}
            assert any("\u4e00" <= letter <= "\u9fff" for letter in "".join(ours["source"]))


LINK = re.compile(r"glossary\.md#([^)\s]*)")


def test_links_lead_to_files_of_the_folder_and_to_terms_of_its_glossary(workbook):
    assert sorted(path.name for path in workbook.glob("*.ipynb")) == NAMES
    glossary = (workbook / "glossary.md").read_text()
    assert glossary.startswith("# 术语表\n")
    places = re.findall(r'^### <a id="([^"]+)"></a>', glossary, re.MULTILINE)
    assert len(places) == len(set(places)) == glossary.count("\n### ")
    linked = {place for name in NAMES for place in LINK.findall((workbook / name).read_text())}
    assert len(linked) > 50
    assert linked <= set(places)


def cell(kind, source, **more):
    return {"cell_type": kind, "id": "a", "metadata": {}, "source": [source], **more}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with one English notebook of one text, and its translation."""
    monkeypatch.setattr(localising, "TRANSLATIONS_DIR", tmp_path)
    (tmp_path / "zh_CN").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "glossary.md").write_text("# Glossary\n")
    write_english(tmp_path, "A page", "一页")
    return tmp_path


def write_english(place, text, translated):
    cells = [cell("markdown", text), cell("code", "1 + 1", outputs=[], execution_count=None)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (place / "notebooks" / "01_x.ipynb").write_text(json.dumps(notebook))
    po = f'msgid ""\nmsgstr ""\n\nmsgid "{text}"\nmsgstr "{translated}"\n'
    (place / "zh_CN" / "01_x.po").write_text(po)


def make(place):
    return make_workbook(place / "notebooks", "zh_CN")[1]


def read_text(path):
    return "".join(json.loads(path.read_text())["cells"][0]["source"])


def run_cells(path, result="2"):
    """What a learner's run leaves in the file."""
    notebook = json.loads(path.read_text())
    notebook["cells"][1]["outputs"] = [{"output_type": "execute_result", "data": result}]
    path.write_text(json.dumps(notebook))


def test_what_was_run_stays_until_the_english_changes(small):
    made = small / "notebooks" / "zh" / "01_x.ipynb"
    assert make(small) == []
    assert read_text(made) == "一页"
    run_cells(made)
    before = made.read_bytes()
    assert make(small) == []
    assert made.read_bytes() == before


def test_what_was_not_touched_is_made_anew(small):
    make(small)
    write_english(small, "Two pages", "两页")
    assert make(small) == []
    assert [path.name for path in (small / "notebooks" / "zh").glob("*.ipynb")] == ["01_x.ipynb"]
    assert read_text(small / "notebooks" / "zh" / "01_x.ipynb") == "两页"


def test_what_was_run_or_edited_is_kept_beside_the_new_one(small):
    folder = small / "notebooks" / "zh"
    make(small)
    run_cells(folder / "01_x.ipynb")
    first = (folder / "01_x.ipynb").read_bytes()
    write_english(small, "Two pages", "两页")
    assert make(small) == [folder / "my_01_x.ipynb"]
    assert (folder / "my_01_x.ipynb").read_bytes() == first
    assert read_text(folder / "01_x.ipynb") == "两页"

    run_cells(folder / "01_x.ipynb")
    write_english(small, "Three pages", "三页")
    assert make(small) == [folder / "my_01_x_2.ipynb"]
    assert (folder / "my_01_x.ipynb").read_bytes() == first


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"cells": []}'])
def test_a_file_that_was_not_made_here_is_kept(small, content):
    folder = small / "notebooks" / "zh"
    folder.mkdir()
    (folder / "01_x.ipynb").write_text(content)
    assert make(small) == [folder / "my_01_x.ipynb"]
    assert (folder / "my_01_x.ipynb").read_text() == content
    assert read_text(folder / "01_x.ipynb") == "一页"


def test_a_text_without_translation_stays_english():
    notebook = {"cells": [cell("markdown", "One"), cell("raw", "Two")], "metadata": {"a": 1}}
    made = translate_notebook(notebook, {"One": "一"}, "zh_CN")
    assert [each["source"] for each in made["cells"]] == [["一"], ["Two"]]
    assert made["metadata"]["a"] == 1
    assert "".join(notebook["cells"][0]["source"]) == "One"
