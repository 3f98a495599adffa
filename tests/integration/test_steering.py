"""The steered apps do exactly what they are told, and the kernel confirms it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest

from lablib import cleanup
from lablib.apps import build_app
from lablib.errors import AppError
from lablib.resources import read_resources
from lablib.steering import GuardedSegment, SteeredApp, list_segments, segment_path
from lablib.teaching.heap_use import follow_heap

PAGE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024
MIB = 1 << 20


@pytest.fixture
def start():
    """Start an app by name; all are ended with the test."""
    with contextlib.ExitStack() as apps:
        yield lambda name, **options: apps.enter_context(SteeredApp(build_app(name), **options))


@pytest.fixture
def segment():
    """A name of a shared memory segment that is gone after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    segment_path(name).unlink(missing_ok=True)


def find_mapping(pid, address):
    """The line of smaps that an address lies in, or None; sizes in bytes."""
    for mapping in psutil.Process(pid).memory_maps(grouped=False):
        start, end = (int(word, 16) for word in mapping.addr.split("-"))
        if start <= address < end:
            return mapping
    return None


def resident_bytes(pid, address):
    return find_mapping(pid, address).rss


def await_end(pid):
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


class TestPages:
    @pytest.fixture
    def app(self, start):
        return start("pages")

    def test_touching_half_of_the_pages_makes_half_of_them_resident(self, app):
        reserved = app.ask("reserve", 1000 * PAGE)
        assert find_mapping(app.pid, reserved["address"]).size == 1000 * PAGE
        assert (reserved["pages"], reserved["page_bytes"]) == (1000, PAGE)
        before = resident_bytes(app.pid, reserved["address"])
        assert app.ask("touch", 50) == {"pages": 500, "minor_faults": 500, "major_faults": 0}
        assert resident_bytes(app.pid, reserved["address"]) - before == 500 * PAGE

    def test_a_page_is_paid_for_once(self, app):
        app.ask("reserve", 1000 * PAGE)
        app.ask("touch", 50)
        assert app.ask("touch", 50)["minor_faults"] == 0
        assert app.ask("touch_pages", 490, 20)["minor_faults"] == 10
        assert app.ask("touch", 100)["minor_faults"] == 490

    def test_reading_takes_a_fault_but_no_memory(self, app):
        address = app.ask("reserve", 1000 * PAGE)["address"]
        before = resident_bytes(app.pid, address)
        assert app.ask("read_pages", 0, 300)["minor_faults"] == 300
        assert resident_bytes(app.pid, address) == before
        assert app.ask("touch_pages", 0, 300)["minor_faults"] == 300
        assert resident_bytes(app.pid, address) - before == 300 * PAGE

    def test_released_memory_is_gone_and_comes_back_untouched(self, app):
        for _ in range(3):
            address = app.ask("reserve", 2000 * PAGE)["address"]
            assert app.ask("touch", 100)["minor_faults"] == 2000
            assert app.ask("release") == {"pages": 2000}
            assert find_mapping(app.pid, address) is None

    def test_a_child_copies_exactly_the_pages_that_it_writes(self, app):
        address = app.ask("reserve", 1000 * PAGE)["address"]
        app.ask("touch", 100)
        child = app.ask("fork")["child"]
        assert find_mapping(child, address).private_dirty == 0
        assert app.ask("child_read", 1000)["minor_faults"] == 0
        assert app.ask("child_write", 20)["minor_faults"] == 20
        assert find_mapping(child, address).private_dirty == 20 * PAGE
        assert app.ask("child_write", 20)["minor_faults"] == 0
        assert app.ask("end_child") == {"child": child}
        assert not psutil.pid_exists(child)

    def test_a_child_dies_with_its_parent(self, app):
        child = app.ask("fork")["child"]
        os.kill(app.pid, signal.SIGKILL)
        assert await_end(child)

    def test_a_child_that_was_killed_is_a_sentence(self, app):
        os.kill(app.ask("fork")["child"], signal.SIGKILL)
        app.ask("reserve", PAGE)
        with pytest.raises(AppError, match="the child has ended"):
            app.ask("child_write", 1)
        app.ask("end_child")
        assert app.ask("fork")["child"]

    @pytest.mark.parametrize(
        ("command", "why"),
        [
            (["reserve", 1 << 40], "Cannot allocate memory"),
            (["reserve", 0], "BYTES is a whole number from 1 to"),
            (["touch", 101], "PERCENT is a whole number from 0 to 100, not 101"),
            (["touch", 50.5], "not 50.5"),
            (["touch", "0x10"], "not 0x10"),
            (["touch", -1], "not -1"),
            (["touch", 1 << 70], "PERCENT is"),
            (["touch"], "usage: touch PERCENT"),
            (["touch", 1, 2], "usage: touch PERCENT"),
            (["touch", 1], "reserve comes first"),
            (["release"], "reserve comes first"),
            (["child_write", 1], "fork comes first"),
            (["end_child"], "fork comes first"),
            (["sing"], "there is no command sing; there are: reserve BYTES, touch PERCENT"),
            (["x" * 5000], "there is no command xxx"),
            (["touch", "5\ntouch 6"], "one word"),
            ([""], "one word"),
            (["\0"], "one word"),
        ],
    )
    def test_wrong_commands_are_refused_and_the_app_goes_on(self, app, command, why):
        with pytest.raises(AppError, match=why):
            app.ask(*command)
        app.ask("reserve", 10 * PAGE)
        assert app.ask("touch", 100)["pages"] == 10

    def test_pages_outside_the_block_are_refused(self, app):
        app.ask("reserve", 10 * PAGE)
        for first, count in ((0, 11), (10, 1), (1 << 39, 1 << 40)):
            with pytest.raises(AppError, match="the block has 10 pages"):
                app.ask("touch_pages", first, count)
        assert app.ask("touch_pages", 10, 0)["pages"] == 0


class TestSegments:
    @pytest.fixture
    def app(self, start):
        return start("segments")

    def test_each_object_lies_where_it_should(self, app):
        addresses = app.ask("where")
        found = {
            name: find_mapping(app.pid, address)
            for name, address in addresses.items()
            if name != "program_break"
        }
        program = str(app.app.executable)
        zeroed, library = found.pop("zeroed"), found.pop("library_function")
        shared = found.pop("shared_mapping")
        assert {name: (mapping.path, mapping.perms) for name, mapping in found.items()} == {
            "function": (program, "r-xp"),
            "constant": (program, "r--p"),
            "string": (program, "r--p"),
            "initialised": (program, "rw-p"),
            "small_block": ("[heap]", "rw-p"),
            "large_block": ("[anon]", "rw-p"),
            "local": ("[stack]", "rw-p"),
            "mapping": ("[anon]", "rw-p"),
            "thread_block": ("[anon]", "rw-p"),
            "thread_local_variable": ("[anon]", "rw-p"),
            "local_in_thread": ("[anon]", "rw-p"),
            "vdso": ("[vdso]", "r-xp"),
        }
        assert shared.perms == "rw-s"
        assert shared.path.startswith("/dev/zero")  # the kernel's name for shared memory
        assert zeroed.perms == "rw-p"
        assert zeroed.path in (program, "[anon]")
        assert library.perms == "r-xp"
        assert "libc.so" in library.path
        heap = find_mapping(app.pid, addresses["program_break"] - 1)
        assert heap.path == "[heap]"

    def test_the_objects_outside_the_heap_have_mappings_of_their_own(self, app):
        addresses = app.ask("where")
        apart = ("large_block", "mapping", "shared_mapping", "thread_block", "local_in_thread")
        found = {name: find_mapping(app.pid, addresses[name]).addr for name in apart}
        assert len(set(found.values())) == len(apart)
        in_thread = find_mapping(app.pid, addresses["thread_local_variable"])
        assert in_thread.addr == found["local_in_thread"]
        assert find_mapping(app.pid, addresses["mapping"]).size == 64 * KIB

    @pytest.mark.parametrize(
        ("kind", "name"), [("heap", "small_block"), ("thread", "thread_block"), ("stack", "local")]
    )
    def test_more_makes_one_place_grow(self, app, kind, name):
        address = app.ask("where")[name]
        before = resident_bytes(app.pid, address)
        assert app.ask("more", kind, 3 * MIB)["bytes"] == 3 * MIB
        grown = resident_bytes(app.pid, address) - before
        assert 3 * MIB - 256 * KIB < grown < 3 * MIB + 256 * KIB

    def test_only_more_heap_moves_the_break(self, app):
        for kind, least, most in (
            ("heap", 3 * MIB - 256 * KIB, 3 * MIB + 256 * KIB),
            *((kind, 0, 0) for kind in ("large", "stack", "thread", "mapping", "shared")),
        ):
            before = app.ask("where")["program_break"]
            moved = app.ask("more", kind, 3 * MIB)["program_break"] - before
            assert least <= moved <= most, kind

    @pytest.mark.parametrize("kind", ["large", "mapping", "shared"])
    def test_a_mapping_comes_and_goes(self, app, kind):
        def rss():
            return sum(found.rss for found in psutil.Process(app.pid).memory_maps(grouped=False))

        before = rss()
        app.ask("more", kind, 8 * MIB)
        assert abs(rss() - before - 8 * MIB) < 256 * KIB
        assert app.ask("less")["pieces"] == 1
        assert abs(rss() - before) < 256 * KIB

    def test_less_moves_the_break_back(self, app):
        before = app.ask("where")["program_break"]
        assert app.ask("more", "heap", 10 * MIB)["program_break"] > before + 9 * MIB
        assert app.ask("less")["program_break"] < before + 256 * KIB

    @pytest.mark.parametrize("kind", ["text", "read_only", "data", "bss"])
    def test_what_comes_from_the_file_does_not_grow(self, app, kind):
        with pytest.raises(AppError, match="nothing that the program does makes it grow"):
            app.ask("more", kind, 1)

    def test_what_does_not_fit_is_refused(self, app):
        with pytest.raises(AppError, match="malloc: Cannot allocate memory"):
            app.ask("more", "large", 256 * MIB)
        with pytest.raises(AppError, match="the stack may have"):
            app.ask("more", "stack", 64 * MIB)
        app.ask("more", "shared", 200 * MIB)
        with pytest.raises(AppError, match="shared memory may grow"):
            app.ask("more", "shared", 200 * MIB)
        with pytest.raises(AppError, match="KIND is heap"):
            app.ask("more", "nothing", 1)


class TestRecursion:
    @pytest.fixture
    def app(self, start):
        return start("recursion")

    @pytest.mark.parametrize(("depth", "frame"), [(1, 1), (100, 10000), (5000, 100), (20, 65536)])
    def test_each_call_has_a_frame_of_its_own(self, app, depth, frame):
        top = app.ask("unwind")
        down = app.ask("recurse", depth, frame)
        assert down["depth"] == depth
        assert depth * frame <= top["local"] - down["local"] <= depth * (frame + 256)

    def test_the_stack_grows_and_does_not_shrink(self, app):
        top = app.ask("unwind")["local"]
        before = resident_bytes(app.pid, top)
        app.ask("recurse", 300, 10000)
        grown = resident_bytes(app.pid, top) - before
        assert 3_000_000 - 256 * KIB < grown < 3_000_000 + 256 * KIB
        assert app.ask("unwind")["depth"] == 0
        assert resident_bytes(app.pid, top) == before + grown
        app.ask("recurse", 200, 10000)
        assert resident_bytes(app.pid, top) == before + grown

    def test_calls_go_on_from_where_they_are(self, app):
        first = app.ask("recurse", 10, 1000)
        second = app.ask("recurse", 5, 1000)
        assert second["depth"] == 15
        assert first["local"] - second["local"] >= 5 * 1000
        assert app.ask("unwind")["depth"] == 0
        assert app.ask("recurse", 1, 1000)["depth"] == 1

    def test_commands_are_answered_from_below(self, app):
        app.ask("recurse", 100, 10000)
        assert app.ask("limit")["used_bytes"] > 1_000_000
        with pytest.raises(AppError, match="there is no command"):
            app.ask("sing")
        assert app.ask("unwind")["depth"] == 0
        assert app.ask("limit")["used_bytes"] < 4096

    def test_a_thread_has_a_stack_of_its_own(self, app):
        found = app.ask("thread", MIB)
        assert found["lowest"] <= found["local"] < found["lowest"] + found["bytes"]
        assert MIB - 64 * KIB <= found["bytes"] <= MIB + 64 * KIB
        assert found["guard_bytes"] >= PAGE
        stack = find_mapping(app.pid, found["local"])
        assert (stack.path, stack.perms) == ("[anon]", "rw-p")
        assert app.ask("thread")["threads"] == 2
        assert psutil.Process(app.pid).num_threads() == 3
        assert app.ask("end_threads") == {"threads": 2}

    def test_the_limit_can_be_moved(self, app):
        app.ask("set_limit", MIB)
        with pytest.raises(AppError, match="may have 1048576 bytes"):
            app.ask("recurse", 20, 65536)
        assert app.ask("set_limit", 4 * MIB)["limit_bytes"] == 4 * MIB
        assert app.ask("recurse", 20, 65536)["depth"] == 20

    @pytest.mark.parametrize("command", ["overflow", "overflow_thread"])
    def test_a_stack_that_overflows_ends_the_process(self, app, command):
        app.ask("recurse", 10, 1000)
        assert app.ended_by == ""
        assert app.ask_fatal(command) == "SIGSEGV"
        assert not app.is_running
        assert app.ended_by == "SIGSEGV"


class TestBlocks:
    @pytest.fixture
    def app(self, start):
        return start("blocks")

    def test_the_heap_is_empty_before_the_first_block(self, app):
        assert app.ask("info")["arena_bytes"] == 0
        maps = psutil.Process(app.pid).memory_maps(grouped=False)
        assert "[heap]" not in {mapping.path for mapping in maps}

    def test_the_numbers_of_malloc_agree_with_what_was_asked(self, app):
        app.ask("allocate", 100, 1000)
        before = app.ask("info")["used_bytes"]
        allocated = app.ask("allocate", 1000, 1000)
        chunk = 1008  # 1,000 and the header of 8, in steps of 16
        assert app.ask("info")["used_bytes"] - before == 1000 * chunk
        assert allocated["last"] - allocated["first"] == 999 * chunk
        assert allocated["live_blocks"] == 1100

    def test_one_block_pins_all_below_it(self, app):
        allocated = app.ask("allocate", 10000, 1000)
        full = resident_bytes(app.pid, allocated["first"])
        pinned = app.ask("free_all_but_last")
        assert (pinned["freed"], pinned["live_blocks"]) == (9999, 1)
        assert pinned["program_break"] == allocated["program_break"]
        assert resident_bytes(app.pid, allocated["first"]) == full
        assert app.ask("info")["free_bytes"] > 9_900_000

    def test_trim_gives_back_pages_but_not_what_is_below_a_pin(self, app):
        allocated = app.ask("allocate", 10000, 1000)
        app.ask("free_all_but_last")
        trimmed = app.ask("trim")
        assert trimmed["has_released"] == 1
        assert allocated["last"] < trimmed["program_break"]
        assert trimmed["break_bytes"] < 256 * KIB
        assert resident_bytes(app.pid, allocated["last"]) < 256 * KIB

    def test_without_a_pin_free_moves_the_break_and_trim_the_rest(self, app):
        allocated = app.ask("allocate", 10000, 1000)
        freed = app.ask("free_all")
        assert allocated["program_break"] - freed["program_break"] > 9_500_000
        trimmed = app.ask("trim")
        assert trimmed["break_bytes"] == freed["program_break"] - trimmed["program_break"] > 0

    def test_holes_are_of_no_use_for_a_larger_block(self, app):
        allocated = app.ask("allocate", 10000, 1000)
        holes = app.ask("free_every", 2)
        assert holes["freed"] == 5000
        assert app.ask("info")["free_chunks"] > 4900
        assert app.ask("allocate", 2000, 500)["program_break"] == holes["program_break"]
        larger = app.ask("allocate", 100, 3000)
        assert larger["first"] > allocated["last"]
        assert larger["program_break"] > holes["program_break"]

    def test_the_threshold_moves_with_the_first_free(self, app):
        assert app.ask("allocate", 1, 200_000)["mapped"] == 1
        app.ask("free_all")
        assert app.ask("allocate", 1, 200_000)["mapped"] == 0

    def test_a_threshold_that_was_set_stays(self, app):
        app.ask("threshold", 100_000)
        for _ in range(2):
            assert app.ask("allocate", 1, 200_000)["mapped"] == 1
            app.ask("free_all")

    def test_a_thread_has_an_arena_of_its_own(self, app):
        main = app.ask("allocate", 1, 1000)
        thread = app.ask("in_thread", 1000, 1000)
        assert find_mapping(app.pid, main["first"]).path == "[heap]"
        assert find_mapping(app.pid, thread["first"]).path == "[anon]"
        assert app.ask("info")["used_bytes"] > 1_001_000
        assert app.ask("free_all")["freed"] == 1001

    def test_what_does_not_fit_is_refused(self, app):
        with pytest.raises(AppError, match="malloc: Cannot allocate memory"):
            app.ask("allocate", 2, 200 * MIB)
        app.ask("free_all")
        app.ask("allocate", 100_000, 1)
        with pytest.raises(AppError, match="there may be 131072 blocks"):
            app.ask("allocate", 100_000, 1)
        with pytest.raises(AppError, match="COUNT is"):
            app.ask("allocate", 0, 1)


class TestSharing:
    @pytest.fixture
    def app(self, start):
        return start("sharing")

    @pytest.mark.parametrize("command", ["write_constant", "write_code"])
    def test_writing_to_what_is_read_only_ends_the_process(self, app, command):
        assert app.ask_fatal(command) == "SIGSEGV"
        with pytest.raises(AppError, match="killed by SIGSEGV"):
            app.ask("constant")

    def test_it_is_the_page_that_forbids_it(self, app):
        constant = app.ask("constant")
        assert constant["value"] == ord("a")
        assert find_mapping(app.pid, constant["address"]).perms == "r--p"
        app.ask("unprotect")
        assert app.ask("write_constant")["value"] == ord("A")
        assert find_mapping(app.pid, constant["address"]).perms == "rw-p"
        with pytest.raises(AppError, match="survived write_constant"):
            app.ask_fatal("write_constant")

    def test_a_private_mapping_is_copied_page_by_page(self, app):
        address = app.ask("map_private", 300)["address"]
        assert find_mapping(app.pid, address).size == 300 * PAGE
        assert app.ask("parent_write", 300)["minor_faults"] == 300
        child = app.ask("fork")["child"]
        assert find_mapping(child, address).private_dirty == 0
        assert app.ask("child_write", 40)["minor_faults"] == 40
        assert find_mapping(child, address).private_dirty == 40 * PAGE
        app.ask("child_put", 100, 77)
        assert app.ask("child_get", 100)["value"] == 77
        assert app.ask("parent_get", 100)["value"] == 1

    def test_a_shared_mapping_is_one_for_both(self, app):
        address = app.ask("map_shared", 300)["address"]
        app.ask("parent_write", 300)
        child = app.ask("fork")["child"]
        app.ask("child_write", 300)
        assert find_mapping(child, address).private_dirty == 0
        assert find_mapping(child, address).shared_dirty == 300 * PAGE
        assert find_mapping(child, address).pss == 150 * PAGE
        app.ask("child_put", 100, 77)
        assert app.ask("parent_get", 100)["value"] == 77

    def test_a_segment_outlives_its_process_until_it_is_unlinked(self, app, start, segment):
        created = app.ask("shm_create", segment, 100 * PAGE)
        assert created["pages"] == 100
        app.ask("parent_write", 100)
        app.ask("parent_put", 7, 99)
        app.close()
        assert segment_path(segment).stat().st_size == 100 * PAGE
        second, third = start("sharing"), start("sharing")
        address = second.ask("shm_attach", segment)["address"]
        assert second.ask("parent_get", 7)["value"] == 99
        third.ask("shm_attach", segment)
        for each in (second, third):
            each.ask("parent_read", 100)
        assert find_mapping(second.pid, address).pss == 50 * PAGE
        third.ask("shm_unlink", segment)
        assert not segment_path(segment).exists()
        assert second.ask("parent_get", 7)["value"] == 99

    @pytest.mark.alone
    def test_clean_finds_apps_and_segments(self, app, segment, monkeypatch):
        app.ask("shm_create", segment, PAGE)
        child = app.ask("fork")["child"]
        ours = [path for path in list_segments() if path == segment_path(segment)]
        assert len(ours) == 1
        monkeypatch.setattr(cleanup, "list_segments", lambda: ours)
        ended = cleanup._end_apps()
        assert any(f"process {app.pid} " in line for line in ended)
        assert await_end(child)
        assert cleanup._remove_segments() == [f"shared memory {segment_path(segment)}"]
        assert not segment_path(segment).exists()

    def test_a_private_file_mapping_keeps_the_file_as_it_is(self, app, tmp_path):
        file = tmp_path / "file"
        file.write_bytes(b"x" * (2 * PAGE))
        address = app.ask("map_file", str(file))["address"]
        assert app.ask("parent_get", 1)["value"] == ord("x")
        app.ask("parent_put", 1, 65)
        assert find_mapping(app.pid, address).anonymous == PAGE
        assert file.read_bytes() == b"x" * (2 * PAGE)
        app.ask("map_file_shared", str(file))
        app.ask("parent_put", 1, 65)
        assert file.read_bytes()[PAGE] == 65

    def test_what_is_unmapped_is_gone(self, app):
        addresses = [app.ask("map_private", 10)["address"] for _ in range(3)]
        assert app.ask("unmap") == {"bytes": 10 * PAGE, "mappings": 2}
        assert find_mapping(app.pid, addresses[2]) is None
        assert find_mapping(app.pid, addresses[1]) is not None
        app.ask("unmap")
        app.ask("unmap")
        with pytest.raises(AppError, match="nothing is mapped"):
            app.ask("unmap")

    def test_what_can_not_be_is_refused(self, app, segment, tmp_path):
        app.ask("shm_create", segment, PAGE)
        for command, why in (
            (["shm_create", segment, PAGE], "File exists"),
            (["shm_create", "../x", PAGE], "small letters"),
            (["shm_attach", f"{segment}x"], "No such file"),
            (["shm_unlink", f"{segment}x"], "No such file"),
            (["map_file", str(tmp_path / "none")], "No such file"),
            (["map_file", str(tmp_path)], "not a file"),
            (["map_shared", 65536], "may share"),
            (["parent_write", 2], "has 1 pages"),
            (["parent_get", 1], "has 1 pages"),
            (["child_get", 0], "fork comes first"),
        ):
            with pytest.raises(AppError, match=why):
                app.ask(*command)
        assert app.is_running


class TestEater:
    @pytest.fixture
    def app(self, start):
        return start("eater")

    def eat(self, app, size_bytes, rate):
        """Have it grow until it has taken so much, and then pause; return what it has."""
        app.ask("grow", rate)
        deadline = time.monotonic() + 10
        while not self.has(app, size_bytes) and time.monotonic() < deadline:
            time.sleep(0.01)
        app.ask("grow", 0)
        return app.ask("info")["bytes"]

    def has(self, app, size_bytes):
        info = app.ask("info")
        return info["bytes"] >= size_bytes or info["is_refused"]

    def test_it_grows_at_the_rate_until_it_is_paused(self, app):
        started_s = time.monotonic()
        taken = self.eat(app, 8 * MIB, rate=16)
        assert time.monotonic() - started_s > 8 / 16 - 0.1  # never faster
        assert taken >= 8 * MIB
        time.sleep(0.2)
        assert app.ask("info") == {"bytes": taken, "rate": 0, "is_refused": 0}

    def test_all_that_it_takes_is_resident_until_it_is_released(self, app):
        before = read_resources(app.pid).rss_anon_bytes
        taken = self.eat(app, 20 * MIB, rate=200)
        assert abs(read_resources(app.pid).rss_anon_bytes - before - taken) < 100 * KIB
        assert app.ask("release") == {"bytes": taken}
        assert read_resources(app.pid).rss_anon_bytes - before < 100 * KIB
        assert self.eat(app, 10 * MIB, rate=200) >= 10 * MIB

    def test_touching_what_is_resident_takes_no_fault(self, app):
        taken = self.eat(app, 10 * MIB, rate=200)
        touched = app.ask("touch", 100)
        assert touched["pages"] == taken // PAGE
        assert (touched["minor_faults"], touched["major_faults"]) == (0, 0)

    def test_the_rate_may_change_while_it_grows(self, app):
        app.ask("grow", 1)
        assert app.ask("info")["rate"] == 1
        assert self.eat(app, 20 * MIB, rate=200) >= 20 * MIB  # at the first it would take 20 s

    def test_at_its_cap_it_says_so_and_lives(self, app):
        app.ask("grow", 1024)
        deadline = time.monotonic() + 10
        while not app.ask("info")["is_refused"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 200 * MIB < app.ask("info")["bytes"] < 256 * MIB
        app.ask("release")
        assert app.ask("info")["bytes"] == 0


class TestSteering:
    def ask_in_thread(self, app, said):
        def ask():
            try:
                app.ask("reserve", PAGE)
            except AppError as error:
                said.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.2)
        return thread

    def test_an_app_can_be_closed_while_it_is_asked(self, start):
        app, said = start("pages"), []
        os.kill(app.pid, signal.SIGSTOP)
        thread = self.ask_in_thread(app, said)
        app.close()
        thread.join(10)
        assert "has ended: killed by SIGKILL" in said[0]
        with pytest.raises(AppError, match="has been closed; start it again"):
            app.ask("touch", 1)
        app.close()

    def test_an_app_that_is_killed_while_it_is_asked_is_a_sentence(self, start):
        app, said = start("pages"), []
        os.kill(app.pid, signal.SIGSTOP)
        thread = self.ask_in_thread(app, said)
        os.kill(app.pid, signal.SIGKILL)
        thread.join(10)
        assert "has ended: killed by SIGKILL" in said[0]
        with pytest.raises(AppError, match="killed by SIGKILL"):
            app.ask("touch", 1)

    def test_an_app_that_does_not_answer_is_ended(self, start):
        app = start("pages", timeout_s=2)
        os.kill(app.pid, signal.SIGSTOP)
        with pytest.raises(AppError, match="did not answer reserve within 2 s"):
            app.ask("reserve", PAGE)
        assert await_end_of(app)

    def test_each_thread_gets_its_own_answer(self, start):
        app, wrong = start("pages"), []
        app.ask("reserve", 100 * PAGE)

        def ask_often(count):
            for _ in range(50):
                if app.ask("touch_pages", 0, count)["pages"] != count:
                    wrong.append(count)

        threads = [threading.Thread(target=ask_often, args=(count,)) for count in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not wrong
        assert not any(thread.is_alive() for thread in threads)

    def test_an_app_dies_with_the_one_who_started_it(self):
        script = (
            "import os, signal; from lablib.apps import build_app\n"
            "from lablib.steering import SteeredApp\n"
            "app = SteeredApp(build_app('pages'))\n"
            "print(app.pid, app.ask('fork')['child'], flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert all(await_end(int(pid)) for pid in died.stdout.split())
        assert len(died.stdout.split()) == 2

    def test_an_app_has_its_limits_and_its_own_group(self, start):
        app = start("pages")
        assert os.getpgid(app.pid) == app.pid
        with pytest.raises(AppError, match="Cannot allocate memory"):
            app.ask("reserve", 300 * MIB)

    def test_a_program_that_takes_no_commands_is_a_sentence(self):
        with pytest.raises(AppError, match="fib_leak"):
            SteeredApp(build_app("fib_leak"), timeout_s=2)


def await_end_of(app):
    """Whether the app ended: it is our child, so its entry stays until it's waited for."""
    deadline = time.monotonic() + 10
    while app.is_running and time.monotonic() < deadline:
        time.sleep(0.02)
    return not app.is_running


HOLD_A_SEGMENT = """
import sys
from lablib.apps import build_app
from lablib.steering import GuardedSegment, SteeredApp
segment = GuardedSegment("guarded")
SteeredApp(build_app("sharing")).ask("shm_create", segment.name, 100000)
print(segment.path, flush=True)
sys.stdin.read()
"""


class TestGuardedSegment:
    def test_it_outlives_the_app_and_is_gone_after_the_block(self, start):
        with GuardedSegment("guarded") as segment:
            app = start("sharing")
            app.ask("shm_create", segment.name, PAGE)
            app.close()
            assert segment.path in list_segments()
        assert segment.path not in list_segments()

    def test_it_need_not_be_made_and_may_be_closed_twice(self):
        with GuardedSegment("guarded") as segment:
            segment.close()

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    def test_it_goes_with_its_process_however_that_ends(self, how):
        command = [sys.executable, "-c", HOLD_A_SEGMENT]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as holder:
            path = Path(holder.stdout.readline().decode().strip())
            assert path.exists()
            holder.send_signal(how)
        deadline = time.monotonic() + 10
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not path.exists()


def test_what_is_live_and_what_is_resident_are_followed_step_by_step():
    steps = [("allocate", 10_000, 1000), ("free_all_but_last",), ("trim",)]
    full, pinned, trimmed = follow_heap(steps)
    assert [full.step, pinned.step, trimmed.step] == [
        "allocate 10000 1000",
        "free_all_but_last",
        "trim",
    ]
    assert 10_000_000 < full.live_bytes < 10_200_000
    assert pinned.live_bytes == trimmed.live_bytes < 20_000
    assert abs(full.rss_bytes - full.live_bytes) < 512 * KIB
    assert pinned.rss_bytes >= full.rss_bytes
    assert trimmed.rss_bytes < 512 * KIB
