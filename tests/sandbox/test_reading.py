"""What a process that loads checkpoints may read: Python, the system's libraries and what its work names. Nothing beside it.

Each case is a real process under the kernel's own confinement; on a kernel without Landlock they are skipped, and what the scans
alone hold is tested among the checkpoints.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liteferry import sandbox
from liteferry.checkpoints.links import LinkRule
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.sandbox import Flavor, Limits, held, reader
from liteferry.sandbox.confine import SWITCH
from liteferry.sandbox.readable import code_in, module_paths
from tests.sandbox import reader_units
from tests.support.units import run_unit

MARKER = Path(__file__).parent.parent / "unconfined.marker"
LIMITS = Limits(seconds=120, memory_bytes=16 * 10**9)
SECRET = "SECRET-of-the-test"

needs_landlock = pytest.mark.skipif("files" not in held.held(), reason="this kernel confines no files")


def run(unit: str, argument: Any, *, flavor: Flavor = Flavor.CLEAN, **access: Any) -> sandbox.Outcome:
    return run_unit(f"tests.sandbox.reading_units:{unit}", argument, flavor=flavor, limits=LIMITS, **access)


def ways_that_read(path: Path | str, **access: Any) -> set[str]:
    outcome = run("read_each", [str(path)], **access)
    assert outcome.error is None, outcome.error
    return {way for way, how in outcome.results[0][str(path)].items() if how == "read"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's folder: a checkpoint, a secret beside it, and code that the job names."""
    (tmp_path / "model.keras").write_text("a checkpoint")
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "layers.py").write_text("import helper\n")
    (tmp_path / "code" / "helper.py").write_text("")
    (tmp_path / "code" / "vocabulary.txt").write_text(SECRET)
    return tmp_path


@needs_landlock
@pytest.mark.parametrize("flavor", [Flavor.CLEAN, Flavor.KERAS])
def test_the_checkpoint_can_be_read_and_a_secret_beside_it_cannot_in_any_way(job: Path, flavor: Flavor) -> None:
    given = {"flavor": flavor, "readable": files_of_checkpoint(str(job / "model.keras"))}
    assert ways_that_read(job / "model.keras", **given) == {"open", "a link", "/proc/self/root", "TensorFlow", "another program"}
    assert ways_that_read(job / "secret.txt", **given) == set()
    assert ways_that_read(job, **given) == set()


@needs_landlock
@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/hostname", "/proc/1/environ", "/root", "/home", "/tmp", "/"])
def test_of_the_machine_nothing_is_read_that_is_somebodys(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"no {path} here")
    assert ways_that_read(path) == set()


def test_what_libraries_ask_of_the_machine_they_get() -> None:
    outcome = run("use_the_machine", None, flavor=Flavor.KERAS)
    assert outcome.error is None, outcome.error
    assert [name for name, is_there in outcome.results[0].items() if not is_there] == []


def test_modules_that_nobody_has_imported_yet_can_be(tmp_path: Path) -> None:
    names = ["sklearn", "pandas", "scipy.stats", "xml.dom.minidom", "sqlite3", "keras.applications", "liteferry.commands.doctor"]
    there = [name for name in names if not name.startswith("sklearn") or _is_installed("sklearn")]
    assert run("import_all", there, flavor=Flavor.KERAS).error is None


@needs_landlock
def test_a_module_in_a_folder_that_may_not_be_read_is_missed_by_its_folder_and_the_key(job: Path) -> None:
    (job / "lib").mkdir()
    (job / "lib" / "nets.py").write_text("")
    outcome = run("import_from", (str(job / "lib"), "nets"), flavor=Flavor.CLEAN)
    assert outcome.error is not None
    assert re.search(f"No module named 'nets'; {job / 'lib'} .* `reads`", outcome.error.message)
    assert run("import_from", (str(job / "lib"), "nets"), flavor=Flavor.CLEAN, readable=[str(job / "lib")]).error is None


def _is_installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


@needs_landlock
def test_of_a_modules_folder_code_is_read_and_data_is_not(job: Path) -> None:
    given = {"readable": module_paths(str(job / "code" / "layers.py"))}
    assert "open" in ways_that_read(job / "code" / "layers.py", **given)
    assert "open" in ways_that_read(job / "code" / "helper.py", **given)
    assert ways_that_read(job / "code" / "vocabulary.txt", **given) == set()
    assert ways_that_read(job / "secret.txt", **given) == set()


@needs_landlock
def test_what_is_listed_can_be_read_and_nothing_beside_it(job: Path) -> None:
    given = {"readable": [str(job / "code" / "vocabulary.txt")]}
    assert "open" in ways_that_read(job / "code" / "vocabulary.txt", **given)
    assert ways_that_read(job / "code" / "layers.py", **given) == set()


@needs_landlock
@pytest.mark.parametrize("unit", ["need", "need_by_tensorflow"])
def test_the_error_names_the_path_and_the_key_to_add(job: Path, unit: str) -> None:
    outcome = run(unit, str(job / "secret.txt"))
    assert outcome.error is not None
    assert f"{job / 'secret.txt'} is not among the paths that this job names" in outcome.error.message
    assert "list it under `reads` in the job file" in outcome.error.message
    assert SECRET not in str(outcome.error)
    assert not outcome.is_misread  # it would be refused a second time, too


def test_a_file_that_nobody_may_read_is_not_blamed_on_the_confinement(tmp_path: Path) -> None:
    outcome = run("need", str(tmp_path / "is not there"), readable=[str(tmp_path)])
    assert outcome.error is not None
    assert "reads" not in outcome.error.message


@needs_landlock
def test_a_link_in_a_checkpoints_folder_opens_what_is_in_the_folder_and_nothing_else(job: Path) -> None:
    folder = job / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "inside").write_text("its own")
    (folder / "variables" / "to_inside").symlink_to(folder / "inside")
    (folder / "variables" / "outside").symlink_to(job / "secret.txt")
    given = {"readable": files_of_checkpoint(str(folder))}
    assert "open" in ways_that_read(folder / "variables" / "to_inside", **given)
    assert ways_that_read(folder / "variables" / "outside", **given) == set()
    trusted = {"readable": files_of_checkpoint(str(folder), LinkRule(trusted=True))}
    assert "open" in ways_that_read(folder / "variables" / "outside", **trusted)


@needs_landlock
def test_a_snapshot_in_a_hubs_cache_is_read_through_its_links(tmp_path: Path) -> None:
    (tmp_path / "models--x" / "blobs").mkdir(parents=True)
    (tmp_path / "models--x" / "blobs" / "0a1b").write_text("weights")
    snapshot = tmp_path / "models--x" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "saved_model.pb").symlink_to("../../blobs/0a1b")
    given = {"readable": files_of_checkpoint(str(snapshot))}
    assert "open" in ways_that_read(snapshot / "saved_model.pb", **given)


@needs_landlock
def test_a_tensorflow_checkpoint_is_its_index_and_its_shards(tmp_path: Path) -> None:
    for name in ("run.index", "run.data-00000-of-00002", "run.data-00001-of-00002", "run2.data-00000-of-00001", "notes"):
        (tmp_path / name).write_text("bytes")
    given = {"readable": files_of_checkpoint(str(tmp_path / "run.index"))}
    can = {name.name for name in tmp_path.iterdir() if "open" in ways_that_read(name, **given)}
    assert can == {"run.index", "run.data-00000-of-00002", "run.data-00001-of-00002"}


@needs_landlock
def test_a_reader_of_headers_reads_what_it_is_asked_and_no_neighbour(job: Path) -> None:
    asked = [{"do": "read", "place": str(job / name)} for name in ("model.keras", "secret.txt")]
    answers = list(reader.ask(reader_units.answer, asked, readable=[str(job / "model.keras")], seconds=30))
    assert [answer["read"] for answer in answers if isinstance(answer, dict)] == [True, False]


# The switch that the tests have


@pytest.mark.parametrize("content", [b"", b"anything", MARKER.read_bytes() + b"more"])
@needs_landlock
def test_a_switch_that_names_another_file_switches_nothing(
    job: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "marker").write_bytes(content)
    monkeypatch.setenv(SWITCH, str(tmp_path / "marker"))
    assert _reads_in_a_process_of_its_own(job / "secret.txt") == "PermissionError"


def test_the_tests_own_switch_opens_what_the_kernel_held(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, str(MARKER))
    assert _reads_in_a_process_of_its_own(job / "secret.txt") == SECRET


def _reads_in_a_process_of_its_own(path: Path) -> str:
    program = (
        "import sys; from liteferry.sandbox.confine import confine\nconfine(())\n"
        "try: print(open(sys.argv[1]).read())\nexcept OSError as error: print(type(error).__name__)"
    )
    said = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    return said.stdout.strip()


# What counts as code


def test_code_in_a_folder_is_modules_and_packages_and_none_of_the_data(tmp_path: Path) -> None:
    files = (
        "module.py",
        "native.so",
        "secret.txt",
        "model.keras",
        "archive.zip",
        "package/__init__.py",
        "package/data.json",
        "namespace/part.py",
        "namespace/notes.txt",
        "namespace/deeper/part.py",
        "not a name/part.py",
        ".hidden/part.py",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = {os.path.relpath(path, tmp_path) for path in code_in(str(tmp_path))[1:]}
    assert found == {"module.py", "native.so", "package", "namespace/part.py", "namespace/deeper/part.py"}
    assert code_in(str(tmp_path))[0] == f"{tmp_path}/."


def test_layered_environments_and_checkouts_on_the_path_are_pythons(tmp_path: Path) -> None:
    """One environment's .pth names the site-packages of another below it, into which a package is linked from a third place; a
    checkout is on PYTHONPATH; a package is installed so that a hook finds it where it is written.
    """
    below, checkout, linked = tmp_path / "below" / "lib" / "site-packages", tmp_path / "checkout", tmp_path / "linked"
    for folder in (below, checkout, linked):
        folder.mkdir(parents=True)
        (folder / "found.py").touch()
        (folder / "secret.txt").touch()
    (below / "lent").symlink_to(tmp_path / "third" / "lent")
    program = (
        "import sys, types; sys.path += sys.argv[1:3]\n"
        "finder = sys.modules['__editable___theirs_finder'] = types.ModuleType('finder')\n"
        "finder.MAPPING = {'theirs': sys.argv[3], 'single': sys.argv[3] + '/found'}\n"
        "from liteferry.sandbox.readable import python_paths\nprint('\\n'.join(python_paths()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, *map(str, (below, checkout, linked))], capture_output=True, text=True, check=True
    )
    listed = said.stdout.splitlines()
    assert str(below) in listed and str(below / "lent") in listed
    assert str(checkout / "found.py") in listed
    assert str(linked) in listed and str(linked / "found.py") in listed
    assert str(checkout) not in listed and str(checkout / "secret.txt") not in listed
