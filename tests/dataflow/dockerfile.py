"""A Dockerfile's steps without Docker: each stage is a folder with a virtual environment, and what RUN says runs there.

Paths inside are those below the stage's folder; RUN lines have to name theirs relative to WORKDIR. Images of other makers are
not there: what is copied from them is listed and left out.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from tests.support.packages import show_dependencies


@dataclasses.dataclass
class Stage:
    """What a stage became: its folder, its WORKDIR, its variables, and (image, path) pairs copied from images of others."""

    base: str
    root: Path
    work: str = "/"
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    from_others: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    entrypoint: str = ""
    ran: list[str] = dataclasses.field(default_factory=list)

    @property
    def python(self) -> Path:
        return self.root / ".venv" / "bin" / "python"

    def place(self, path: str) -> Path:
        return self.root / (PurePosixPath(self.work) / path).relative_to("/")

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        path = os.pathsep.join([str(self.python.parent), os.environ["PATH"]])
        return {**kept, **self.variables, "PATH": path, "VIRTUAL_ENV": str(self.python.parents[1])}


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(FROM, "python:3.11 AS wheel") and so on: comments gone, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, value = line.partition(" ")
        yield name, value.strip()


def is_sent(path: str, ignored: str) -> bool:
    """Whether .dockerignore lets a file of the context through: the last line that matches it or a folder above it decides."""
    sent = True
    names = [str(PurePosixPath(path)), *map(str, list(PurePosixPath(path).parents)[:-1])]
    for line in ignored.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            again = pattern.startswith("!")
            if any(fnmatch.fnmatch(name, pattern.removeprefix("!").replace("**/", "*")) for name in names):
                sent = again
    return sent


def run_stages(dockerfile: Path, context: Path, folder: Path, *, has_dependencies: bool) -> dict[str, Stage]:
    """Does every step of every stage. The stages by name.

    Args:
      has_dependencies: environments see this one's packages, so that pip finds them installed; else they begin empty.
    """
    stages: dict[str, Stage] = {}
    ignored = (context / ".dockerignore").read_text()
    stage = Stage("", folder)
    for name, value in instructions(dockerfile.read_text()):
        if name == "FROM":
            base, _, label = value.partition(" AS ")
            stage = stages[label] = Stage(base, folder / label)
            _make_environment(stage, has_dependencies=has_dependencies)
        elif name == "WORKDIR":
            stage.work = value
            stage.place(".").mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            _copy(value, stage, stages, context, lambda path: is_sent(path, ignored))
        elif name == "RUN":
            _run(value, stage)
        elif name in ("ARG", "ENV"):
            for word in shlex.split(value):
                key, _, text = word.partition("=")
                stage.variables[key] = string.Template(text).safe_substitute(stage.variables)
        elif name == "ENTRYPOINT":
            stage.entrypoint = value
        else:
            raise AssertionError(f"{dockerfile}: {name} is no step that this knows")
    return stages


def _make_environment(stage: Stage, *, has_dependencies: bool) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(stage.root / ".venv")], check=True, timeout=300)
    if has_dependencies:
        (site,) = stage.root.glob(".venv/lib/python*/site-packages")
        show_dependencies(site)


def _copy(value: str, stage: Stage, stages: dict[str, Stage], context: Path, sent: Callable[[str], bool]) -> None:
    *sources, target = [word for word in value.split() if not word.startswith("--")]
    origin = re.match(r"--from=(\S+)", value)
    into = stage.place(target)
    if origin and origin[1] not in stages:
        stage.from_others += [(origin[1], source) for source in sources]
        return
    root = stages[origin[1]].root if origin else context
    for source in sources:
        found = root / source.lstrip("/")
        assert found.exists(), f"COPY {value}: {source} is not there"
        if found.is_dir():
            left_out = _unsent(root, sent) if origin is None else None
            shutil.copytree(found, into, dirs_exist_ok=True, ignore=left_out)
        else:
            assert origin or sent(source), f"COPY {value}: .dockerignore keeps {source} out"
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, into)


def _unsent(root: Path, sent: Callable[[str], bool]) -> Callable[[str, list[str]], set[str]]:
    return lambda folder, names: {name for name in names if not sent((Path(folder) / name).relative_to(root).as_posix())}


def _run(value: str, stage: Stage) -> None:
    command = ["bash", "-euo", "pipefail", "-c", value]
    done = subprocess.run(
        command, cwd=stage.place("."), env=stage.environment(), capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, f"RUN {value}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    stage.ran.append(value)
