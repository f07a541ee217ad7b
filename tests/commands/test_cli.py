"""The command line: help with examples, at once; completion; an interrupted run ends and says how to go on."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time

import h5py
import psutil
import pytest

from liteferry.cli import build_parser
from liteferry.commands import completion
from liteferry.output.progress import Watcher
from liteferry.sandbox.nursery import NAME_PREFIX, UNIT
from tests.support import arguments_of_three, liteferry

COMMANDS: dict[str, argparse.ArgumentParser] = next(
    action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_every_command_has_an_example_that_parses(command):
    text = COMMANDS[command].format_help()
    examples = re.findall(r"^  (liteferry .+)$", re.split(r"\nexamples?:\n", text)[1], flags=re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        assert words[1] == command
        _, unknown = build_parser().parse_known_args(words[1:])
        assert not unknown


def test_help_imports_nothing_heavy():
    finished = liteferry("--help")
    assert finished.returncode == 0 and "exit status" in finished.stdout
    heavy = "{'tensorflow', 'apache_beam', 'rich', 'shtab'}"
    program = f"import sys, liteferry.cli; liteferry.cli.build_parser(); print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.nightly  # processor time means what it says on an idle machine
def test_help_is_instant():
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert liteferry("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < 1.0


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion_names_every_command_and_the_shell_takes_it(shell, tmp_path):
    script = liteferry("completion", shell).stdout
    assert all(command in script for command in COMMANDS)
    if shutil.which(shell) and shell != "tcsh":
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=60)


def test_bash_completes_commands_and_flags(tmp_path):
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    (tmp_path / "script").write_text(liteferry("completion", "bash").stdout)
    ask = (
        f"source {shlex.quote(str(tmp_path / 'script'))}; "
        'COMP_WORDS=(liteferry run --check); COMP_CWORD=2; _shtab_liteferry liteferry --check run; echo "${COMPREPLY[@]}"'
    )
    assert "--checkpoints" in subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.parametrize(
    ("flag", "typed", "wanted"),
    [
        ("--variants", "dyn", "dynamic_int8"),
        ("--metrics", "AU", "AUC"),
        ("--trust", "lam", "lambda"),
        ("--config", "jo", "job.yaml"),
    ],
)
def test_bash_completes_values(tmp_path, flag, typed, wanted):
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    (tmp_path / "job.yaml").write_text("models: []\n")
    (tmp_path / "script").write_text(completion.script(build_parser(), "bash"))
    ask = (
        f"source {shlex.quote(str(tmp_path / 'script'))}; COMP_WORDS=(liteferry run {flag} {typed}); COMP_CWORD=3; "
        f'_shtab_liteferry liteferry {typed} {flag}; echo "${{COMPREPLY[@]}}"'
    )
    said = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path).stdout
    assert wanted in said.split()


def units_of(launcher):
    """The processes at work on a model below a launcher."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [one for one in psutil.Process(launcher).children(recursive=True) if one.name() == f"{NAME_PREFIX}{UNIT}"]
    return []


def test_ctrl_c_ends_a_run_and_says_how_to_go_on(tmp_path):
    """The builder never returns, and no limit ends it, so nothing but the signal ends this run."""
    (tmp_path / "endless.py").write_text("import time\ndef build():\n    time.sleep(100_000)\n")
    with h5py.File(tmp_path / "one.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = [[1.0]]
    (tmp_path / "job.yaml").write_text(
        'models: [{checkpoints: "*.h5", builder: "endless:build"}]\nmodules: [endless.py]\nlimits: {seconds_per_model: 100000}\n'
    )
    heard = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
    command = [
        sys.executable,
        "-c",
        heard,  # a shell has what it starts in the background ignore Ctrl-C, these tests with it, and whatever they start
        sys.executable,
        "-m",
        "liteferry",
        "run",
        "--config",
        str(tmp_path / "job.yaml"),
        "--output",
        str(tmp_path / "out"),
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        watcher = Watcher(str(tmp_path / "out"))
        while not (watcher.running and units_of(run.pid)) and run.poll() is None:
            list(watcher.new_lines())
            time.sleep(0.1)
        assert "one" in watcher.running
        os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to the whole group
        _, said = run.communicate(timeout=600)
        assert "the same command goes on with the rest" in said and "Traceback" not in said
        assert run.returncode == 130
    finally:
        if run.poll() is None:
            run.kill()


@pytest.mark.nightly  # a run more
def test_verbose_shows_what_the_libraries_say_and_otherwise_they_are_quiet(demo, three, tmp_path):
    verbose = liteferry(*arguments_of_three(demo), "--output", tmp_path / "out", "--verbose")
    assert verbose.returncode == three.said.returncode == 1, verbose.stderr
    assert [line for line in three.said.stderr.splitlines() if not line.startswith("[")] == []
    assert "--- liteferry.exporting.one_model:export_models ---" in verbose.stderr
    assert "apache_beam" in verbose.stderr
    assert verbose.stdout.replace(str(tmp_path / "out"), "OUT") == three.said.stdout.replace(str(three.out), "OUT")


def test_check_prints_json_for_machines(demo):
    fleet = demo.out / "fleet"
    checkpoint = fleet / "checkpoints" / "mlp.keras"
    arguments = ["--checkpoints", checkpoint, "--samples", fleet / "digits.parquet", "--variants", "float32,int8"]
    facts = json.loads(liteferry("check", *arguments, "--json").stdout)
    (model,) = facts["models"]
    assert model == {"model_id": "mlp", "kind": "keras", "uri": str(checkpoint), "refused": [], "state": "ready"} | {
        "problems": [],
        "unknown": [],
        "notes": [],
        "hints": [],
    }
    assert facts["variants"] == ["float32", "int8"]
    assert facts["samples"]["samples"]["rows"] == facts["samples"]["samples"]["rows_in_files"] == 360
    assert facts["samples"]["samples"]["columns"]["image"] == {"dtype": "float32", "shape": [8, 8, 1]}
