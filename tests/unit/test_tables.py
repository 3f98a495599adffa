"""Tables say in HTML and in plain text what they hold, and number what the records number."""

from bs4 import BeautifulSoup
from process_records import make_space, make_vmstat

from lablib.teaching import machine, tables


def show(monkeypatch, function, *arguments):
    """What a function of the module displays: the HTML, parsed, and the plain text."""
    shown = []
    monkeypatch.setattr(tables, "display", lambda data, raw: shown.append(data))
    function(*arguments)
    (data,) = shown
    return BeautifulSoup(data["text/html"], "html.parser"), data["text/plain"]


def test_each_column_and_row_has_a_header_and_text_is_not_markup(monkeypatch):
    rows = [("<one>", 1234, "a"), ("two", 5, "b & c")]
    page, text = show(monkeypatch, tables.show_table, "Numbers", ("name", "count", "what"), rows)
    assert page.caption.text == "Numbers"
    assert [cell.text for cell in page.select("th[scope=col]")] == ["name", "count", "what"]
    assert [cell.text for cell in page.select("th[scope=row]")] == ["<one>", "two"]
    assert [cell.text for cell in page.select("td")] == ["1,234", "a", "5", "b & c"]
    assert "right" in page.select("td")[0]["style"]
    assert "left" in page.select("td")[1]["style"]
    assert text.splitlines() == ["name   count  what", "<one>  1,234  a", "two    5      b & c"]


def test_vmas_of_some_kinds_are_shown_with_all_that_lies_in_them(monkeypatch):
    space = make_space()
    page, _ = show(monkeypatch, tables.show_vmas, space, ("text", "bss"), "The program")
    assert [cell.text for cell in page.select("th[scope=row]")] == [
        "program: code",
        "program: data, program: bss (zeroed)",
    ]
    code = [cell.text for cell in page.select("tbody tr")[0].select("td")]
    assert code == ["r-xp", "8 KiB", "8 KiB", "8 KiB", "0 bytes"]


def test_all_vmas_are_shown_once(monkeypatch):
    space = make_space()
    page, _ = show(monkeypatch, tables.show_vmas, space)
    assert len(page.select("tbody tr")) == len(space.vmas)
    assert str(space.pid) in page.caption.text


def test_columns_of_vmstat_are_explained_with_this_machines_values(monkeypatch):
    (sample,) = make_vmstat([512], cache_bytes=[64], swap_in_bytes_per_s=[2])
    page, _ = show(monkeypatch, machine.show_columns, sample)
    rows = {row.th.text: [cell.text for cell in row.find_all("td")] for row in page.select("tr")}
    assert rows["free"][0] == "512.0 MiB"
    assert rows["si"][0] == "2.0 MiB / s"
    assert rows["available"][0] == "not known"
    assert rows["available"][2] == "MemAvailable"


def test_changes_of_columns_have_a_sign_and_stand_at_the_right(monkeypatch):
    before, now = make_vmstat([512, 256], cache_bytes=[64, 300.5], buffer_bytes=[8.01, 8])
    page, _ = show(
        monkeypatch,
        machine.compare_columns,
        "Steps",
        {"there": (before, now), "back": (now, before)},
    )
    rows = {row.th.text: [cell.text for cell in row.find_all("td")] for row in page.select("tr")}
    assert rows["free"] == ["-256.0", "+256.0"]
    assert rows["cache"] == ["+236.5", "-236.5"]
    assert rows["buff"] == ["+0.0", "+0.0"]
    assert rows["available"] == ["-", "-"]
    assert page.select("th[scope=col]")[1].text == "there"
