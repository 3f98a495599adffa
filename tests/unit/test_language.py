"""What is said in the reader's language, and what stays English."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lablib import language
from lablib.language import Said, Term, pack_text, say, tell, term, unpack_text
from lablib.wording import amount_of, count_of, name_unit

PO = """
msgid ""
msgstr "Content-Type: text/plain; charset=utf-8\\n"

msgid "{blocks} are {state}"
msgstr "{state}：{blocks}"

msgid "{number} block"
msgstr "{number} 个内存块"

msgid "{number} pages"
msgstr "{number} 页"

msgid "lost"
msgstr "丢失"

#, fuzzy
msgid "doubtful"
msgstr "可疑"

msgid "not yet"
msgstr ""
"""


@pytest.fixture
def chinese(tmp_path, monkeypatch):
    (tmp_path / "zh_CN").mkdir()
    (tmp_path / "zh_CN" / "lablib.po").write_text(PO)
    monkeypatch.setattr(language, "TRANSLATIONS_DIR", tmp_path)
    monkeypatch.setenv("LAB_LANG", "zh")
    language.read_translations.cache_clear()
    yield
    language.read_translations.cache_clear()


def test_english_reads_no_catalogue(monkeypatch):
    monkeypatch.setenv("LAB_LANG", "en")
    monkeypatch.setattr(language, "read_catalogue", None)
    assert say("{count} of {total}", count=3, total=5) == "3 of 5"
    assert say("braces {stay}") == "braces {stay}"
    assert say(count_of(3, "block")) == "3 blocks"


def test_english_needs_no_babel():
    script = (
        "import sys; sys.modules['babel'] = None;"
        "from lablib.language import say; print(say('{x} blocks', x=3))"
    )
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert made.stdout == "3 blocks\n", made.stderr


@pytest.mark.usefixtures("chinese")
def test_a_text_is_said_with_its_fields_in_the_same_language():
    blocks = count_of(1, "block")
    assert blocks == "1 block"
    assert say("{blocks} are {state}", blocks=blocks, state=term("lost")) == "丢失：1 个内存块"


@pytest.mark.usefixtures("chinese")
def test_what_a_cell_tells_is_printed_in_the_language(capsys):
    tell("{blocks} are {state}", blocks="3,000", state=term("lost"))
    assert capsys.readouterr().out == "丢失：3,000\n"


def test_without_a_translation_all_of_it_is_english():
    assert say("{blocks} there", blocks=count_of(2, "block")) == "2 blocks there"
    assert say("doubtful") == "doubtful"
    assert say("not yet") == "not yet"


@pytest.mark.usefixtures("chinese")
def test_a_name_that_looks_like_a_text_is_not_translated():
    """A function may be called `lost`: only what was made a term is another in translation."""
    said = say("{blocks} are {state}", blocks="lost", state=term("lost"))
    assert said == "丢失：lost"


@pytest.mark.usefixtures("chinese")
def test_a_term_is_its_english_text_to_a_program():
    made = term("{blocks} are {state}", blocks=count_of(2, "block"), state=term("lost"))
    assert made == "2 blocks are lost"
    assert say(made) == say(copy.deepcopy(made)) == "丢失：2 个内存块"
    assert isinstance(made, Term)


@pytest.mark.usefixtures("chinese")
def test_units_are_said_with_their_number_and_by_themselves():
    assert amount_of(1, "pages") == "1 page"
    assert say(amount_of(1, "pages")) == "1 页"
    assert name_unit("pages") == "页"
    assert name_unit("MiB") == "MiB"


def test_a_language_that_is_not_known_is_english(monkeypatch):
    monkeypatch.setenv("LAB_LANG", "tlh")
    assert say("{count} pages", count=2) == "2 pages"


def test_a_text_crosses_json_and_is_said_on_the_other_side(monkeypatch):
    failed = term(
        "can't write to {folder} ({reason})", folder=Path("/a"), reason=term("File exists")
    )
    counted = term("{number:g} points", number=1.5)
    for text in ("plain", failed, counted, Said("seen", {"zh_CN": "看到了"})):
        crossed = unpack_text(json.loads(json.dumps(pack_text(text))))
        assert type(crossed) is type(text)
        assert crossed == text
        for name in ("en", "zh"):
            monkeypatch.setenv("LAB_LANG", name)
            assert say(crossed) == say(text)
    assert say(failed) == "无法写入 /a（文件已存在）"


@pytest.mark.parametrize(
    "packed",
    [
        None,
        ["a"],
        {"text": "a"},
        {"text": 1, "template": "a", "fields": {}},
        {"text": "a", "template": "{n}", "fields": {}},
        {"text": "a", "template": "{n}", "fields": {"n": [1]}},
        {"text": "a", "template": "{n:q}", "fields": {"n": 1}},
        {"text": "a", "template": "{", "fields": {}},
        {"text": "a", "template": "a", "fields": ["n"]},
        {"text": "a", "others": {"zh_CN": 1}},
        {"text": "a", "others": "zh"},
    ],
)
def test_what_is_no_text_is_refused(packed):
    with pytest.raises(ValueError, match="is no text"):
        unpack_text(packed)
