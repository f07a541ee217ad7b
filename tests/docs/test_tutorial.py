"""docs/tutorial.md, done as it is written: every block, in order, in an empty folder."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from tests.docs.test_docs import DOCS, blocks_of, commands_in


def run(command: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, f"{shlex.join(command)[:300]}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return done


@pytest.mark.nightly
def test_the_tutorial_works_as_it_is_written(tmp_path: pathlib.Path) -> None:
    said = []
    first = ""
    for block in blocks_of(DOCS / "tutorial.md"):
        kind, *words = block.words.split()
        if kind == "python":
            first = first or block.text
            text = first.partition("os.makedirs")[0] + block.text if words == ["tutorial", "next"] else block.text
            said.append(run([sys.executable, "-c", text], tmp_path).stdout)
        elif kind == "yaml":
            (tmp_path / words[1]).write_text(block.text)
        elif kind == "bash":
            for command in commands_in(block):
                assert command[0] == "liteferry"
                said.append(run([sys.executable, "-m", "liteferry", *command[1:]], tmp_path).stdout)
    assert any("% right" in text for text in said)
    assert "3 of 4 models were done already" in said[-1]
    fleet = json.loads((tmp_path / "out" / "fleet.json").read_text())
    assert fleet["totals"]["blessed"] == 4
