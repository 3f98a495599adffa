"""Every text has its translation, and the translation keeps what is no language."""

import json
import re

import pytest
from babel.messages.pofile import read_po, write_po

from lablib.language import LOCALES, TRANSLATIONS_DIR
from lablib.localising import GLOSSARY, split_sections, translate_sections
from lablib.messages import (
    NOTEBOOKS_DIR,
    OWN,
    PRESENTING,
    Message,
    find_texts,
    find_words,
    list_glossary_messages,
    list_notebook_messages,
    list_own_messages,
    list_templates,
    make_template,
    parse_cell,
    update_catalogue,
)
from lablib.teaching.lessons import read_lessons

FIELD = re.compile(r"\{(\w+)(?:[:!][^}]*)?\}")
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TAG = re.compile(r"</?\w+[^>]*>")
LOCALE = "zh_CN"
NAMES = sorted(path.stem for path in NOTEBOOKS_DIR.glob("*.ipynb"))
CATALOGUES = [OWN, GLOSSARY, PRESENTING, *NAMES]


def read_catalogue(name):
    path = TRANSLATIONS_DIR / LOCALE / f"{name}.po"
    assert path.exists(), f"{name} has no catalogue: run python -m lablib.messages"
    with path.open("rb") as file:
        return read_po(file, locale=LOCALE)


def find_faults(template, catalogue):
    """What is wrong with a catalogue beside the messages that there are now, in words."""
    wanted = {message.id for message in template if message.id}
    found = {message.id: message for message in catalogue if message.id}
    faults = [f"missing: {text}" for text in wanted - found.keys()]
    faults += [f"no longer there: {text}" for text in found.keys() - wanted]
    faults += [f"obsolete: {text}" for text in catalogue.obsolete]
    for text, message in found.items():
        if not message.string:
            faults.append(f"empty: {text}")
        elif message.fuzzy:
            faults.append(f"fuzzy: {text}")
        else:
            faults += [f"{fault}: {text}" for fault in compare(text, message.string)]
    return faults


def compare(text, translated):
    """What a translation has lost of fields, code, links and tags, or has added."""
    faults = []
    if sorted(FIELD.findall(text)) != sorted(FIELD.findall(translated)):
        faults.append("other fields")
    flat = join_lines(translated)
    faults += [f"without {code}" for code in CODE.findall(text) if join_lines(code) not in flat]
    faults += [f"without the link {to}" for to in LINK.findall(text) if to not in translated]
    lost = [tag for tag in TAG.findall(CODE.sub("", text)) if tag not in translated]
    return faults + [f"without {tag}" for tag in lost]


def join_lines(text):
    """A text without its ends of lines: code in English may go over one."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def templates():
    return list_templates()


def test_every_notebook_has_a_catalogue_and_every_catalogue_a_notebook():
    for locale in set(LOCALES.values()) - {""}:
        catalogues = {path.stem for path in (TRANSLATIONS_DIR / locale).glob("*.po")}
        assert catalogues == set(CATALOGUES)


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_catalogue_is_complete_and_says_what_the_text_says_now(name, templates):
    assert find_faults(templates[name], read_catalogue(name)) == []


COMMON = "Look at `free` in [02](02_promised_and_paid.ipynb): {count} pages."


@pytest.mark.parametrize(
    ("translated", "fault"),
    [
        ("看 free，在 [02](02_promised_and_paid.ipynb)：{count} 页。", "without `free`"),
        ("看 `free`，在 [02](02.ipynb)：{count} 页。", "without the link 02_promised"),
        ("看 `free`，在 [02](02_promised_and_paid.ipynb)：{number} 页。", "other fields"),
        ("看 `free`，在 [02](02_promised_and_paid.ipynb)：页。", "other fields"),
    ],
)
def test_a_translation_that_has_lost_something_is_found(translated, fault):
    assert any(fault in found for found in compare(COMMON, translated))


def make_notebook(*sources):
    cells = [
        {"cell_type": kind, "id": f"cell-{place:02}", "source": source.splitlines(keepends=True)}
        for place, (kind, source) in enumerate(sources, start=1)
    ]
    return {"cells": cells, "metadata": {}}


def test_a_cell_that_has_changed_makes_the_catalogue_wrong(tmp_path):
    texts = ("markdown", "The kernel hands out memory in pages."), ("code", 'ask("Are you sure?")')
    path = tmp_path / "made_up.po"
    template = make_template(list_notebook_messages("made_up", make_notebook(*texts)))
    catalogue = update_catalogue(path, template, LOCALE)
    assert [fault[:5] for fault in find_faults(template, catalogue)] == ["empty", "empty"]
    for message in catalogue:
        if message.id:
            message.string = f"译文：{message.id}"
    assert find_faults(template, catalogue) == []
    write(path, catalogue)

    changed = ("markdown", "The kernel hands out memory in pages of 4 KiB."), texts[1]
    template = make_template(list_notebook_messages("made_up", make_notebook(*changed)))
    with path.open("rb") as file:
        faults = find_faults(template, read_po(file, locale=LOCALE))
    assert {fault.split(":")[0] for fault in faults} == {"missing", "no longer there"}
    faults = find_faults(template, update_catalogue(path, template, LOCALE))
    assert [fault.split(":")[0] for fault in faults] == ["fuzzy"]

    gone = make_template(list_notebook_messages("made_up", make_notebook(changed[0])))
    faults = find_faults(gone, update_catalogue(path, gone, LOCALE))
    assert {fault.split(":")[0] for fault in faults} == {"fuzzy", "obsolete"}


def write(path, catalogue):
    with path.open("wb") as file:
        write_po(file, catalogue, width=0)


def test_the_texts_of_a_notebook_are_its_text_cells_and_what_its_code_tells_the_reader():
    code = (
        '!free -m "of this machine"\n'
        'asked = predict("How many pages?", "pages", choices=["all of them", "none", name])\n'
        'print("not for translation")\n'
        'show_table("What is there", ("process", "in pages", "RSS"), rows)\n'
        'began = panel.mark("released")\n'
        'title = f"process {pid} now"\n'
    )
    notebook = make_notebook(("markdown", "# A title\n\nA text."), ("code", code))
    assert list_notebook_messages("nb", notebook) == [
        Message("# A title\n\nA text.", "nb.ipynb cell-01"),
        Message("How many pages?", "nb.ipynb cell-02/0"),
        Message("all of them", "nb.ipynb cell-02/1"),
        Message("What is there", "nb.ipynb cell-02/2"),
        Message("in pages", "nb.ipynb cell-02/3"),
    ]
    assert list(find_words(parse_cell(code))) == ["{number} pages", "none", "process", "released"]
    assert list(find_texts("x = 'one two'")) == ["one two"]


def test_all_that_lablib_looks_up_is_found(tmp_path):
    (tmp_path / "lablib").mkdir()
    (tmp_path / "lablib" / "module.py").write_text(
        "from lablib.language import say, term\n"
        "from lablib.wording import count_of\n"
        'say("a text", x=1); term("yes" if good else "no"); count_of(3, "page")\n'
        'later = {"x": term(\n    "two "\n    "parts")}; other("not this"); say(text)\n'
    )
    (tmp_path / "lablib" / "foreign.py").write_text('say("of a parameter called say")')
    texts = {each.text for each in list_own_messages(tmp_path / "lablib", tmp_path)}
    assert texts == {"a text", "yes", "no", "{number} page", "two parts"}


def test_the_openings_of_translated_notebooks_are_read_as_lessons(monkeypatch):
    english = read_lessons()
    monkeypatch.setenv("LAB_LANG", "zh")
    chinese = read_lessons()
    assert [(each.number, each.minutes, each.path) for each in chinese] == [
        (each.number, each.minutes, each.path) for each in english
    ]
    assert all(re.search("[\u4e00-\u9fff]", each.title + each.question) for each in chinese)
    assert len({each.question for each in chinese}) == len(NAMES)


CHOICE = re.compile(r"<details><summary>(.+?)</summary>\n(.+?)</details>", re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_choices_are_right_in_translation(name):
    """The feedback on a right choice begins with "Yes." there, and here with 对。"""
    catalogue = read_catalogue(name)
    notebook = json.loads((NOTEBOOKS_DIR / f"{name}.ipynb").read_text())
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "<details" in text:
            english = [why for _, why in CHOICE.findall(text)]
            chinese = [why for _, why in CHOICE.findall(catalogue[text].string)]
            assert [why.startswith("对。") for why in chinese] == [
                why.startswith("Yes. ") for why in english
            ], text[:80]


HEADING = re.compile(r"### (.+)")
TRANSLATED_HEADING = re.compile(r'### <a id="(.+?)"></a>\S.*（(.+)）')


def test_a_link_to_a_term_finds_it_in_translation():
    """Links say the English term: its place and the term itself stand in the other heading too."""
    catalogue = read_catalogue(GLOSSARY)
    text = (NOTEBOOKS_DIR / "glossary.md").read_text()
    for section in split_sections(text)[1:]:
        term = HEADING.match(section)[1]
        found = TRANSLATED_HEADING.match(catalogue[section].string)
        assert found, section
        assert found.groups() == (term.replace(" ", "-"), term)


DEFINED = re.compile(r"\[\*\*([^*\]]+)\*\*\]\(glossary\.md#([\w-]+)\)")
NAMED = re.compile(r"(?<!\*)\*([^*]+)\*(?!\*)")


@pytest.mark.parametrize("name", NAMES)
def test_a_term_is_called_what_the_glossary_calls_it(name):
    sections = {}
    for message in read_catalogue(GLOSSARY):
        if message.id and (found := TRANSLATED_HEADING.match(message.string)):
            sections[found[1]] = message.string
    for message in read_catalogue(name):
        for words, anchor in DEFINED.findall(message.string):
            assert words in sections[anchor], anchor


@pytest.mark.parametrize("name", NAMES)
def test_a_text_names_what_is_on_the_screen_as_the_screen_does(name):
    """A column or a button, said in italics, of two words at least: others may be by chance."""
    on_screen = {m.id.lower(): m.string for m in read_catalogue(OWN) if " " in m.id}
    for message in read_catalogue(name):
        for words in NAMED.findall(message.id):
            shown = on_screen.get(join_lines(words).lower().rstrip("."))
            assert shown is None or shown in message.string, words


HAN = r"[\u4e00-\u9fff]"
SLIP = re.compile(
    rf"{HAN}[,;:?!()\"]|[,;:?!()\"]{HAN}|{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}|{HAN}`|`{HAN}"
)


def find_slips(translated):
    """Punctuation of half width beside Chinese, and Latin words without a space before or after."""
    flat = re.sub(r"\]\([^)\s]*\)", "]", CODE.sub("`x`", TAG.sub("", translated)))
    flat = flat.replace("**", "").replace("[", "").replace("]", "")
    return [flat[max(0, slip.start() - 9) : slip.end() + 9] for slip in SLIP.finditer(flat)]


@pytest.mark.parametrize("name", CATALOGUES)
def test_chinese_has_wide_punctuation_and_a_space_before_latin_words(name):
    assert [slip for message in read_catalogue(name) for slip in find_slips(message.string)] == []


@pytest.mark.parametrize("text", ["页,", "(页", '页"', "4 KiB页", "页RSS", "看`free`", "30 %的"])
def test_a_slip_of_the_pen_is_found(text):
    assert find_slips(text)
    assert find_slips("页，（页）“页” 4 KiB 页，RSS 页，`free` 看 **30 %** 的") == []


def test_a_term_that_has_changed_stays_english_and_makes_the_catalogue_wrong(tmp_path):
    text = "# Words\n\n### heap\n\nA place\nfor blocks.\n\n### page\n\nA unit.\n"
    assert split_sections(text) == [
        "# Words",
        "### heap\n\nA place\nfor blocks.",
        "### page\n\nA unit.",
    ]
    translations = {"### heap\n\nA place\nfor blocks.": "### 堆\n\n内存块的地方。"}
    translated = "# Words\n\n### 堆\n\n内存块的地方。\n\n### page\n\nA unit.\n"
    assert translate_sections(text, translations) == translated
    assert translate_sections(text.replace("place", "part"), translations).startswith(
        "# Words\n\n### heap\n\nA part\n"
    )
    path = tmp_path / "glossary.po"
    first = update_catalogue(path, make_template(list_glossary_messages(text)), LOCALE)
    for message in first:
        message.string = message.id
    write(path, first)
    changed = make_template(list_glossary_messages(text.replace("A unit", "The unit")))
    faults = find_faults(changed, update_catalogue(path, changed, LOCALE))
    assert [fault.split(":")[0] for fault in faults] == ["fuzzy"]
