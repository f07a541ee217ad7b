"""Whole runs with OUT on a store: reports as on a disk, found again, watched from elsewhere, killed, doubled and refused."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from liteferry import storage
from liteferry.output import run_lock
from liteferry.storage import leases
from tests.support import THREE, Run, arguments_of_three, facts_of, liteferry
from tests.support.emulators import Bucket


@pytest.fixture(scope="module")
def arguments(demo: Run) -> list[str]:
    return arguments_of_three(demo)


def copy_of(out: str, folder: Path) -> Path:
    storage.download(out, str(folder))
    return folder


def assert_equal_in_every_fact(found: Run, expected: Run) -> None:
    assert found.model_ids() == expected.model_ids() == set(THREE), found.said.stderr
    for model_id in THREE:
        assert facts_of(found.report(model_id)) == facts_of(expected.report(model_id)), model_id
    ours, theirs = (json.loads((run.out / "fleet.json").read_text()) for run in (found, expected))
    assert facts_of(ours["models"]) == facts_of(theirs["models"])
    assert {path.name for path in found.out.iterdir()} - {".staging"} == {path.name for path in expected.out.iterdir()} - {
        ".staging"
    }


def stamps(out: str) -> dict[str, str]:
    """Model -> the stamps of its objects, but for a lease that a dead process has left beside them."""
    names = [name for name in storage.files_under(f"{out}/models") if "/PUBLISHING/" not in name]
    of_files = {name: storage.stamp(f"{out}/models/{name}") for name in names}
    models = sorted({name.partition("/")[0] for name in names})
    return {model: repr([stamp for name, stamp in of_files.items() if name.startswith(f"{model}/")]) for model in models}


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, *(["-c", textwrap.dedent(program)] if program else ["-m", "liteferry"]), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def said_by(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    stdout, stderr = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.mark.nightly  # by day one is made whole by a second run, and read in the same ways
def test_a_run_on_a_store_is_a_run_on_a_disk(shared_store: str, arguments: list[str], three: Run, tmp_path: Path) -> None:
    first = liteferry(*arguments, "--output", f"{shared_store}/")
    assert first.stdout.replace(shared_store, "OUT") == three.said.stdout.replace(str(three.out), "OUT"), first.stderr
    assert first.returncode == three.said.returncode == 1
    assert f"Reports: {shared_store}/index.html" in first.stdout
    assert_equal_in_every_fact(Run(copy_of(shared_store, tmp_path / "first"), first), three)
    assert_every_command_takes_it(shared_store, arguments, three)


def assert_every_command_takes_it(out: str, arguments: list[str], three: Run) -> None:
    """What was made on a store is read and found again there as on a disk."""
    assert storage.files_under(f"{out}/.staging") == [".staging"], "nothing is left behind"
    before = stamps(out)
    again = liteferry(*arguments, "--output", out)
    assert "3 of 3 models were done already and have not changed; nothing was left to do." in again.stdout, again.stdout
    assert stamps(out) == before, "what is done is not touched"
    assert again.returncode == 1

    there, here = liteferry("show", out), liteferry("show", three.out)
    assert there.stdout.replace(out, "OUT") == here.stdout.replace(str(three.out), "OUT")
    assert f"Reports: {out}/index.html" in again.stdout
    shown = liteferry("show", out, "--json")
    assert json.loads(shown.stdout) == json.loads(storage.read_bytes(f"{out}/fleet.json"))
    verified = liteferry("verify", out)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout == "3 models, 2 blessed, 4 blessed artifacts run again: no problem\n"
    page = storage.read_bytes(f"{out}/models/mlp/report.html")
    storage.write_bytes(f"{out}/models/mlp/report.html", b"")
    assert liteferry("report", out).returncode == 0
    assert storage.read_bytes(f"{out}/models/mlp/report.html") == page


IN_MEMORY = """
    import sys
    from liteferry import cli, storage

    status = cli.main(sys.argv[2:])
    storage.download("memory://fleet/out", sys.argv[1])
    sys.exit(status)
"""


@pytest.mark.nightly  # one more whole run
def test_any_place_that_fsspec_has_a_driver_for_will_do(arguments: list[str], three: Run, tmp_path: Path) -> None:
    said = said_by(start(IN_MEMORY, str(tmp_path / "copy"), *arguments, "--output", "memory://fleet/out"))
    assert said.returncode == 1, said.stderr
    assert_equal_in_every_fact(Run(tmp_path / "copy", said), three)


@pytest.mark.nightly  # two runs; tests/storage/test_leases.py has the rule
def test_of_two_launchers_at_once_one_runs_and_the_other_says_so(
    s3: Bucket, arguments: list[str], three: Run, tmp_path: Path
) -> None:
    out = f"{s3.uri}/out"
    both = [said_by(process) for process in [start("", *arguments, "--output", out) for _ in range(2)]]
    refused = [said for said in both if "another run is writing here" in said.stderr]
    assert len(refused) == 1, [said.stderr for said in both]
    assert (refused[0].returncode, refused[0].stdout) == (1, "")
    words = rf"liteferry: {re.escape(out)}: another run is writing here: process \d+ on \S+ since .* UTC\. Wait for it, or give"
    assert re.match(words, refused[0].stderr)
    (other,) = [said for said in both if said is not refused[0]]
    assert_equal_in_every_fact(Run(copy_of(out, tmp_path / "copy"), other), three)


# What is left of a launcher's lock when a job goes on without its launcher.
WITHOUT_LAUNCHER = """
    import contextlib, sys
    from liteferry import cli
    from liteferry.output import run_lock

    run_lock.exclusive = lambda out: contextlib.nullcontext()
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.nightly  # two whole runs at once
def test_two_jobs_at_once_without_a_launcher_come_to_the_same_end(
    shared_store: str, arguments: list[str], three: Run, tmp_path: Path
) -> None:
    both = [said_by(p) for p in [start(WITHOUT_LAUNCHER, *arguments, "--output", shared_store) for _ in range(2)]]
    assert [said.returncode for said in both] == [1, 1], [said.stderr for said in both]
    assert_equal_in_every_fact(Run(copy_of(shared_store, tmp_path / "copy"), both[0]), three)
    assert liteferry("verify", shared_store).stdout == "3 models, 2 blessed, 4 blessed artifacts run again: no problem\n"


@pytest.mark.nightly  # tests/output/test_store_publish.py kills the publisher at each request
def test_a_run_that_is_killed_is_finished_by_the_next_one_at_once(
    gs: Bucket, arguments: list[str], three: Run, tmp_path: Path
) -> None:
    out = f"{gs.uri}/out"
    run = start("", *arguments, "--processes", "1", "--output", out)
    while not (
        done := [name for name in THREE if {"BLESSED", "NOT_BLESSED"} & set(storage.list_directory(f"{out}/models/{name}"))]
    ):
        assert run.poll() is None, said_by(run).stderr
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    said_by(run)
    before = stamps(out)
    assert run_lock.is_going_on(out) is False, "who is dead runs no more"
    again = liteferry(*arguments, "--output", out)
    assert_equal_in_every_fact(Run(copy_of(out, tmp_path / "copy"), again), three)
    assert {name: stamps(out)[name] for name in done} == {name: before[name] for name in done}, "what was done is not done again"


def test_a_store_that_refuses_one_model_costs_that_model_alone_and_the_next_run_makes_it_whole(
    s3: Bucket, arguments: list[str], three: Run, tmp_path: Path
) -> None:
    out = f"{s3.uri}/out"
    s3.fail("PUT", "/models/mlp/tflite/", status=403)
    s3.fail("PUT", "/models/mlp/BLESSED", status=403)
    s3.fail("PUT", "/models/cnn/", status=503, times=2)
    said = liteferry(*arguments, "--output", out)
    s3.faults.forget()
    facts = json.loads(storage.read_bytes(f"{out}/fleet.json"))
    ends = {model["model_id"]: (model["status"], model["reason"] and model["reason"]["code"]) for model in facts["models"]}
    assert ends == {
        "mlp": ("failed", "STORAGE_FAILED"),
        "cnn": ("blessed", None),
        "broken_truncated": ("failed", "LOAD_CORRUPT"),
    }
    assert "check the credentials" in next(model["reason"]["message"] for model in facts["models"] if model["model_id"] == "mlp")
    assert said.returncode == 1
    before = stamps(out)
    again = liteferry(*arguments, "--output", out)
    assert "2 of 3 models were done already and have not changed; 1 done now." in again.stdout
    assert {name: stamp for name, stamp in stamps(out).items() if name != "mlp"} == {
        name: stamp for name, stamp in before.items() if name != "mlp"
    }
    assert again.returncode == 1
    assert_equal_in_every_fact(Run(copy_of(out, tmp_path / "copy"), again), three)
    assert_every_command_takes_it(out, arguments, three)


def test_a_store_that_refuses_everything_is_told_in_one_message(s3: Bucket, arguments: list[str]) -> None:
    s3.fail("PUT", "/out/", status=403)
    said = liteferry(*arguments, "--output", f"{s3.uri}/out")
    assert (said.returncode, said.stdout) == (1, "")
    assert f"\nliteferry: {s3.uri}/out/.staging/lock/000000001.json: cannot be created: " in f"\n{said.stderr}"
    assert "check the credentials" in said.stderr
    assert "Traceback" not in said.stderr
    assert s3.names() == []


# Watched from elsewhere


def report(model_id: str) -> dict[str, Any]:
    return {"model_id": model_id, "status": "failed", "reason": None, "variants": {}, "saved_model": None}


def test_a_run_that_goes_on_is_watched_from_any_machine(shared_store: str, three: Run) -> None:
    storage.upload(str(three.out / "models"), f"{shared_store}/models")
    storage.remove_tree(f"{shared_store}/models/mlp/BLESSED")
    line = {"doing": "mlp", "stage": "export", "since": time.time()}
    storage.write_bytes(f"{shared_store}/.staging/progress/worker-7.000000.jsonl", json.dumps(line).encode() + b"\n")
    with leases.exclusive(f"{shared_store}/.staging/lock", place=shared_store):
        shown = liteferry("show", shared_store, "--json")
        refused = liteferry("verify", shared_store)
    assert f"{shared_store}: a run is going on, 2 report(s) so far\nrunning: mlp, " in shown.stderr
    assert {model["model_id"] for model in json.loads(shown.stdout)["models"]} == {"cnn", "broken_truncated"}, (
        "no marker, no model"
    )
    assert (refused.returncode, "verify it when it has ended" in refused.stderr) == (2, True)


def test_a_job_without_a_launcher_is_known_until_its_fleet_is_written(store: str) -> None:
    from liteferry.output import fleet_files

    assert run_lock.submitted(store) == []
    run_lock.note_submitted(store)
    (words,) = run_lock.submitted(store)
    assert re.fullmatch(r"submitted from \S+ at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", words)
    run_lock.clear_leftovers(store)
    assert run_lock.submitted(store) == [words], "another launcher does not know whether it still runs"
    fleet_files.write([], store, "run")
    assert run_lock.submitted(store) == []
    assert storage.exists(f"{store}/fleet.json")


def test_one_process_at_a_time_writes_the_fleets_files(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from liteferry.output import fleet_files
    from liteferry.report.fleet import write_fleet

    inside = most = 0

    def slowly(out: str, facts: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        write_fleet(out, facts)
        inside -= 1

    monkeypatch.setattr(leases, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("liteferry.output.fleet_files.write_fleet", slowly)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(fleet_files.write, [], store, f"run {number}") for number in range(3)]:
            future.result()
    assert most == 1


def test_lines_of_many_processes_are_seen_once_each(store: str) -> None:
    from liteferry.output.progress import Watcher
    from liteferry.storage.append_log import StoreLog

    logs, watcher = [StoreLog(f"{store}/.staging/progress") for _ in range(2)], Watcher(store)
    seen = []
    for number in range(300):
        for which, log in enumerate(logs):
            log.append(json.dumps({"model_id": f"{which}-{number}", "status": "blessed", "line": "x" * 400, "is_new": True}))
        if number % 50 == 49:
            logs[number // 50 % 2].flush()
            seen += [line["model_id"] for line in watcher.new_lines()]
    for log in logs:
        log.flush()
        log.close()
    seen += [line["model_id"] for line in watcher.new_lines()]
    assert sorted(seen) == sorted(f"{which}-{number}" for which in range(2) for number in range(300))
    assert len(storage.list_directory(f"{store}/.staging/progress")) > len(logs), "parts stay small"


def test_what_the_store_does_not_take_of_the_progress_costs_nothing(memory_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from liteferry.errors import StorageError
    from liteferry.storage.append_log import StoreLog

    def refuse(*_: object) -> None:
        raise StorageError("the store is on fire")

    log = StoreLog(f"{memory_store}/progress")
    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_bytes", refuse)
        log.append("first")
        log.flush()
    log.append("second")
    log.flush()
    log.close()
    (name,) = storage.list_directory(f"{memory_store}/progress")
    assert storage.read_bytes(f"{memory_store}/progress/{name}") == b"first\nsecond\n", "it is written when the store takes it"


def test_a_place_that_has_no_driver_is_a_users_mistake(arguments: list[str]) -> None:
    said = liteferry(*arguments, "--output", "nonsense://bucket/out")
    assert (said.returncode, "Traceback" in said.stderr) == (2, False), said.stderr
    assert "--output: nonsense://bucket/out: no driver for nonsense://" in said.stderr
