"""An incident on the disk, its timeline, and the post-mortem that is made of it."""

import contextlib
import json
import os

import psutil
import pytest
from bs4 import BeautifulSoup
from waiting import wait_until

from lablib import cleanup
from lablib.errors import AppError, GradingError
from lablib.grading.keys import read_key
from lablib.grading.labs import load_lab
from lablib.grading.variants import draw_lab
from lablib.incident_room import IncidentRoom, open_incident
from lablib.incident_room.evidence import Site, list_sites
from lablib.incident_room.incidents import FOLDER_VARIABLE, incidents_dir
from lablib.incident_room.page import Bullets, Code, Paragraph, Table, to_html, to_markdown
from lablib.incident_room.postmortem import compose
from lablib.incident_room.seen import Seen, count_down, find_function, list_open, make_diff
from lablib.incident_room.shell import run_command
from lablib.incident_room.timeline import Timeline, word_clock
from lablib.language import say, term
from lablib.plots import plot_rehearsal, plot_service
from lablib.records import (
    BuildWork,
    Comparison,
    Finding,
    Frame,
    GradeReport,
    HeapSnapshot,
    HeapTrace,
    ReachabilityScan,
    Rehearsal,
    RehearsalRound,
    ServiceSample,
    StackReach,
    StackUsage,
    Target,
    TimelineEntry,
    TraceEvents,
)

KEY = "a key that a class has"
MIB = 1 << 20
HOSTILE = '<script>alert("x")</script> | `a` **b** [c](javascript:d) <img src=x onerror=e>'


@pytest.fixture
def incidents(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "incidents"))
    return tmp_path / "incidents"


# An incident on the disk


def test_the_same_key_and_name_draw_the_same_program(incidents):
    first, other = open_incident(KEY, "monday"), open_incident(KEY, "tuesday")
    again = open_incident(KEY, "monday")
    assert again == first
    assert other.folder != first.folder
    assert first.source_file.read_text() == first.lab.read_source()
    assert first.lab == draw_lab(load_lab("incident"), KEY.encode(), "monday")


def test_the_judge_is_told_what_was_drawn(incidents):
    incident = open_incident(KEY, "monday")
    assert incident.judge_words == ("--student", "monday", "--key-file", str(incident.key_file))
    assert read_key(incident.key_file) == KEY.encode()
    assert incident.key_file.stat().st_mode & 0o077 == 0


def test_without_a_key_the_one_under_way_is_opened_again(incidents):
    first = open_incident()
    assert open_incident() == first
    other = open_incident(new=True)
    assert other != first
    assert open_incident() == other
    assert first.folder.exists()


def test_who_comes_back_with_the_key_finds_what_was_written(incidents):
    incident = open_incident(KEY, "monday")
    incident.source_file.write_text("mine")
    open_incident(new=True)
    again = open_incident(KEY, "monday")
    assert again.read_source() == "mine"
    assert again.is_changed
    assert again.paged_s == incident.paged_s


def test_a_short_key_is_refused_and_leaves_no_incident(incidents):
    with pytest.raises(GradingError, match="too short"):
        open_incident("short")
    assert not [*incidents.iterdir()]
    assert open_incident().student


def test_what_is_no_incident_is_said_with_what_to_do(incidents):
    incident = open_incident()
    (incident.folder / "incident.json").write_text("{")
    with pytest.raises(GradingError, match=r"new=True"):
        open_incident()


def test_incidents_lie_among_the_results_unless_a_folder_is_named(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert incidents_dir().parts[-2:] == ("results", "incidents")


# The timeline


def test_an_entry_has_the_time_since_the_page(tmp_path):
    now_s = iter([1_000.0, 1_247.5])
    timeline = Timeline(tmp_path / "timeline.jsonl", 1_000.0, lambda: next(now_s))
    timeline.add("page", "it rises")
    entry = timeline.add("note", "seen", terms=3)
    assert (entry.elapsed_s, entry.at_s) == (247.5, 1_247.5)
    assert word_clock(entry.elapsed_s) == "4:07"
    assert word_clock(3_847) == "1:04:07"
    assert Timeline(tmp_path / "timeline.jsonl", 1_000.0).entries == timeline.entries


def test_an_entry_can_be_read_in_either_language(tmp_path, monkeypatch):
    """Whatever the language in which it was made; what the learner has written stays as it is."""
    path = tmp_path / "timeline.jsonl"
    for language in ("", "zh"):
        monkeypatch.setenv("LAB_LANG", language)
        timeline = Timeline(path, 0.0)
        timeline.add("look", lambda: say("The service was started"))
        timeline.add("note", "The service was started")
        for reader, text in (("", "The service was started"), ("zh", "服务启动了")):
            monkeypatch.setenv("LAB_LANG", reader)
            kept = Timeline(path, 0.0).entries[-2:]
            assert [say(entry.text) for entry in kept] == [text, "The service was started"]
            assert [entry.text for entry in kept] == ["The service was started"] * 2


def test_a_torn_line_is_left_out_and_no_other(tmp_path):
    path = tmp_path / "timeline.jsonl"
    timeline = Timeline(path, 0.0)
    timeline.add("note", "one")
    path.write_bytes(path.read_bytes() + b'{"elapsed_s": 3, "at_\xe4')
    Timeline(path, 0.0).add("note", "two")
    assert [entry.text for entry in Timeline(path, 0.0).entries] == ["one", "two"]


def test_a_line_of_a_kind_that_is_not_known_is_left_out(tmp_path):
    path = tmp_path / "timeline.jsonl"
    Timeline(path, 0.0).add("note", "one")
    path.write_text(path.read_text() + path.read_text().replace('"note"', '"guess"'))
    assert [entry.text for entry in Timeline(path, 0.0).entries] == ["one"]


def test_only_known_kinds_are_entered(tmp_path):
    with pytest.raises(ValueError, match="none of"):
        Timeline(tmp_path / "timeline.jsonl", 0.0).add("guess", "who knows")


def test_answers_and_changes_are_noticed_once(incidents):
    room = IncidentRoom(open_incident(KEY, "monday"))
    room.answer(function="take_in", oom_seconds=900)
    room.notice()
    source = room.incident.read_source()
    room.incident.source_file.write_text(source + "\n/* mine */\n")
    room.note("changed")
    assert [(e.kind, e.text) for e in room.timeline.entries[1:]] == [
        ("answer", "function: take_in"),
        ("answer", "oom_seconds: 900"),
        ("change", "incident.c was changed: 2 lines added, 0 removed."),
        ("note", "changed"),
    ]
    again = IncidentRoom(room.incident)
    again.notice()
    assert [e.kind for e in again.timeline.entries[5:]] == ["service"]


def test_a_question_that_is_not_asked_is_refused(incidents):
    with pytest.raises(GradingError, match="no question colour"):
        IncidentRoom(open_incident()).answer(colour="red")


def test_what_was_changed_or_is_not_is_said_before_it_is_shipped_or_proven(incidents):
    room = IncidentRoom(open_incident())
    for act in (room.ship, room.prove):
        with pytest.raises(GradingError, match="as it came"):
            act()
    with pytest.raises(GradingError, match="does not run"):
        room.look()


# A command


def test_a_command_is_told_by_what_it_prints_and_how_it_ends(tmp_path):
    assert run_command("pwd; echo two >&2; exit 3", tmp_path) == (f"{tmp_path}\ntwo\n", 3)


def test_what_takes_too_long_is_ended_with_all_of_its_pipe(tmp_path):
    with pytest.raises(AppError, match="took too long"):
        run_command("echo $$ >shell; sleep 1000 | cat", tmp_path, 0.5)
    shell = int((tmp_path / "shell").read_text())
    wait_until(lambda: shell not in list_sessions())


def test_what_is_in_a_group_of_its_own_is_ended_as_well(tmp_path):
    """As `timeout` is, which the message advises."""
    with pytest.raises(AppError, match="took too long"):
        run_command("echo $$ >shell; timeout 1000 sleep 1000; echo done", tmp_path, 0.5)
    shell = int((tmp_path / "shell").read_text())
    wait_until(lambda: shell not in list_sessions())


def list_sessions():
    sessions = set()
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            sessions.add(os.getsid(pid))
    return sessions


def test_what_prints_without_end_is_ended(tmp_path):
    with pytest.raises(AppError, match="prints too much"):
        run_command("yes", tmp_path)


# The page


def test_whatever_is_written_is_text_in_both_forms():
    parts = [
        Paragraph(HOSTILE),
        Bullets((HOSTILE,)),
        Table(HOSTILE, (HOSTILE, "b"), ((HOSTILE, HOSTILE),)),
        Code("c", f"```\n{HOSTILE}\n</pre>"),
    ]
    page = to_html(HOSTILE, parts)
    soup = BeautifulSoup(page, "html.parser")
    assert not soup.find_all(["script", "img", "a"])
    assert soup.h1.text == HOSTILE
    assert soup.td.text == HOSTILE
    assert soup.pre.text == f"```\n{HOSTILE}\n</pre>"
    assert "default-src 'none'" in page
    text = to_markdown(HOSTILE, parts)
    outside = text.split("````c")[0]
    assert "<" not in outside.replace("\\<", "")
    assert "](" not in outside.replace("\\](", "")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {3}
    assert "\n````c\n```\n" in text


def test_what_begins_like_a_list_or_a_heading_is_none():
    text = to_markdown("t", [Paragraph("# no heading"), Paragraph("- none"), Paragraph("1. none")])
    assert text == "# t\n\n\\# no heading\n\n\\- none\n\n\\1. none\n"


# The post-mortem


def make_snapshot(elapsed_s, *usages):
    return HeapSnapshot(elapsed_s, usages, TraceEvents(0, 0, 0, 0, {}), None, True, False, ())


def use(function, line, live, allocated, freed):
    frame = Frame(function, "incident", 16, "incident.c", line)
    total = live * max(1, allocated) // max(1, allocated - freed)
    return StackUsage((frame,), total, allocated, total - live, freed)


def make_rehearsal():
    shots = [
        make_snapshot(n, use("keep", 12, 1000 * n, 10 * n, 0), use("churn", 20, 0, 50 * n, 50 * n))
        for n in (1, 2, 3, 4)
    ]
    scan = ReachabilityScan(
        4.0, 0.001, 0.01, 4096, (StackReach("heap", shots[0].stacks[0].frames, 38, 3800, 2, 200),)
    )
    trace = HeapTrace("ebpf", "6.1", Target(1, "incident"), tuple(shots), scans=(scan,))
    rounds = tuple(
        RehearsalRound(100 * n, n * MIB, n * MIB, n * MIB, 9 * MIB, 25, 1) for n in (1, 2, 3, 4)
    )
    return Rehearsal("ebpf", rounds, trace, (100, 200, 300, 400))


def test_a_site_keeps_what_stays_of_a_late_term():
    keep, churn = list_sites(make_rehearsal())
    assert (keep.function, keep.line, keep.lost_blocks) == ("keep", 12, 38)
    assert keep.keeps_per_term(100) == 10.0
    assert keep.grows_to_the_end()
    assert churn.keeps_per_term(100) == 0.0
    assert not churn.grows_to_the_end()
    assert isinstance(churn, Site)


@pytest.fixture
def room(incidents):
    room = IncidentRoom(open_incident(KEY, "monday"))
    room.kept.rehearsal = make_rehearsal()
    return room


def test_what_is_not_done_is_open_and_not_guessed(room):
    left = room.list_open()
    assert "There is no note in the timeline." in left
    assert "It was not judged." in left
    assert any(each.startswith("Not answered: kind, function") for each in left)
    _, page = room.write_post_mortem()
    soup = BeautifulSoup(page.read_text(), "html.parser")
    assert len(soup.select("p.open")) >= 5
    (question,) = (each for each in room.lab.questions if each.name == "function")
    for name in question.expected:  # nothing gives the answer away
        assert name not in page.read_text().replace(make_diff(room.see()), "")


def test_all_that_was_written_and_found_is_in_it(room):
    name = next(each for each in room.lab.questions if each.name == "function").expected[0]
    long = "because it takes what nobody gives back and that was measured more than once"
    room.note(HOSTILE)
    room.answer(
        **dict.fromkeys(("what_happened", "fix", "prevention"), f"{long} {HOSTILE}"),
        cause=f"{name} {long}",
        function=name,
        oom_seconds=700,
        kind="A",
        bytes_per_term=10,
        peak_rss_bytes="never",
    )
    finding = Finding("question oom_seconds", "passed", "Right.", 3, 3)
    room.keep_report(GradeReport("incident", "", (finding,)))
    room.timeline.add("kill", "The kernel killed the service, after 3,500 terms: 700 s.")
    room.timeline.add("service", "The service was started")
    room.incident.source_file.write_text(room.lab.read_source().replace("return 0;", "return 1;"))
    markdown, page = room.write_post_mortem()
    soup = BeautifulSoup(page.read_text(), "html.parser")
    assert not soup.find_all("script")
    assert [each.text for each in soup.select("h2")] == [
        *("Still open", "Summary", "Impact", "Timeline", "Root cause", "Evidence", "The fix"),
        *("Proof", "What was predicted, and what came", "Prevention"),
    ]
    text = " ".join(soup.text.split())
    line = find_function(room.lab.read_source(), name)
    assert f"The function named is {name}, incident.c:{line}." in text
    assert "+ return 1;" in text
    assert "killed it 1 time" in text
    assert "after 700 s at the rate of the service" in text
    assert "The check says of the time: passed. Right." in text
    assert "1 of 3 points" not in text
    assert "3 of 3 points. It has passed." in text
    assert all(image["alt"] and image["src"].startswith("data:") for image in soup.find_all("img"))
    assert "## Root cause" in markdown.read_text()
    assert (markdown.parent / "rehearsal.png").exists()


def test_a_fix_that_is_not_in_service_or_not_proven_is_open(room):
    room.incident.source_file.write_text(room.lab.read_source() + "/* changed */\n")
    left = " ".join(room.list_open())
    assert "not in service" in left
    assert "nothing proves" in left
    room.timeline.add("fix", "A fix was put into service")
    assert "not in service" not in " ".join(room.list_open())
    room.incident.source_file.write_text(room.lab.read_source() + "/* changed again */\n")
    assert "not in service" in " ".join(room.list_open())


@pytest.mark.parametrize("kind", ["different_work", "not_fixed", "undecided"])
def test_only_a_proof_of_the_program_as_it_is_now_proves_it(room, kind):
    def prove(kind):
        work = BuildWork("it", ("./it",), 0, 1.0, 3)
        room.kept.keep_comparison(Comparison("live", kind, "...", 10, work, work, ()))
        room.timeline.add("proof", "...")

    def is_proven():
        return "nothing proves" not in " ".join(room.list_open())

    room.incident.source_file.write_text(room.lab.read_source() + "/* changed */\n")
    room.notice()
    prove(kind)
    assert not is_proven()
    prove("fixed")
    assert is_proven()
    room.incident.source_file.write_text(room.lab.read_source() + "/* changed again */\n")
    assert not is_proven()


def test_what_was_judged_before_a_change_is_to_be_judged_again(room):
    report = GradeReport("incident", "", (Finding("builds", "passed", "Ok.", 0, 0),))
    room.keep_report(report)
    assert "It was not judged." not in room.list_open()
    room.incident.source_file.write_text(room.lab.read_source() + "/* changed */\n")
    assert "It was not judged." in room.list_open()
    room.keep_report(report)
    assert "It was not judged." not in room.list_open()


def test_a_service_is_down_until_it_is_started_again_and_not_until_the_room_is(room):
    def add(at_s, kind, **details):
        entries.append(TimelineEntry(at_s, 1_000 + at_s, kind, "...", details))

    entries = []
    add(10, "kill")
    add(20, "service")  # the room was opened again
    add(40, "service", runtime="docker")
    assert count_down(entries) == 30
    add(50, "kill")
    add(55, "note")
    assert count_down(entries) == 35


def test_the_judge_is_read_in_the_language_of_who_reads(room, monkeypatch):
    sentence = term("It builds at {first} and at {last}.", first="-O0", last="-O2")
    finding = Finding("builds", "passed", sentence, 0, 0)
    room.keep_report(GradeReport("incident", "", (finding,)))
    monkeypatch.setenv("LAB_LANG", "zh")
    page = IncidentRoom(room.incident).write_post_mortem()[1].read_text()
    assert "用 -O0 和 -O2 都能编译。" in page
    assert '<html lang="zh-Hans">' in page
    for english in ("It builds", "The check gave", "Still to be"):
        assert english not in page


def test_who_predicts_a_kill_and_changes_nothing_is_told(room):
    room.answer(oom_seconds=700)
    assert any("mend it" in each for each in room.list_open())
    room.answer(oom_seconds="never")
    assert not any("mend it" in each for each in room.list_open())


def test_what_was_kept_is_read_again(room):
    room.keep_report(GradeReport("incident", "", (Finding("builds", "passed", "Ok.", 0, 0),)))
    room.kept.keep_sample(1.5, 3 * MIB, None)
    with (room.incident.folder / "samples.jsonl").open("ab") as file:
        file.write(b'{"torn \xe4')
    again = IncidentRoom(room.incident)
    assert again.kept.report == room.kept.report
    assert again.kept.samples == room.kept.samples
    again.kept.keep_sample(2.5, 4 * MIB, None)
    assert IncidentRoom(room.incident).kept.samples == again.kept.samples
    assert json.loads((room.incident.folder / "report.json").read_text())["has_passed"]


def test_a_function_is_found_by_its_definition_and_not_by_a_call():
    source = "int f(int);\n\nint g(void)\n{\n\treturn f(1);\n}\n\nint f(int a)\n{\n\treturn a;\n}\n"
    assert find_function(source, "f") == 8
    assert find_function(source, "h") is None
    assert find_function(source, "f(") is None


def test_the_figures_say_what_they_show():
    samples = [ServiceSample(60.0 * n, 60.0 * n, n * MIB, None) for n in (1, 2, 3)]
    _, words = plot_service(samples, 64 * MIB, [(90.0, "killed")])
    assert words == (
        "The resident set of the service over 3.0 minutes: at most 3 MiB, of a cap of 64 MiB. "
        "Killed after 1.5 minutes."
    )
    _, words = plot_rehearsal(make_rehearsal(), 64 * MIB)
    assert words.startswith("The resident set: 1.0 MiB after 100 terms, ")


def test_a_post_mortem_can_be_made_of_nothing_but_the_page(room):
    seen = Seen(room.lab, room.incident.paged_s, room.lab.read_source(), {}, ())
    title, parts = compose(seen)
    assert title.startswith("Post-mortem: the incident of ")
    assert parts
    assert list_open(seen)
    assert make_diff(seen) == ""


def test_clean_removes_what_was_built_and_leaves_what_was_written(incidents, tmp_path, monkeypatch):
    incident = open_incident()
    left = tmp_path / "built" / f"{incident.name}-123"
    left.mkdir(parents=True)
    monkeypatch.setattr("lablib.cleanup.INCIDENTS_BUILD_DIR", left.parent)
    assert cleanup._remove_programs() == [f"the programs of the incident {left.name}"]
    assert not left.exists()
    assert incident.source_file.exists()
    assert cleanup._remove_programs() == []
