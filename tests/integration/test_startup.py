"""A program is held before its first instruction, with its libraries mapped, then runs as ever."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import give_up

from lablib import startup
from lablib.errors import AppError, LabError, TargetError, ToolMissingError, TracerError
from lablib.startup import HeldProgram

PROGRAMS = Path(__file__).parent / "programs"
SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(autouse=True)
def nothing_left_over():
    """Whatever a test does: no child, dead or alive, and no open file may stay behind."""
    files, children = set(os.listdir("/proc/self/fd")), psutil.Process().children()
    yield
    assert set(os.listdir("/proc/self/fd")) <= files
    assert psutil.Process().children() == children


@pytest.fixture(scope="module")
def folder():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="lab-startup-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def program(folder):
    """A program without the library; it exits with 3."""
    return build_program(folder, "-DALONE")


@pytest.fixture
def constructed(tmp_path, monkeypatch):
    """The file that the library's constructor makes."""
    path = tmp_path / "constructed"
    monkeypatch.setenv("CONSTRUCTED", str(path))
    return path


def build_program(folder, *flags, compiler="gcc"):
    source, program = PROGRAMS / "startup_program.c", folder / "program"
    subprocess.run([compiler, "-o", program, source, *flags], check=True)
    return str(program)


def build_library(folder, *flags, compiler="gcc"):
    source, library = PROGRAMS / "startup_library.c", folder / "libstartup.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, *flags], check=True)
    return str(library)


def write_script(folder, text, mode=0o755):
    script = folder / "script"
    script.write_text(text)
    script.chmod(mode)
    return str(script)


def mapped_files(pid):
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {Path(line.split()[5]).name for line in lines if "/" in line}


def run_to_the_end(*command):
    with HeldProgram(command) as held:
        held.release()
        return held.wait(20)


def run_as_user(script, *words):
    """Run Python code as an ordinary user, in a process of its own; return what it says."""
    path = f"import sys; sys.path.insert(0, {str(Path(startup.__file__).parents[1])!r})\n"
    imports = "import os, signal, threading, time; from lablib.startup import HeldProgram\n"
    nobody = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
    return subprocess.run(
        [SYSTEM_PYTHON, "-I", "-B", "-c", path + imports + script, *words],
        **(nobody if os.geteuid() == 0 else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
@pytest.mark.parametrize("relro", [True, False], ids=["", "library-without-relro"])
@pytest.mark.parametrize("flag", ["-pie", "-no-pie", "-Wl,-z,norelro", "-Wl,-z,lazy", "-Wl,-z,now"])
def test_libraries_are_mapped_and_no_constructor_has_run(
    compiler, relro, flag, tmp_path, constructed
):
    if shutil.which(compiler) is None:
        give_up("allocators", f"no {compiler} here: install musl-tools", could_have_run=False)
    library_flags = [] if relro else ["-Wl,-z,norelro"]
    library = build_library(tmp_path, *library_flags, compiler=compiler)
    flags = [flag, library, f"-Wl,-rpath,{tmp_path}"]
    with HeldProgram([build_program(tmp_path, *flags, compiler=compiler)]) as held:
        assert psutil.Process(held.pid).status() == psutil.STATUS_TRACING_STOP
        libc = "libc.so.6" if compiler == "gcc" else "libc.so"
        assert {"program", "libstartup.so", libc} <= mapped_files(held.pid)
        assert not constructed.exists()
        assert not held.is_late
        held.release()
        assert held.wait(20) == 7
    assert constructed.exists()


def test_a_preloaded_librarys_constructor_has_not_run(tmp_path, program, constructed, monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", build_library(tmp_path))
    with HeldProgram([program]) as held:
        assert "libstartup.so" in mapped_files(held.pid)
        assert not constructed.exists()
        assert not held.is_late
        held.release()
        assert held.wait(20) == 3
    assert constructed.exists()


def test_an_audit_library_runs_earlier_and_that_is_said(tmp_path, program, monkeypatch):
    monkeypatch.setenv("LD_AUDIT", build_library(tmp_path))
    with HeldProgram([program]) as held:
        assert held.is_late


@pytest.mark.parametrize("flag", ["-static", "-static-pie"])
def test_a_static_program_is_held_where_exec_put_it(flag, tmp_path, capfd):
    with HeldProgram([build_program(tmp_path, "-DALONE", flag), "word"]) as held:
        assert mapped_files(held.pid) == {"program"}
        assert not held.is_late
        time.sleep(0.1)
        assert capfd.readouterr().out == ""
        held.release()
        assert held.wait(20) == 3
    assert capfd.readouterr().out == "[word]"


def test_of_a_script_the_interpreter_is_held(tmp_path, capfd):
    script = write_script(tmp_path, '#!/bin/sh\necho "$0:$1"\n')
    with HeldProgram([script, "two words"]) as held:
        assert os.readlink(f"/proc/{held.pid}/exe") == os.path.realpath("/bin/sh")
        held.release()
        assert held.wait(20) == 0
    assert capfd.readouterr().out == f"{script}:two words\n"


def test_arguments_arrive_byte_for_byte(program, capfdbinary):
    arguments = [
        "",
        "two words",
        "a\nline",
        "$HOME'\"\\*",
        "gr\u00fc\u00df",
        os.fsdecode(b"\xff\xfe"),
    ]
    assert run_to_the_end(program, *arguments) == 3
    expected = b"".join(b"[%s]" % os.fsencode(argument) for argument in arguments)
    assert capfdbinary.readouterr().out == expected


def test_streams_folder_environment_and_signals_are_as_subprocess_gives_them(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_WORD", "hello")
    command = [
        *("sh", "-c"),
        "pwd; echo $LAB_WORD >&2; ls -l /proc/self/fd/0 | sed 's/.*->//'; ls /proc/self/fd;"
        "exec grep -E 'Sig(Blk|Ign|Cgt)|Groups|Threads|NSpgid|NSsid' /proc/self/status",
    ]
    blocked = {signal.SIGUSR2, signal.SIGRTMIN + 3}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        with open("/dev/null") as file:
            os.set_inheritable(file.fileno(), True)
            subprocess.run(command, check=True)
            expected = capfd.readouterr()
            run_to_the_end(*command)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask | blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert capfd.readouterr() == expected


def test_exit_codes_are_those_of_subprocess(program):
    assert run_to_the_end("sh", "-c", "exit 42") == 42
    assert run_to_the_end("sh", "-c", "kill -KILL $$") == -signal.SIGKILL


def test_a_held_program_gets_its_signals_once_it_is_released():
    with HeldProgram(["sleep", "60"]) as held:
        os.kill(held.pid, signal.SIGTERM)
        time.sleep(0.1)
        assert held.poll() is None
        held.release()
        assert held.wait(20) == -signal.SIGTERM


def test_a_program_that_is_killed_while_held_has_its_exit_code():
    with HeldProgram(["sleep", "60"]) as held:
        os.kill(held.pid, signal.SIGKILL)
        assert held.wait(20) == -signal.SIGKILL
        held.release()


def test_waiting_ends_after_its_timeout_and_release_may_be_repeated():
    with HeldProgram(["sleep", "60"]) as held:
        held.release()
        held.release()
        with pytest.raises(subprocess.TimeoutExpired):
            held.wait(0.1)
    assert held.poll() == -signal.SIGTERM


def test_a_program_that_ignores_sigterm_is_killed(monkeypatch, capfd):
    monkeypatch.setattr(startup, "GRACE_S", 0.2)
    with HeldProgram(["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"]) as held:
        held.release()
        while not capfd.readouterr().out:
            time.sleep(0.01)
    assert held.poll() == -signal.SIGKILL


def test_only_the_thread_that_started_a_program_may_release_it(program):
    refused = []

    def release(held):
        with pytest.raises(TracerError) as caught:
            held.release()
        refused.append(caught.value)

    with HeldProgram([program]) as held:
        thread = threading.Thread(target=release, args=[held])
        thread.start()
        thread.join()
        assert "by the thread that started it" in str(refused[0])
        held.release()
        assert held.wait(20) == 3


def test_any_thread_may_start_a_program(program):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run_to_the_end(program)))
    thread.start()
    thread.join()
    assert codes == [3]


def test_a_hundred_starts_leave_nothing_behind(program):
    for _ in range(100):
        with HeldProgram([program]) as held:
            assert not held.is_late


@pytest.mark.parametrize(
    ("text", "mode", "error", "message"),
    [
        ("#!/bin/sh\n", 0o644, AppError, "not an executable file"),
        ("#!/no/such/program\n", 0o755, AppError, "interpreter or loader .* is missing"),
        ("echo\n", 0o755, AppError, "first line must be like #!/bin/sh"),
    ],
)
def test_what_can_not_be_run_is_an_error_with_its_reason(text, mode, error, message, tmp_path):
    with pytest.raises(error, match=message):
        HeldProgram([write_script(tmp_path, text, mode)])


@pytest.mark.parametrize("name", ["no-such-program", "./no/such/program", ""])
def test_a_program_that_is_not_there_is_called_missing(name):
    with pytest.raises(ToolMissingError, match="there is no program called"):
        HeldProgram([name])


@pytest.mark.parametrize("command", [[], ["true", "nul\0byte"], ["true", "x" * 10**7]])
def test_an_impossible_command_is_an_error(command):
    with pytest.raises(LabError):
        HeldProgram(command)


def test_a_program_whose_library_is_missing_is_an_error(tmp_path, capfd):
    library = build_library(tmp_path)
    program = build_program(tmp_path, library, f"-Wl,-rpath,{tmp_path}")
    Path(library).unlink()
    with pytest.raises(AppError, match=r"ended before its first instruction with exit code 127"):
        HeldProgram([program])
    assert "libstartup.so" in capfd.readouterr().err


@pytest.fixture
def stuck_linker(tmp_path, monkeypatch):
    """A library to preload that never comes: opening it waits."""
    os.mkfifo(tmp_path / "libstuck.so")
    monkeypatch.setenv("LD_PRELOAD", str(tmp_path / "libstuck.so"))


def test_an_interrupt_while_the_linker_runs_leaves_nothing(program, stuck_linker):
    def interrupt(*_):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            HeldProgram([program])
    finally:
        signal.signal(signal.SIGALRM, handler)


def test_a_signal_while_the_linker_runs_is_passed_on(program, stuck_linker):
    def terminate():
        while not (children := psutil.Process().children()):
            time.sleep(0.01)
        children[0].terminate()

    timer = threading.Timer(0.3, terminate)
    timer.start()
    with pytest.raises(AppError, match=f"by signal {signal.SIGTERM.value}"):
        HeldProgram([program])
    timer.join()


@pytest.mark.parametrize("action", ["pass", "held.release()"], ids=["held", "released"])
def test_a_program_ends_with_its_holder(action):
    script = f"held = HeldProgram(['sleep', '60']); {action}; time.sleep(0.2)\n"
    script += "print(held.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    pid = int(run_as_user(script).stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_ordinary_user_may_hold_a_program():
    script = "held = HeldProgram(['sh', '-c', 'id -u; exit 5'])\n"
    script += "assert 'libc.so' in open(f'/proc/{held.pid}/maps').read()\n"
    script += "assert not held.is_late; held.release(); print(held.wait(20), os.getuid())"
    done = run_as_user(script)
    user, code, same_user = done.stdout.split()
    assert (user, code) == (same_user, "5")


SAY_ERROR = """
try:
    HeldProgram(sys.argv[1:])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_setuid_program_is_refused_to_an_ordinary_user():
    said = run_as_user(SAY_ERROR, "su").stdout
    assert said.startswith("TargetError su has rights of its own")
    assert "sudo ./lab trace --pid" in said


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("kind", "mode", "answer"),
    [
        ("setgid", 0o2755, "has rights of its own"),
        ("capabilities", 0o755, "has rights of its own"),
        ("unreadable", 0o711, "but not read its file"),
    ],
)
def test_a_program_that_can_not_be_held_as_it_is_is_refused(kind, mode, answer, folder):
    copy = folder / kind
    shutil.copy("/bin/true", copy)
    copy.chmod(mode)
    if kind == "capabilities":  # version 2: CAP_NET_RAW permitted, effective at exec
        words = [0x02000001, 1 << 13, 0, 0, 0]
        value = b"".join(word.to_bytes(4, "little") for word in words)
        os.setxattr(copy, "security.capability", value)
    said = run_as_user(SAY_ERROR, str(copy)).stdout
    assert said.startswith("TargetError")
    assert answer in said
    with HeldProgram([str(copy)]) as held:
        assert not held.is_late


def test_root_holds_a_setuid_program_with_its_rights():
    """Root's ptrace takes no rights away."""
    if os.geteuid() != 0:
        with pytest.raises(TargetError):
            HeldProgram(["su"])
    else:
        with HeldProgram(["su"]) as held:
            assert not held.is_late


def test_where_ptrace_is_refused_the_error_says_so():
    number = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
    refuse = (
        "import ctypes, struct; libc = ctypes.CDLL(None)\n"
        f"rules = [(0x20, 0, 0, 0), (0x15, 0, 1, {number}), (6, 0, 0, 0x50001),"
        " (6, 0, 0, 0x7fff0000)]\n"
        "code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *r) for r in rules))\n"
        "program = struct.pack('HxxxxxxP', len(rules), ctypes.addressof(code))\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"  # PR_SET_NO_NEW_PRIVS
        "assert libc.prctl(22, 2, program, 0, 0) == 0\n"  # PR_SET_SECCOMP, with a filter
    )
    done = run_as_user(refuse + SAY_ERROR, "true")
    assert done.stdout.startswith("TracerError this machine lets no program be held")
