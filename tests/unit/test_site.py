"""The site: every link leads somewhere, nothing comes from elsewhere, and everybody can read it."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from lablib.errors import LabError
from lablib.site import build_site, make_editions
from lablib.site.building import MARK
from lablib.site.rendering import read_markdown, render_content
from lablib.site.running import RAN, run_for_site
from lablib.site.sources import Links, slug

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "notebooks"))
from accessibility import find_page_problems  # noqa: E402

URL_IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import")
LOADS = re.compile(r"\b(fetch|import|XMLHttpRequest|WebSocket|importScripts)\b\s*\(")
SOURCES = ("src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The site without outputs, as `./lab site --no-run` makes it."""
    place = tmp_path_factory.mktemp("site") / "built"
    build_site(ROOT, place, make_editions(ROOT), runs=False)
    return place


def read_pages(folder):
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def pages(folder):
    return read_pages(folder)


def find_dead_links(pages):
    """The links of pages that lead to no file, or to no part of it."""
    ids = {
        path.resolve(): {part["id"] for part in page.find_all(id=True)}
        for path, page in pages.items()
    }
    dead = []
    for path, page in pages.items():
        for link in page.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if target not in ids and not target.is_file():
                dead.append(f"{path.name}: {link['href']}")
            elif parts.fragment and unquote(parts.fragment) not in ids.get(target, ()):
                dead.append(f"{path.name}: no such part: {link['href']}")
    return dead


def find_what_is_elsewhere(path, page):
    """What a page loads that is not a file beside it."""
    loaded = [part[name] for name in SOURCES for part in page.find_all(attrs={name: True})]
    loaded += [part["href"] for part in page.find_all("link", href=True)]
    styles = [part.text for part in page.find_all("style")]
    styles += [part["style"] for part in page.find_all(style=True)]
    styles += [file.read_text() for file in path.parent.glob("*.css")]
    loaded += [found[1] or "@import" for style in styles for found in URL_IN_STYLE.finditer(style)]
    return [
        address
        for address in loaded
        if not address.startswith("data:") and not (path.parent / unquote(address)).is_file()
    ]


def test_each_notebook_the_glossary_and_each_lab_has_a_page(folder, pages):
    wanted = [path.with_suffix(".html") for path in ROOT.glob("notebooks/*.ipynb")]
    wanted += [ROOT / "notebooks" / "glossary.html"]
    chinese = {folder / "zh" / path.relative_to(ROOT) for path in wanted}
    wanted += [path.with_name("index.html") for path in ROOT.glob("labs/*/README.md")]
    wanted += [ROOT / "docs" / "learners.html"]
    assert chinese <= set(pages)
    assert {folder / "en" / path.relative_to(ROOT) for path in wanted} <= set(pages)


def test_each_link_leads_to_a_page_and_a_part_of_it(pages):
    assert find_dead_links(pages) == []
    links = [link["href"] for page in pages.values() for link in page.find_all("a", href=True)]
    assert sum("glossary.html#" in link for link in links) > 50


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<h1 id="top">.</h1><a href="#top">.</a><a href="#no">.</a><a href="x">.</a>')
    assert find_dead_links(read_pages(tmp_path)) == ["page.html: no such part: #no", "page.html: x"]


def test_nothing_comes_from_elsewhere(folder, pages):
    assert {
        path: found for path in pages if (found := find_what_is_elsewhere(path, pages[path]))
    } == {}
    inline = [part for page in pages.values() for part in page.find_all("script", src=False)]
    assert inline == []
    scripts = [path.read_text() for path in folder.rglob("*.js") if path.name != "search.js"]
    assert scripts
    assert not any(LOADS.search(script) for script in scripts)


def test_what_comes_from_elsewhere_is_found(tmp_path):
    text = (
        '<script src="https://cdn.example/x.js"></script><link href="//fonts.example/f.css">'
        '<img src="data:image/png;base64,"><p style="background: url(http://x.example/y.png)">'
    )
    found = find_what_is_elsewhere(tmp_path / "page.html", BeautifulSoup(text, "html.parser"))
    assert found == ["https://cdn.example/x.js", "//fonts.example/f.css", "http://x.example/y.png"]


def test_everybody_can_read_each_page(pages):
    problems = {
        str(path): find_page_problems(page.select_one("main")) for path, page in pages.items()
    }
    assert {path: found for path, found in problems.items() if found} == {}


def test_a_page_without_outputs_says_so(folder, pages):
    page = pages[folder / "en" / "notebooks" / "01_where_does_it_live.html"]
    assert "were not run when the site was built" in page.select_one(".note").text
    assert pages[folder / "en" / "notebooks" / "glossary.html"].select_one(".note") is None


def test_a_page_leads_to_itself_in_the_other_language(folder, pages):
    name = "notebooks/04_the_heap.html"
    english, chinese = pages[folder / "en" / name], pages[folder / "zh" / name]
    assert (english.html["lang"], chinese.html["lang"]) == ("en", "zh-Hans")
    for page, link in ((english, f"../../zh/{name}"), (chinese, f"../../en/{name}")):
        assert page.select_one("a.language")["href"] == link
    assert [code.text for code in english.select(".jp-CodeCell .highlight")] == [
        code.text for code in chinese.select(".jp-CodeCell .highlight")
    ]
    assert "没有运行各单元格" in chinese.select_one(".note").text
    assert chinese.select("main a[href^='glossary.html#']")


def test_the_search_knows_each_section_and_leads_to_it(folder, pages):
    script = (folder / "en" / "search.js").read_text()
    rows = json.loads(script.removeprefix("window.labSections = ").removesuffix(";\n"))
    for place, title, anchor, heading, _ in rows:
        page = pages[folder / "en" / place]
        assert page.find(id=anchor).get_text(" ", strip=True) == heading
        assert page.h1.get_text(" ", strip=True) == title
    (text,) = [row[4] for row in rows if row[3] == "arena" and row[0] == "notebooks/glossary.html"]
    assert text.startswith("A heap of its own that glibc's malloc gives to a thread")


def test_a_chinese_word_finds_its_section(folder, pages):
    """The search looks for a word anywhere in a text: Chinese has no blanks between its words."""
    script = (folder / "zh" / "search.js").read_text()
    rows = json.loads(script.removeprefix("window.labSections = ").removesuffix(";\n"))
    found = [row for row in rows if "页缓存" in row[3]]
    assert ["notebooks/glossary.html", "术语表"] in [row[:2] for row in found]
    page = pages[folder / "zh" / "notebooks" / "glossary.html"]
    assert page.html["lang"] == "zh-Hans"
    assert page.find(id="page-cache").parent.get_text() == "页缓存（page cache）"
    assert page.select_one("input[type=search]")["placeholder"] == "页面中的词，次序不限"
    assert page.select_one("main").get("lang") is None


def test_what_was_run_says_so_and_is_kept_until_something_changes(tmp_path):
    """The recording says that it is one; the rest is this machine's own."""
    (tmp_path / "lablib").mkdir()
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "00_small.ipynb"
    cells = [
        nbformat.v4.new_markdown_cell("# 00 · Small"),
        nbformat.v4.new_code_cell("import os\nprint(os.environ['LAB_SOURCE'], os.getpid())"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    kept = tmp_path / ".lab" / "00_small.ipynb"
    first = run_for_site(path, kept, tmp_path, "en")
    assert first.cells[1].outputs[0].text.startswith("recorded ")
    assert run_for_site(path, kept, tmp_path, "en").cells[1].outputs == first.cells[1].outputs
    (tmp_path / "lablib" / "new.py").write_text("")
    again = run_for_site(path, kept, tmp_path, "en")
    assert again.cells[1].outputs != first.cells[1].outputs
    assert again.metadata[RAN]["kernel"]


def test_a_notebook_that_fails_is_told_in_a_sentence(tmp_path):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "00_fails.ipynb"
    cells = [nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(LabError, match=r"00_fails.ipynb could not be run: ZeroDivisionError"):
        run_for_site(path, tmp_path / "kept.ipynb", tmp_path, "en")


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(LabError, match="something else"):
        build_site(ROOT, tmp_path, make_editions(ROOT), runs=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_next_site_takes_the_place_of_the_last(tmp_path):
    (tmp_path / MARK).touch()
    (tmp_path / "old.html").touch()
    edition = make_editions(ROOT)[0]
    build_site(ROOT, tmp_path, [replace(edition, notebooks=tmp_path / "none")], runs=False)
    assert (tmp_path / "index.html").exists()
    assert not (tmp_path / "old.html").exists()


def test_links_lead_within_the_site_and_pictures_come_along(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "heap.png").touch()
    text = (
        "# One\n\n### A part\n\n[a](other.md#Its-part) [b](#A-part) [c](../secret.md) "
        "[d](https://x.example/)\n\n![Blocks of a heap](images/heap.png)\n\n### A part"
    )
    (tmp_path / "one.md").write_text(text)
    links = Links("one.md", "en/one.html", {"other.md": "en/deep/other.html"}, tmp_path)
    content = render_content(read_markdown(tmp_path / "one.md"), links)
    assert [link["href"] for link in content.find_all("a")] == [
        "deep/other.html#its-part",
        "#a-part",
        "https://x.example/",
    ]
    assert "c" in content.p.text
    assert content.img["src"] == "../assets/images/heap.png"
    assert links.pictures == {"assets/images/heap.png": tmp_path / "images" / "heap.png"}
    assert [heading["id"] for heading in content.find_all("h2")] == ["a-part", "a-part-2"]
    names = [heading.name for heading in content.find_all(["h1", "h2", "h3"])]
    assert names == ["h1", "h2", "h2"]


def test_a_widget_leaves_its_words_and_a_figure_its_picture(tmp_path):
    shown = [
        {
            "application/vnd.jupyter.widget-view+json": {"model_id": "1"},
            "text/plain": "A slider from 0 to 100",
        },
        {"text/html": "<img alt='A line that rises' src='data:,'>", "image/png": "aGVhcA=="},
    ]
    outputs = [nbformat.v4.new_output("display_data", data) for data in shown]
    cells = [
        nbformat.v4.new_markdown_cell("# 00 · Small"),
        nbformat.v4.new_code_cell("show()", outputs=outputs),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    content = render_content(notebook, Links("one.md", "en/one.html", {}, tmp_path))
    assert content.select_one(".jp-OutputArea").text.strip() == "A slider from 0 to 100"
    assert [picture["alt"] for picture in content.find_all("img")] == ["A line that rises"]
    assert content.find_all("script") == []


def test_a_heading_of_any_script_has_a_name():
    assert slug("Where does it live?") == "where-does-it-live"
    assert slug("它在哪里") == "它在哪里"
