"""What users install is whole, and nothing more: the wheel, the sdist that Beam stages, the declared and the locked versions."""

from __future__ import annotations

import ast
import email.message
import email.parser
import importlib
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.house.test_architecture import PACKAGE, ROOT, modules
from tools.write_lock import lock_lines

# Where an import's name is not its distribution's. Parts of a distribution count as that distribution.
DISTRIBUTION_OF = {"PIL": "pillow", "pydantic_core": "pydantic", "sklearn": "scikit-learn", "yaml": "PyYAML"}
DISTRIBUTION_OF |= {
    "tensorflow_serving": "tensorflow-serving-api",
    "boto3": "apache-beam",
    "ethosu": "ethos-u-vela",
    "google.cloud": "apache-beam",
    "google.protobuf": "protobuf",
}
# Declared, but imported by no statement of ours.
IMPORTED_BY_NAME: dict[str, str] = {}


@pytest.fixture(scope="module")
def wheel(built: pathlib.Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.Parser().parsestr(wheel.read(name).decode())


def requirements(metadata: email.message.Message, *extras: str) -> list[Requirement]:
    """What installing liteferry[extras] asks for, without markers."""
    found = []
    for text in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            found.append(requirement)
    return found


def test_wheel_holds_liteferry_alone(wheel: zipfile.ZipFile, metadata: email.message.Message) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"liteferry", f"liteferry-{metadata['Version']}.dist-info"}


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    """A folder without __init__.py, or a template that package_data does not name, would be left out without a word."""
    expected = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(name.startswith("liteferry/report/templates/") for name in expected)
    assert expected <= set(wheel.namelist()), sorted(expected - set(wheel.namelist()))


def test_sdist_holds_what_beam_workers_install_from(built: pathlib.Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "README.md", "LICENSE", "components/liteferry/errors.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "pipelines"))]


def test_version_stands_in_one_place(metadata: email.message.Message) -> None:
    assert metadata["Version"] == importlib.import_module("liteferry").__version__


def test_console_script_exists(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    match = re.search(r"^liteferry = ([\w.]+):(\w+)$", wheel.read(name).decode(), flags=re.MULTILINE)
    assert match is not None
    assert callable(getattr(importlib.import_module(match[1]), match[2]))


def imported_names(path: pathlib.Path) -> set[str]:
    """Dotted names that a file imports at any depth; `import_module("a")` and `__import__("a")` count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            found |= {str(node.args[0].value)} if node.args and isinstance(node.args[0], ast.Constant) else set()
    return found


def third_party_imports() -> dict[str, list[str]]:
    """Canonical distribution name -> the modules of ours that import it, at any depth."""
    ours = {"liteferry", "digit_layers", "stranger_layers"}  # the demo imports its user's files by their bare names
    found: dict[str, list[str]] = {}
    for module, path in modules().items():
        for name in imported_names(path):
            parts = name.split(".")
            if parts[0] not in sys.stdlib_module_names and parts[0] not in ours:
                name = DISTRIBUTION_OF.get(".".join(parts[:2])) or DISTRIBUTION_OF.get(parts[0]) or parts[0]
                found.setdefault(canonicalize_name(name), []).append(module)
    return found


def test_what_is_imported_is_declared(metadata: email.message.Message) -> None:
    extras = metadata.get_all("Provides-Extra") or []
    declared = {canonicalize_name(requirement.name) for requirement in requirements(metadata, *(set(extras) - {"dev"}))}
    undeclared = {name: modules for name, modules in third_party_imports().items() if name not in declared}
    assert undeclared == {}


def test_what_is_declared_is_imported(metadata: email.message.Message) -> None:
    """A dependency that nothing imports is weight that every user carries."""
    declared = {canonicalize_name(requirement.name) for requirement in requirements(metadata)}
    assert declared - third_party_imports().keys() - IMPORTED_BY_NAME.keys() == set()


def locked_versions() -> dict[str, str]:
    """Of this Python."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def test_the_lock_has_each_package_once_for_every_python_that_is_promised(metadata: email.message.Message) -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    promised = [f"3.{minor}" for minor in range(30) if SpecifierSet(metadata["Requires-Python"]).contains(f"3.{minor}")]
    assert promised == ["3.11", "3.12", "3.13"]
    for python in promised:
        names = [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
        assert len(names) == len(set(names)), python
        assert {canonicalize_name(pin.name) for pin in pins} == set(map(canonicalize_name, names)), python


def _report(python: str, **versions: str) -> dict[str, Any]:
    install = [{"metadata": {"name": name, "version": version}} for name, version in versions.items()]
    return {"environment": {"python_version": python}, "install": install}


def test_the_lock_names_the_pythons_where_they_need_other_versions() -> None:
    reports = [
        _report("3.13", Same="1", b="2", newer="1", liteferry="0"),
        _report("3.11", Same="1", b="1", older="1", gap="1"),
        _report("3.12", Same="1", b="1", older="1"),
    ]
    assert lock_lines(reports) == [
        'b==1; python_version < "3.13"',
        'b==2; python_version >= "3.13"',
        'gap==1; python_version < "3.12"',
        'newer==1; python_version >= "3.13"',
        'older==1; python_version < "3.13"',
        "Same==1",
    ]


def test_lock_satisfies_what_is_declared(metadata: email.message.Message) -> None:
    locked = locked_versions()
    unsatisfied = [
        f"{requirement} (locked: {locked.get(canonicalize_name(requirement.name))})"
        for requirement in requirements(metadata, "demo", "dev")
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unsatisfied == [], "run `make lock`"


def test_lock_is_consistent_and_installed() -> None:
    """The lock is installed without a resolver, so nothing but this would notice a pin that another package forbids."""
    installed = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False, timeout=120)
    assert installed.returncode == 0, installed.stdout + installed.stderr


def test_every_dependency_has_its_row_in_the_docs(metadata: email.message.Message) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = {canonicalize_name(name) for name in re.findall(r"^\| `([\w.-]+)`", page, flags=re.MULTILINE)}
    declared = {canonicalize_name(requirement.name) for requirement in requirements(metadata, "demo", "dev")}
    extras = set(metadata.get_all("Provides-Extra") or []) - {"dev"}
    assert declared - rows == set()
    assert extras - set(re.findall(r"^\| extra `(\w+)`", page, flags=re.MULTILINE)) == set()
