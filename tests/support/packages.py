"""The package as users and workers get it: built from the sources, and installed where nothing of this checkout is in reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock")
_LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")


def copy_sources(folder: Path) -> Path:
    """What a build needs, in a folder of its own: a build leaves build/ and *.egg-info behind, and takes what it finds there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "components", folder / "components", ignore=_LEFTOVERS)
    return folder


def build(folder: Path) -> None:
    """The sdist, and the wheel made from it, as `python -m build` and Beam's stager make them."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy_sources(folder / "source"))]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr


class Environment:
    """A virtual environment that has one package and the dependencies of this one; neither PYTHONPATH nor an editable install
    reaches into it.
    """

    def __init__(self, folder: Path, package: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
        self.install("--no-deps", str(_wheel_of(package, folder / "wheel")))
        show_dependencies(self.site)
        self.variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self.variables["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
        self.variables["VIRTUAL_ENV"] = str(folder)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def install(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q", "--disable-pip-version-check"]
        answer = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=300)
        assert answer.returncode == 0, answer.stdout + answer.stderr

    def run(self, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=self.variables, timeout=600, check=False)


def _wheel_of(package: Path, folder: Path) -> Path:
    if package.suffix == ".whl":
        return package
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(package)], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    return wheel


def show_dependencies(site: Path) -> None:
    """Lets an environment see the packages of this one, but for liteferry, which may be installed as a link to this checkout."""
    shown = site.parent / "dependencies"
    shown.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("liteferry", "__editable__")):
            (shown / path.name).symlink_to(path)
    # A plain path in a .pth file adds that folder and none of the .pth files in it.
    (site / "dependencies.pth").write_text(f"{shown}\n")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def worker_pool(environment: Environment, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """Beam's pool of workers, from that environment and in that folder: its port and its process. It and its workers end with the
    context.
    """
    port = free_port()
    command = [str(environment.python), "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with open(folder / "pool.log", "wb") as log:
        # `python` in PATH is what the pool starts workers with.
        pool = subprocess.Popen(command, cwd=folder, env=environment.variables, stdout=log, stderr=log)
    process = psutil.Process(pool.pid)
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            assert pool.poll() is None and time.monotonic() < deadline, (folder / "pool.log").read_text()
            time.sleep(0.1)
        yield port, process
    finally:
        family = [process, *process.children(recursive=True)] if pool.poll() is None else []
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        pool.wait()


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("localhost", port)) == 0
