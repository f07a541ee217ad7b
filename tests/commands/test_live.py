"""What a run tells while it goes on: who watches sees what is done, what is running and since when."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time

import h5py
import pytest
from rich.console import Console

from liteferry.commands import live_display
from liteferry.output.progress import Watcher
from tests.support import Run


def write(out, *lines):
    folder = out / ".staging" / "progress"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "1.jsonl", "a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def doing(model_id, stage="export", since=100.0):
    return {"doing": model_id, "stage": stage, "since": since}


def done(model_id, status="blessed", is_new=True):
    return {"model_id": model_id, "status": status, "line": f"{status}  {model_id}", "is_new": is_new}


def test_a_watcher_knows_what_is_running(tmp_path):
    watcher = Watcher(str(tmp_path))
    assert list(watcher.new_lines()) == [] and watcher.running == {}
    write(tmp_path, doing("a"), doing("b"), doing("a", "evaluate", 101.0))
    assert list(watcher.new_lines()) == []
    assert {name: line["stage"] for name, line in watcher.running.items()} == {"a": "evaluate", "b": "export"}
    write(tmp_path, done("a"), doing("a"))
    assert [line["model_id"] for line in watcher.new_lines()] == ["a"]
    assert set(watcher.running) == {"b"}, "a line that comes late does not bring a finished model back"


def test_half_a_line_and_a_file_that_begins_again_are_no_end_of_watching(tmp_path):
    watcher = Watcher(str(tmp_path))
    write(tmp_path, doing("a"), done("b"), doing("a", "evaluate", 101.0))
    assert [line["model_id"] for line in watcher.new_lines()] == ["b"]
    lines = tmp_path / ".staging" / "progress" / "1.jsonl"
    lines.write_text('{"model_id": "a", "sta')  # the output was removed, and the disk was full after
    assert list(watcher.new_lines()) == []
    lines.write_text('{"model_id": "a", "sta\n[1]\n{}\n' + json.dumps(done("c")) + "\n")
    assert [line["model_id"] for line in watcher.new_lines()] == ["c"]


def test_the_table_has_stage_and_time_and_is_cut(tmp_path):
    running = {f"m{number:02}": doing(f"m{number:02}", since=100.0 - number) for number in range(14)}
    running["[red]x"] = doing("[red]x\x1b[2J", "evaluate", 0.0)
    screen = io.StringIO()
    Console(file=screen, width=100, color_system=None).print(live_display.running_table(running, now=160.0))
    lines = screen.getvalue().splitlines()
    assert len(lines) == live_display.RUNNING_SHOWN + 1 and "and 5 more" in lines[-1]
    assert "[red]x␛[2J" in lines[0] and "2 min 40 s" in lines[0] and "\x1b" not in lines[0]
    assert "exporting the SavedModel" in lines[1]


def test_on_a_terminal_failures_stay_and_the_bar_counts(tmp_path):
    watcher = Watcher(str(tmp_path))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with live_display.on_terminal(watcher, 3, console) as on_line:
        write(tmp_path, doing("c"))
        for number, line in enumerate([done("a"), done("b", "failed"), done("z", is_new=False)], start=1):
            list(watcher.new_lines())
            on_line(line, number)
        time.sleep(0.6)
    text = screen.getvalue()
    assert "failed  b" in text and "blessed  a" not in text.replace("not blessed  a", "")
    assert "3/3" in text and "1 not blessed" in text and "a minute" in text and "exporting the SavedModel" in text


@pytest.mark.parametrize(("is_quiet", "said"), [(False, "[1/2] blessed  a\n"), (True, "")])
def test_elsewhere_there_are_plain_lines(tmp_path, capsys, is_quiet, said):
    with live_display.shown(Watcher(str(tmp_path)), 2, is_quiet=is_quiet) as on_line:
        on_line(done("a"), 1)
        on_line(done("b", is_new=False), 2)
    assert capsys.readouterr().err == said


def test_a_real_run_tells_its_stages_and_show_reads_them(tmp_path):
    (tmp_path / "slow.py").write_text("import time\ndef build():\n    time.sleep(12)\n    raise ValueError('no')\n")
    with h5py.File(tmp_path / "one.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = [[1.0]]
    (tmp_path / "job.yaml").write_text('models: [{checkpoints: "*.h5", builder: "slow:build"}]\nmodules: [slow.py]\n')
    out = tmp_path / "out"
    command = [sys.executable, "-m", "liteferry"]
    run = subprocess.Popen([*command, "run", "--config", "job.yaml", "--output", str(out)], cwd=tmp_path)
    try:
        watcher, deadline = Watcher(str(out)), time.monotonic() + 300
        while not watcher.running and run.poll() is None and time.monotonic() < deadline:
            list(watcher.new_lines())
            time.sleep(0.1)
        assert {line["stage"] for line in watcher.running.values()} == {"export"}
        shown = subprocess.run([*command, "show", str(out)], capture_output=True, text=True, timeout=60, check=False)
        assert "a run is going on" in shown.stderr and "running: one" in shown.stderr
    finally:
        run.wait(timeout=300)
    assert Run(out, shown).model_ids()
