"""The site: every link leads somewhere, nothing comes from elsewhere, and everybody can read it."""

import json
import os
import re
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from waiting import wait_until

from lablib.errors import LabError
from lablib.site import build_site, make_editions
from lablib.site.building import MARK
from lablib.site.checking import find_dead_links
from lablib.site.rendering import read_markdown, render_content
from lablib.site.running import ALONE, RAN, USE_DOCKER, Job, run_for_site, run_notebooks
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
    build_site(ROOT, place, make_editions(ROOT, place.with_name("made")), runs=False)
    return place


def read_pages(folder):
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def pages(folder):
    return read_pages(folder)


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


def test_each_link_leads_to_a_page_and_a_part_of_it(folder, pages):
    assert find_dead_links(folder) == []
    links = [link["href"] for page in pages.values() for link in page.find_all("a", href=True)]
    assert sum("glossary.html#" in link for link in links) > 50


def test_a_dead_link_is_found(tmp_path):
    text = (
        '<link href="no.css"><h1 id="top">.</h1><a href="#top">.</a><a href="#no">.</a>'
        '<a href="x">.</a><img src="y.png"><img src="data:,"><a href="https://x.example/">.</a>'
        '<a href="..">.</a><a href="deep/page.html#part">.</a>'
    )
    (tmp_path / "page.html").write_text(text)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "page.html").write_text('<p id="part"></p><a href="../page.html#to">.</a>')
    assert find_dead_links(tmp_path) == [
        "deep/page.html: ../page.html#to",
        "page.html: no.css",
        "page.html: #no",
        "page.html: x",
        "page.html: y.png",
        "page.html: ..",
    ]


def test_a_site_with_a_dead_link_is_not_built(tmp_path):
    """What was there stays: the pages of the last time, which can be read."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    (notebooks / "glossary.md").write_text("# Glossary\n\n[a](#b)")
    built = tmp_path / "site"
    built.mkdir()
    for name in (MARK, "old.html"):
        (built / name).touch()
    edition = replace(make_editions(ROOT, tmp_path / "made")[0], notebooks=notebooks)
    with pytest.raises(LabError, match=r"links lead nowhere: en/notebooks/glossary.html: #b;"):
        build_site(ROOT, built, [edition], runs=False)
    assert sorted(path.name for path in built.iterdir()) == [MARK, "old.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "notebooks", "site"]


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


def write_notebook(checkout, name, source):
    """A notebook of one cell in a checkout of its own, and where it is kept when it has run."""
    folder = checkout / "notebooks"
    folder.mkdir(exist_ok=True)
    cells = [
        nbformat.v4.new_markdown_cell("# 00 · Small"),
        nbformat.v4.new_code_cell(source),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return Job(folder / f"{name}.ipynb", checkout / "kept" / f"{name}.ipynb", "en")


def test_what_was_run_says_so_and_is_kept_until_something_changes(tmp_path):
    """The recording says that it is one; the rest is this machine's own."""
    source = "import os\nprint(os.environ['LAB_SOURCE'], os.environ['LAB_INCIDENTS'], os.getpid())"
    job = write_notebook(tmp_path, "00_small", source)
    first = run_for_site(job.path, job.kept, tmp_path, "en")
    assert first.cells[1].outputs[0].text.startswith(f"recorded {tmp_path}/kept/incidents ")
    assert run_for_site(job.path, job.kept, tmp_path, "en").cells[1].outputs == (
        first.cells[1].outputs
    )
    for name in ("translations/zh_CN/00_small.po", "site/site.css"):
        no_input = tmp_path / "lablib" / name
        no_input.parent.mkdir(parents=True)
        no_input.write_text("")
    assert run_for_site(job.path, job.kept, tmp_path, "en") == first
    (tmp_path / "lablib" / "new.py").write_text("")
    again = run_for_site(job.path, job.kept, tmp_path, "en")
    assert again.cells[1].outputs != first.cells[1].outputs
    assert again.metadata[RAN]["kernel"]


HANGS = "import os, time\nopen('../pid', 'w').write(f'{os.getpid()} ')\ntime.sleep(3600)"


def read_pid(checkout):
    """The process in which the notebook hangs, once it does."""
    path = checkout / "pid"
    wait_until(lambda: path.exists() and path.read_text().endswith(" "))
    return int(path.read_text())


def test_the_first_notebook_that_fails_ends_the_others(tmp_path, monkeypatch):
    """It is told in a sentence, and no kernel is left."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    wait = "import os, time\nwhile not os.path.exists('../pid'): time.sleep(0.05)\n1 / 0"
    jobs = [write_notebook(tmp_path, "00_hangs", HANGS), write_notebook(tmp_path, "01_fails", wait)]
    with pytest.raises(
        LabError, match=r"01_fails.ipynb \(en\) could not be run: ZeroDivisionError"
    ):
        run_notebooks(jobs, tmp_path)
    assert not Path(f"/proc/{read_pid(tmp_path)}").exists()


def test_what_has_run_before_ctrl_c_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    jobs = [write_notebook(tmp_path, "00_runs", ""), write_notebook(tmp_path, "01_hangs", HANGS)]
    told = []

    def interrupt():
        read_pid(tmp_path)
        os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=interrupt)
    hand.start()
    with pytest.raises(KeyboardInterrupt):
        run_notebooks(jobs, tmp_path, lambda job, left: told.append((job.path.stem, left)))
    hand.join()
    assert told == [("00_runs", 1)]
    assert not Path(f"/proc/{read_pid(tmp_path)}").exists()
    assert sorted(path.name for path in tmp_path.glob("kept/*.ipynb")) == ["00_runs.ipynb"]
    write_notebook(tmp_path, "01_hangs", "")
    run_notebooks(jobs, tmp_path, lambda job, left: told.append((job.path.stem, left)))
    assert told == [("00_runs", 1), ("01_hangs", 0)]


def test_what_needs_the_machine_or_docker_for_itself_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    known = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {*ALONE, *USE_DOCKER} <= known
    source = (
        "from pathlib import Path\nimport time\nPath('../NAME').touch()\ntime.sleep(0.5)\n"
        "print(len(list(Path('..').glob('now_*'))))\nPath('../NAME').unlink()"
    )
    for names in ([*ALONE, "08_small"], USE_DOCKER):
        jobs = [write_notebook(tmp_path, n, source.replace("NAME", f"now_{n}")) for n in names]
        run_notebooks(jobs, tmp_path)
        for job in jobs:
            assert nbformat.read(job.kept, as_version=4).cells[1].outputs[0].text == "1\n"


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(LabError, match="something else"):
        build_site(ROOT, tmp_path, [], runs=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_next_site_takes_the_place_of_the_last(tmp_path):
    built = tmp_path / "site"
    built.mkdir()
    (built / MARK).touch()
    (built / "old.html").touch()
    edition = make_editions(ROOT, tmp_path / "made")[0]
    build_site(ROOT, built, [replace(edition, notebooks=tmp_path / "none")], runs=False)
    assert (built / "index.html").exists()
    assert not (built / "old.html").exists()
    assert built.stat().st_mode & 0o077 == tmp_path.joinpath("made").stat().st_mode & 0o077


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


def test_a_widget_without_words_leaves_what_it_was_set_to(tmp_path):
    """As a slider of ipywidgets itself does: its repr is no text for a reader."""
    cells = [
        nbformat.v4.new_markdown_cell("# 00 · Small"),
        nbformat.v4.new_code_cell(
            "from ipywidgets import IntSlider, Label, VBox\n"
            "VBox([IntSlider(48, 32, 96, description='limit, MiB'), Label()])"
        ),
    ]
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=600).execute()
    assert notebook.cells[1].outputs[0].data["text/plain"].startswith("VBox(children=")
    content = render_content(notebook, Links("one.md", "en/one.html", {}, tmp_path))
    assert content.select_one(".jp-OutputArea").text.strip() == "limit, MiB: 48"


def test_a_table_may_have_an_empty_corner(tmp_path):
    table = "<table><tr><th scope='col'></th><th scope='col'>RSS</th></tr></table>"
    outputs = [nbformat.v4.new_output("display_data", {"text/html": table})]
    cells = [nbformat.v4.new_code_cell("show()", outputs=outputs)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    content = render_content(notebook, Links("one.md", "en/one.html", {}, tmp_path))
    assert [str(cell) for cell in content.find_all(["td", "th"])] == [
        "<td></td>",
        '<th scope="col">RSS</th>',
    ]


def test_a_heading_of_any_script_has_a_name():
    assert slug("Where does it live?") == "where-does-it-live"
    assert slug("它在哪里") == "它在哪里"
