"""`sandbox.run`: whatever a unit of work does to its process becomes an Outcome, at once, and costs nobody else anything.

Every case is a real process. No test looks at a clock: what hangs runs into its own time limit and fails by its reason code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import pytest

from liteferry import sandbox
from liteferry.errors import ReasonCode, Stage
from liteferry.sandbox import Flavor, Limits, Outcome, SandboxSpec, frames, nurseries, scratch, supervision
from liteferry.sandbox.nursery import NAME_PREFIX, UNIT
from liteferry.sandbox.pool import WorkPool
from tests.sandbox import sandbox_units
from tests.support.units import run_unit

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLENTY = Limits(seconds=60, memory_bytes=16 * 10**9)
SECRETS = {"AWS_SECRET_ACCESS_KEY": "aws-secret", "GOOGLE_APPLICATION_CREDENTIALS": "/google-secret", "MY_TOKEN": "my-secret"}


@pytest.fixture(scope="module", autouse=True)
def _nurseries() -> None:
    """Both nurseries, started once for this file, by a process that has credentials in its environment."""
    sandbox.close()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        sandbox.warm_up()


def run(
    unit: str,
    argument: Any = None,
    *,
    flavor: Flavor = Flavor.CLEAN,
    writable: Sequence[pathlib.Path] = (),
    readable: Sequence[pathlib.Path] = (),
    **limits: Any,
) -> Outcome:
    return run_unit(
        f"tests.sandbox.sandbox_units:{unit}",
        argument,
        flavor=flavor,
        limits=dataclasses.replace(PLENTY, **limits),
        writable=[str(folder) for folder in writable],
        readable=[str(path) for path in readable],
    )


def only_result(outcome: Outcome) -> Any:
    assert outcome.error is None, outcome.error
    (result,) = outcome.results
    return result


def assert_works(flavor: Flavor = Flavor.CLEAN) -> None:
    assert only_result(run("echo", "still alive", flavor=flavor)) == "still alive"


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_all_end(pids: list[int], *, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in pids if is_running(pid)] == [], "these processes outlived the unit of work"


def wait_for(path: pathlib.Path) -> list[int]:
    """The pids that `write_pids_and_sleep` writes."""
    for _ in range(3000):
        if path.exists():
            return [int(word) for word in path.read_text().split()]
        time.sleep(0.02)
    raise AssertionError(f"{path} never appeared")


# What goes in and what comes out


@pytest.mark.parametrize(
    "result",
    [None, True, 7, "Größe \ud800 \0", [], {"nested": {"list": [1, 2.5, "x", None]}}, "x" * 5_000_000],
    ids=["None", "bool", "int", "text", "empty", "nested", "5 MB"],
)
def test_a_result_comes_back_as_it_was(result: Any) -> None:
    assert only_result(run("echo", result)) == result


def test_floats_come_back_to_the_last_bit() -> None:
    floats = [0.1, 1 / 3, -0.0, 5e-324, math.ulp(1.0), sys.float_info.max, math.inf, -math.inf, math.nan]
    returned = only_result(run("echo", floats))
    assert struct.pack("9d", *returned) == struct.pack("9d", *floats)


def test_an_argument_of_100_megabytes_arrives_whole() -> None:
    argument = bytes(range(256)) * 400_000
    assert only_result(run("size_and_digest", argument)) == [len(argument), hashlib.sha256(argument).hexdigest()]


def test_an_argument_that_cannot_be_pickled_is_the_callers_mistake_and_hurts_nobody_else() -> None:
    with pytest.raises((TypeError, AttributeError), match="pickle"):
        run("echo", threading.Lock())
    assert_works()


def test_results_handed_over_before_a_crash_stand() -> None:
    outcome = run("hand_over_then_abort", [1, {"a": 2.5}, "x" * 1_000_000])
    assert outcome.results == (1, {"a": 2.5}, "x" * 1_000_000)
    assert outcome.error is not None
    assert outcome.error.code == "CRASHED"


@pytest.mark.parametrize("unit", [lambda argument, reporter: None, functools.partial(sandbox_units.echo), str.upper])
def test_a_unit_that_a_child_could_not_import_is_refused_before_anything_runs(unit: Any) -> None:
    with pytest.raises(ValueError, match="a unit of work is a function at the top of a module"):
        sandbox.run(unit, None, SandboxSpec(flavor=Flavor.CLEAN, limits=PLENTY))


# How a unit may end

TIMED_OUT, CRASHED, OUT_OF_MEMORY = ReasonCode.TIMEOUT.value, ReasonCode.CRASHED.value, ReasonCode.OUT_OF_MEMORY.value
KILLED = ReasonCode.KILLED.value


@pytest.mark.parametrize(
    ("unit", "code", "words"),
    [
        ("abort", CRASHED, "SIGABRT"),
        ("abort", CRASHED, "its last words:\nthe assertion that failed"),
        ("segfault", CRASHED, "SIGSEGV"),
        ("exit_at_once", CRASHED, "status 3"),
        ("kill_itself", KILLED, "SIGKILL"),
        ("close_every_descriptor", CRASHED, "closed the channel"),
        ("write_garbage_to_the_channel", CRASHED, "not a message"),
        ("write_json_that_is_no_event", CRASHED, "'nowhere' is not a valid Stage"),
        ("let_a_fork_return_first", CRASHED, "SIGABRT"),
        ("always_fail_to_read", ReasonCode.STORAGE_FAILED.value, "Input/output error"),
        ("call_sys_exit", None, "SystemExit: bye"),
        ("raise_keyboard_interrupt", None, "KeyboardInterrupt"),
        ("recurse", None, "RecursionError: maximum recursion depth"),
        ("raise_unprintable", None, "_UnprintableError: (its __str__ raised ValueError)"),
        ("raise_a_long_message", None, "characters more)"),
        ("hand_over_what_json_cannot_hold", None, "TypeError: Object of type object is not JSON serializable"),
        ("ask_for_too_much", OUT_OF_MEMORY, "MemoryError"),
    ],
)
def test_an_end_becomes_a_reason_with_the_announced_stage(unit: str, code: str | None, words: str) -> None:
    outcome = run(unit)
    assert (outcome.stage, outcome.subject) == (Stage.CONVERT, "a model")
    error = outcome.error
    assert error is not None, "a unit that ended badly passed as one that returned"
    assert (error.code, error.stage) == (code, "convert")
    assert words in error.message
    assert len(error.message) < 30_000, "this goes into a report"


@pytest.mark.parametrize(
    "unit",
    ["loop", "backtrack", "compute_a_huge_power", "ignore_every_signal_and_sleep", "close_every_descriptor_and_sleep"],
)
def test_a_unit_that_does_not_end_is_ended(unit: str) -> None:
    outcome = run(unit, seconds=0.5)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.stage, outcome.subject) == (TIMED_OUT, "convert", "a model")
    assert "seconds_per_model" in outcome.error.message


@pytest.mark.parametrize(
    ("steps", "late"),
    [
        pytest.param([("a", 0.6), ("b", 0.6), ("c", 0.6)], None, id="each subject has the time to itself"),
        pytest.param([("a", 0.1), ("b", 1000), ("c", 0)], "b", id="one takes too long"),
        pytest.param([("a", 0.6), ("a", 0.6), ("a", 1000)], "a", id="a stage more is no subject more"),
    ],
)
def test_the_clock_runs_for_each_subject(steps: list[tuple[str, float]], late: str | None) -> None:
    outcome = run("take_time_for_each_subject", steps, seconds=1)
    assert (outcome.error and outcome.error.code) == (TIMED_OUT if late else None)
    assert outcome.subject == (late or "c")


def test_a_model_error_keeps_its_code_and_stage() -> None:
    error = run("raise_model_error").error
    assert error is not None
    assert (error.code, error.stage, error.message) == ("NEEDS_FLEX", "export", "it says so itself")


# Memory


@pytest.mark.parametrize("unit", ["take_memory", "take_memory_in_a_grandchild"])
def test_memory_beyond_the_limit_ends_the_unit(unit: str) -> None:
    base = run("echo").peak_memory_bytes
    outcome = run(unit, 3 * 10**9, memory_bytes=base + 400 * 10**6)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.stage) == (OUT_OF_MEMORY, "convert")
    assert "memory_gb_per_model" in outcome.error.message
    assert outcome.results == (), "it had taken all it wanted before it was stopped"


def test_the_peak_of_memory_is_known_also_of_a_unit_that_is_over_in_no_time() -> None:
    idle, busy = run("echo").peak_memory_bytes, run("take_and_give_back_memory", 300 * 10**6).peak_memory_bytes
    assert 50 * 10**6 < idle < 10**9
    assert 280 * 10**6 < busy - idle < 600 * 10**6


# What a unit leaves behind


def test_what_a_unit_prints_stays_in_its_sandbox(capfd: pytest.CaptureFixture[str]) -> None:
    assert only_result(run("print_much", 9_000_000)) == "printed"
    assert capfd.readouterr() == ("", "")


def test_the_log_of_a_unit_that_prints_without_end_does_not_fill_the_disk() -> None:
    assert only_result(run("print_until_the_log_is_cut", 100 * 10**6, seconds=20)) == "cut"


def test_threads_that_never_end_do_not_keep_the_process() -> None:
    assert only_result(run("start_threads_that_never_end", seconds=20)) > 3


@pytest.mark.parametrize("unit", ["leave_a_fork_behind", "leave_a_daemon_behind"])
def test_processes_that_a_unit_leaves_behind_die_with_it(unit: str) -> None:
    pid = only_result(run(unit, seconds=20))
    assert_all_end([pid])


def test_the_working_directory_is_private_and_gone_afterwards(tmp_path: pathlib.Path) -> None:
    seen = only_result(run("see_folders"))
    assert seen["cwd"] == seen["temporary"], "temporary files belong where they are cleaned up"
    assert "left behind" in seen["names"]
    assert seen["mode"] == 0o700
    assert not os.path.exists(seen["cwd"])


@pytest.mark.parametrize("flavor", [Flavor.KERAS, Flavor.CLEAN])
def test_credentials_of_the_launcher_are_unknown_to_a_unit(flavor: Flavor) -> None:
    seen = only_result(run("see_environment", flavor=flavor))
    assert seen["now"].keys().isdisjoint(SECRETS)
    for name, value in SECRETS.items():
        assert name not in seen["at_start"]
        assert value not in seen["at_start"]
    assert seen["now"]["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("flavor", "expected"),
    [
        (
            Flavor.CLEAN,
            {"tensorflow": "imports", "keras": "ImportError", "keras.layers": "ImportError", "tf_keras": "ImportError"},
        ),
        (Flavor.KERAS, {"tensorflow": "imports", "keras": "imports", "keras.layers": "imports", "tf_keras": "imports"}),
        (Flavor.KERAS, {"sklearn.base": "imports", "keras.wrappers": "imports"}),  # not preloaded, and there for who needs it
    ],
)
def test_a_flavor_has_what_it_promises(flavor: Flavor, expected: dict[str, str]) -> None:
    found = only_result(run("import_each", list(expected), flavor=flavor))
    assert {name: words.partition(":")[0] for name, words in found.items()} == expected


# Many at once, and for long


def test_of_many_units_at_once_each_gets_its_own_outcome() -> None:
    planted = {3, 4, 11}
    pool = WorkPool(6)
    futures = {number: pool.submit(run, "crash_if", (number, number in planted)) for number in range(20)}
    outcomes = {number: future.result() for number, future in futures.items()}
    assert {number for number, outcome in outcomes.items() if outcome.error is not None} == planted
    for number, outcome in outcomes.items():
        assert outcome.subject == str(number)
        assert outcome.results == (() if number in planted else (number * number,))


def units_of(nursery: psutil.Process) -> list[psutil.Process]:
    """Its children, but for a nursery that it has forked."""
    return [child for child in nursery.children() if child.name() == f"{NAME_PREFIX}{UNIT}"]


def fds_at_rest(nursery: psutil.Process) -> int:
    """How many descriptors a nursery without children holds, once it stopped closing: a child's end is told before the nursery
    closes what it held for it.
    """
    counts = [nursery.num_fds()]
    while len(counts) < 10 or len(set(counts[-10:])) > 1 or units_of(nursery):
        assert len(counts) < 1000, f"a nursery that does not come to rest: {counts[-10:]}, units {units_of(nursery)}"
        time.sleep(0.02)
        counts.append(nursery.num_fds())
    return counts[-1]


def test_fifty_units_leave_no_descriptor_no_zombie_and_no_file() -> None:
    assert_works()
    scratch_root = pathlib.Path(scratch.new_folder()).parent
    before_files = sorted(scratch_root.iterdir())
    nursery = psutil.Process(nurseries.nursery(Flavor.CLEAN).pid)
    before = len(os.listdir("/proc/self/fd")), fds_at_rest(nursery)
    for number in range(50):
        run("crash_if", (number, number % 5 == 0))
    assert (len(os.listdir("/proc/self/fd")), fds_at_rest(nursery)) == before
    assert units_of(nursery) == []
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []
    assert sorted(scratch_root.iterdir()) == before_files


def test_scratch_folders_of_processes_that_were_killed_are_removed_by_the_next_one(tmp_path: pathlib.Path) -> None:
    code = "import sys, time; from liteferry.sandbox import scratch; print(scratch.new_folder(), flush=True); time.sleep(1000)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    launch: Any = {"env": environment, "stdout": subprocess.PIPE, "text": True}
    folders, processes = [], [subprocess.Popen([sys.executable, "-c", code], **launch) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        folders.append(pathlib.Path(process.stdout.readline().strip()).parent)
    killed, killed_just_now, alive = processes
    for process in (killed, killed_just_now):
        process.kill()
        process.wait()
    for folder in (folders[0], folders[2]):
        os.utime(folder, (0, 0))
    subprocess.run([sys.executable, "-c", code.replace("time.sleep(1000)", "pass")], **launch, check=True)
    assert [folder.exists() for folder in folders] == [False, True, True]
    alive.kill()
    alive.wait()


def test_descriptors_beyond_1024_are_as_good_as_any() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2000:
        pytest.skip(f"this machine allows {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    held = [os.dup(0) for _ in range(1100)]
    try:
        assert_works()
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# When the nursery or the launcher dies


@contextlib.contextmanager
def signalling_the_nursery(number: signal.Signals, pids: pathlib.Path) -> Iterator[None]:
    """Sends a signal to the nursery once a unit runs. From here: a unit's own signals do not reach it."""
    thread = threading.Thread(target=lambda: os.kill(wait_for(pids)[0], number))
    thread.start()
    yield
    thread.join()


def test_a_nursery_that_is_killed_costs_no_unit_anything(tmp_path: pathlib.Path) -> None:
    with signalling_the_nursery(signal.SIGKILL, tmp_path / "pids"):
        outcome = run("sleep_unless_it_is_there", str(tmp_path / "pids"), writable=[tmp_path])
    assert only_result(outcome) == "the second try"
    between_units = nurseries.nursery(Flavor.CLEAN).pid
    os.kill(between_units, signal.SIGKILL)
    assert_works()
    assert nurseries.nursery(Flavor.CLEAN).pid != between_units


def test_a_unit_whose_nursery_is_killed_twice_is_given_up_and_may_be_tried_again_later(tmp_path: pathlib.Path) -> None:
    def kill_both() -> None:
        for _ in range(2):
            nursery, *_ = wait_for(tmp_path / "pids")
            (tmp_path / "pids").unlink()
            os.kill(nursery, signal.SIGKILL)

    undone: list[str] = []
    thread = threading.Thread(target=kill_both)
    thread.start()
    outcome = run_unit(
        "tests.sandbox.sandbox_units:announce_and_sleep",
        str(tmp_path / "pids"),
        flavor=Flavor.CLEAN,
        limits=PLENTY,
        writable=[str(tmp_path)],
        before_retry=lambda: undone.append("the first try"),
    )
    thread.join()
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.stage) == (KILLED, "convert")
    assert "parent process was killed" in outcome.error.message
    assert undone == ["the first try"]
    assert not nurseries._single
    assert_works()


def test_a_file_that_could_not_be_read_is_read_again_before_it_is_blamed(tmp_path: pathlib.Path) -> None:
    nursery = nurseries.nursery(Flavor.CLEAN).pid
    assert only_result(run("fail_to_read_once", str(tmp_path / "tried"), writable=[tmp_path])) == "the second try"
    assert nurseries.nursery(Flavor.CLEAN).pid == nursery


def test_a_unit_that_is_not_to_be_repeated_is_not(tmp_path: pathlib.Path) -> None:
    outcome = run_unit(
        "tests.sandbox.sandbox_units:count_and_be_killed",
        str(tmp_path / "tries"),
        flavor=Flavor.CLEAN,
        limits=PLENTY,
        writable=[str(tmp_path)],
        before_retry=None,
    )
    assert outcome.is_killed
    assert (tmp_path / "tries").read_text() == "a try\n"


def test_a_nursery_that_answers_no_more_does_not_hang_the_launcher(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_REAP_S", 0.3)
    with signalling_the_nursery(signal.SIGSTOP, tmp_path / "pids"):
        outcome = run("announce_and_sleep", str(tmp_path / "pids"), writable=[tmp_path], seconds=5)
    assert outcome.error is not None
    assert outcome.error.code == TIMED_OUT
    os.kill(wait_for(tmp_path / "pids")[0], signal.SIGCONT)
    assert_works()


def test_an_interrupted_wait_takes_the_unit_with_it(tmp_path: pathlib.Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    def interrupt_when_it_runs() -> None:
        wait_for(tmp_path / "pids")
        os.kill(os.getpid(), signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=interrupt_when_it_runs)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run("write_pids_and_sleep", str(tmp_path / "pids"), writable=[tmp_path])
    finally:
        signal.signal(signal.SIGUSR1, previous)
        thread.join()
    _, *family = wait_for(tmp_path / "pids")
    assert_all_end(family)


LAUNCHER = """
    import os, sys
    from liteferry import sandbox
    from liteferry.sandbox import Flavor, Limits, SandboxSpec
    from tests.sandbox.sandbox_units import write_pids_and_sleep

    limits = Limits(seconds=60, memory_bytes=8 * 10**9)
    spec = SandboxSpec(flavor=Flavor.CLEAN, limits=limits, writable=[os.path.dirname(sys.argv[1])])
    outcome = sandbox.run(write_pids_and_sleep, sys.argv[1], spec)
    print(outcome.error.code.value, outcome.error.message)
"""


def launcher(folder: pathlib.Path, *, path: list[pathlib.Path]) -> subprocess.Popen[str]:
    program = folder / "launcher.py"
    program.write_text(textwrap.dedent(LAUNCHER))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT, ROOT / "components"]))}
    # In a working directory with a file that would replace TensorFlow, were it on the path.
    (folder / "here").mkdir()
    (folder / "here" / "tensorflow.py").write_text("raise RuntimeError('imported from the working directory')")
    command = [sys.executable, str(program), str(folder / "pids")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder / "here")


def test_when_the_launcher_is_killed_nothing_of_it_goes_on(tmp_path: pathlib.Path) -> None:
    with launcher(tmp_path, path=[]) as process:
        pids = wait_for(tmp_path / "pids")
        assert all(map(is_running, pids))
        process.kill()
    assert_all_end(pids)


def test_when_launcher_and_nursery_are_killed_at_once_no_unit_goes_on(tmp_path: pathlib.Path) -> None:
    with launcher(tmp_path, path=[]) as process:
        nursery, unit, *_ = pids = wait_for(tmp_path / "pids")
        os.kill(process.pid, signal.SIGSTOP)  # so that it cannot tidy up between the two
        os.kill(nursery, signal.SIGKILL)
        process.kill()
    assert_all_end([nursery, unit])
    for pid in pids:  # nobody is left who knows what the unit had started
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_nursery_that_cannot_import_says_why(tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tensorflow.py").write_text("raise ImportError('libsomething.so.7 is missing')")
    with launcher(tmp_path, path=[broken]) as process:
        output = process.communicate(timeout=60)[0]
    assert output.startswith("INTERNAL "), "it is not the model's fault, and the next run tries again"
    assert "libsomething.so.7 is missing" in output


def test_closing_the_sandbox_blames_no_model(tmp_path: pathlib.Path) -> None:
    pool = WorkPool(1)
    future = pool.submit(run, "write_pids_and_sleep", str(tmp_path / "pids"), writable=[tmp_path])
    pids = wait_for(tmp_path / "pids")
    sandbox.close()
    error = future.result().error
    assert error.code == ReasonCode.INTERNAL.value, "a crash would stand in the report for good"
    assert_all_end(pids)


# Messages cut from a stream


def test_messages_survive_any_cut_of_the_stream() -> None:
    messages = [{"event": "result", "result": "x" * size} for size in (0, 1, 300)]
    stream = b"".join(struct.pack("!I", len(body)) + body for body in (json.dumps(message).encode() for message in messages))
    buffer = frames.FrameBuffer()
    assert [message for byte in stream for message in buffer.feed(bytes([byte]))] == messages
    assert list(frames.FrameBuffer().feed(stream)) == messages


@pytest.mark.parametrize(
    "stream",
    [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{", b"\0\0\0\2\xff\xfe", struct.pack("!I", 200_000) + b"[" * 200_000],
    ids=["a length of 4 GB", "no object", "no JSON", "no text", "nests too deep"],
)
def test_bytes_that_are_no_message_are_refused(stream: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # json has its own
        list(frames.FrameBuffer().feed(stream))


# What the kernel holds


@pytest.fixture(scope="module")
def confinement() -> tuple[str, ...]:
    """What this machine's kernel can hold, from a process that was confined for it."""
    code = "from liteferry.sandbox.confine import confine; print(' '.join(confine(())))"
    return tuple(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_child_changes_nothing_outside_reaches_nobody_and_signals_nobody(
    tmp_path: pathlib.Path, confinement: tuple[str, ...]
) -> None:
    if {"files", "network", "signals"} - set(confinement):
        pytest.skip(f"this kernel holds only: {', '.join(confinement) or 'nothing'}")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("content")
    with socket.create_server(("127.0.0.1", 0)) as server:
        (outside / "port").write_text(str(server.getsockname()[1]))
        done = only_result(run("try_to_reach_outside", str(outside), readable=[outside / "port"]))
    assert [name for name, how in done.items() if how == "done"] == []
    assert sorted(path.name for path in outside.iterdir()) == ["kept", "port"]
    assert (outside / "kept").read_text() == "content"


def test_a_child_writes_as_it_likes_in_the_folders_it_was_given(tmp_path: pathlib.Path) -> None:
    assert only_result(run("write_below", str(tmp_path / "given"), writable=[tmp_path / "given"])) == ["file"]


def test_the_network_is_open_to_who_was_given_it(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "port").write_text(str(server.getsockname()[1]))
        outcome = run_unit(
            "tests.sandbox.sandbox_units:try_to_reach_outside",
            str(tmp_path),
            flavor=Flavor.CLEAN,
            limits=PLENTY,
            readable=[str(tmp_path)],
            network=True,
        )
    done = only_result(outcome)
    assert done["connect by TCP"] == done["send by UDP"] == "done"
