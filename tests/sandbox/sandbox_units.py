"""What `test_sandbox.py` runs in sandbox processes: `unit(argument, reporter)`, each small and most of them bad."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import importlib
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.sandbox import Reporter

_MEGABYTE = 2**20


def echo(argument: Any, reporter: Reporter) -> None:
    reporter.result(argument)


def size_and_digest(argument: bytes, reporter: Reporter) -> None:
    reporter.result([len(argument), hashlib.sha256(argument).hexdigest()])


def hand_over_then_abort(argument: list[Any], reporter: Reporter) -> None:
    for result in argument:
        reporter.result(result)
    os.abort()


def crash_if(argument: tuple[int, bool], reporter: Reporter) -> None:
    number, is_planted = argument
    reporter.stage(Stage.CONVERT, subject=str(number))
    if is_planted:
        os.abort()
    reporter.result(number * number)


def _announce(reporter: Reporter) -> None:
    reporter.stage(Stage.CONVERT, subject="a model")


def abort(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    print("the assertion that failed", flush=True)
    os.abort()


def segfault(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    ctypes.string_at(0)


def exit_at_once(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    os._exit(3)


def kill_itself(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    os.kill(os.getpid(), signal.SIGKILL)


def count_and_be_killed(path: str, reporter: Reporter) -> None:
    with open(path, "a") as file:
        file.write("a try\n")
    kill_itself(None, reporter)


def call_sys_exit(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    sys.exit("bye")


def raise_keyboard_interrupt(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    raise KeyboardInterrupt


def recurse(_: Any, reporter: Reporter) -> None:
    _announce(reporter)

    def deeper() -> None:
        deeper()

    deeper()


def ask_for_too_much(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    bytearray(2**62)


class _UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


def raise_unprintable(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    raise _UnprintableError


def raise_a_long_message(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    raise ValueError("graph " * 10**6)


def raise_model_error(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    raise ModelError(ReasonCode.NEEDS_FLEX, Stage.EXPORT, "it says so itself")


def hand_over_what_json_cannot_hold(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    reporter.result(object())


def close_every_descriptor(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    os.closerange(0, 4096)


def write_garbage_to_the_channel(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    reporter._channel.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    time.sleep(1000)


def write_json_that_is_no_event(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    body = b'{"event": "stage", "stage": "nowhere", "subject": null}'
    reporter._channel.sendall(struct.pack("!I", len(body)) + body)


def let_a_fork_return_first(_: Any, reporter: Reporter) -> None:
    """The forked copy comes out of this function like the original, and must not speak for it."""
    _announce(reporter)
    copy = os.fork()
    if copy == 0:
        return
    os.waitpid(copy, 0)
    os.abort()


def take_time_for_each_subject(argument: list[tuple[str, float]], reporter: Reporter) -> None:
    for subject, seconds in argument:
        reporter.stage(Stage.CONVERT, subject=subject)
        time.sleep(seconds)


def loop(_: Any, reporter: Reporter) -> NoReturn:
    _announce(reporter)
    while True:
        pass


def ignore_every_signal_and_sleep(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(1000)


def backtrack(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    re.match(r"(a+)+$", "a" * 60 + "b")


def compute_a_huge_power(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    pow(7, 10**9)


def close_every_descriptor_and_sleep(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    os.closerange(0, 4096)
    time.sleep(1000)


def take_memory(argument: int, reporter: Reporter) -> None:
    _announce(reporter)
    held = [b"x" * (50 * _MEGABYTE) for _ in range(argument // (50 * _MEGABYTE))]
    reporter.result(len(held))
    time.sleep(1000)


def take_memory_in_a_grandchild(argument: int, reporter: Reporter) -> None:
    _announce(reporter)
    program = f"import time; held = b'x' * {argument}; time.sleep(1000)"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)


def take_and_give_back_memory(argument: int, reporter: Reporter) -> None:
    held = b"x" * argument
    reporter.result(len(held))


def print_much(argument: int, reporter: Reporter) -> None:
    line = "x" * 1023 + "\n"
    for _ in range(argument // 3 // len(line)):
        print(line, end="")
        print(line, end="", file=sys.stderr)
        os.write(1, line.encode())
    reporter.result("printed")


def print_until_the_log_is_cut(argument: int, reporter: Reporter) -> None:
    os.write(1, b"x" * argument)
    while os.path.getsize(".log") >= argument:
        time.sleep(0.01)
    reporter.result("cut")


def start_threads_that_never_end(_: Any, reporter: Reporter) -> None:
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(1000,), daemon=False).start()
    reporter.result(threading.active_count())


def leave_a_fork_behind(_: Any, reporter: Reporter) -> None:
    """The grandchild holds every descriptor of this process, the channel included."""
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    reporter.result(pid)


def leave_a_daemon_behind(_: Any, reporter: Reporter) -> None:
    """A session and process group of its own: a signal to this process's group does not reach it."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    reporter.result(process.pid)


def see_environment(_: Any, reporter: Reporter) -> None:
    initial = pathlib.Path("/proc/self/environ")
    reporter.result({"now": dict(os.environ), "at_start": initial.read_text(errors="replace") if initial.exists() else ""})


def see_folders(_: Any, reporter: Reporter) -> None:
    pathlib.Path("left behind").write_text("by the unit")
    descriptor, temporary = tempfile.mkstemp()
    os.close(descriptor)
    mode = os.stat(".").st_mode & 0o777
    reporter.result({"cwd": os.getcwd(), "temporary": os.path.dirname(temporary), "names": os.listdir("."), "mode": mode})


def import_each(names: list[str], reporter: Reporter) -> None:
    found = {}
    for name in names:
        try:
            importlib.import_module(name)
            found[name] = "imports"
        except ImportError as error:
            found[name] = f"ImportError: {error}"
    reporter.result(found)


def write_pids_and_sleep(path: str, _: Reporter) -> None:
    """Pids of the nursery, of this process, of one in its group and of one that left it, then the file's final name."""
    follower = subprocess.Popen(["sleep", "1000"])
    leaver = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    pids = [os.getppid(), os.getpid(), follower.pid, leaver.pid]
    pathlib.Path(f"{path}.part").write_text(" ".join(map(str, pids)))
    os.replace(f"{path}.part", path)
    time.sleep(1000)


def announce_and_sleep(path: str, reporter: Reporter) -> None:
    _announce(reporter)
    write_pids_and_sleep(path, reporter)


def sleep_unless_it_is_there(path: str, reporter: Reporter) -> None:
    if os.path.exists(path):
        reporter.result("the second try")
    else:
        announce_and_sleep(path, reporter)


def fail_to_read_once(path: str, reporter: Reporter) -> None:
    if os.path.exists(path):
        reporter.result("the second try")
        return
    pathlib.Path(path).touch()
    raise OSError(errno.EIO, os.strerror(errno.EIO), "a file")


def always_fail_to_read(_: Any, reporter: Reporter) -> None:
    _announce(reporter)
    raise OSError(errno.EIO, os.strerror(errno.EIO), "a file")


def try_to_reach_outside(outside: str, reporter: Any) -> None:
    """Everything a child might do to what is not its own. Reports what the kernel let it do."""
    folder, launcher = pathlib.Path(outside), os.getppid()
    attempts: dict[str, Callable[[], object]] = {
        "write a file": lambda: (folder / "new").write_text("new"),
        "change a file": lambda: (folder / "kept").write_text("changed"),
        "cut a file": lambda: os.truncate(folder / "kept", 0),
        "remove a file": lambda: (folder / "kept").unlink(),
        "rename a file": lambda: (folder / "kept").rename(folder / "other"),
        "make a folder": lambda: (folder / "sub").mkdir(),
        "remove the folder": lambda: shutil.rmtree(folder),
        "make a link": lambda: (folder / "link").symlink_to("/etc"),
        "move a file out": lambda: shutil.move("own", folder / "own"),
        "write from a shell": lambda: subprocess.run(["sh", "-c", f"echo x > {folder}/shell"], check=True, stderr=-3),
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", int((folder / "port").read_text())), timeout=2),
        "send by UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
        "signal the launcher": lambda: os.kill(launcher, signal.SIGCONT),
    }
    pathlib.Path("own").write_text("its own scratch folder")
    done = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            done[name] = "done"
        except (OSError, subprocess.CalledProcessError) as error:
            done[name] = type(error).__name__
    reporter.result(done)


def write_below(folder: str, reporter: Any) -> None:
    """What a unit of work does in the folder that is given to it."""
    os.makedirs(os.path.join(folder, "sub"))
    with open(os.path.join(folder, "sub", "file.tmp"), "w") as file:
        file.write("content")
    os.replace(os.path.join(folder, "sub", "file.tmp"), os.path.join(folder, "file"))
    os.rmdir(os.path.join(folder, "sub"))
    reporter.result(os.listdir(folder))


def in_pieces(item: Any, reporter: Reporter) -> None:
    """Hands each item back, then waits for the next one. Some items say what to do."""
    reporter.stage(Stage.EXPORT, subject=str(item))
    while item is not None:
        print(f"about {item}", flush=True)
        if item == "abort":
            os.abort()
        if item == "take the next name":
            pathlib.Path(".item-2").symlink_to("/etc/hostname")
        reporter.result([item, os.getpid()])
        item = reporter.wait()


def waits_for_nobody(argument: Any, reporter: Reporter) -> None:
    for number in range(3):
        reporter.result(number)
        assert reporter.wait() is None
