"""Who may import whom: arrows never point up, and heavy libraries are imported where they are used.

    errors, types, version        the standard library, NumPy and each other
    core: everything else         those; TensorFlow, LiteRT, TFMA and Beam only inside functions
    stages/                       the core; Beam
    pipeline                      the core, stages; Beam
    cli, launch, demo/            the core; pipeline only inside functions
    tfx/                          anything; nothing imports it
    demo/*_layers.py              play a user's own file: Keras, nothing of ours

The rules are read off the syntax tree, so they hold for code that no test runs.
"""

from __future__ import annotations

import ast
import dataclasses
import graphlib
import importlib.metadata
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "components" / "liteferry"

BEAM = ("apache_beam",)
HEAVY = ("tensorflow", "keras", "tf_keras", "ai_edge_litert", "ai_edge_quantizer", "tensorflow_model_analysis")
OPTIONAL = (
    "sklearn",
    "boto3",
    "fsspec",
    "gcsfs",
    "s3fs",
    "google.cloud",
    "airflow",
    "kfp",
    "tfx",
    "ml_metadata",
)  # only there with an extra
ORCHESTRATORS = ("airflow", "kfp", "tfx", "ml_metadata")

FOUNDATION = ("liteferry.errors", "liteferry.types", "liteferry.version")
USER_CODE = ("liteferry.commands.demo.digit_layers", "liteferry.commands.demo.stranger_layers")
STAGES, PIPELINE, TFX = ("liteferry.pipeline.stages",), ("liteferry.pipeline.batch_export",), ("liteferry.tfx",)
COMMANDS = ("liteferry.commands.launch", "liteferry.commands.demo")
CLI = ("liteferry.cli", "liteferry.__main__")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name, dotted and absolute. `at_top`: runs when the module is imported."""

    name: str
    line: int
    at_top: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """What a layer may not import, at all and when it is itself imported. `only` admits these and the standard library."""

    layer: str
    never: tuple[str, ...] = ()
    never_at_top: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    def complaint(self, imported: Import) -> str | None:
        if self.only is not None and not (_is_in(imported.name, self.only) or _is_in_standard_library(imported.name)):
            return f"{self.layer} imports only the standard library and {', '.join(self.only)}"
        if _is_in(imported.name, self.never):
            return f"{self.layer} never imports it"
        if imported.at_top and _is_in(imported.name, self.never_at_top):
            return f"{self.layer} imports it only inside the functions that use it"
        return None


RULES = {
    "foundation": Rule(layer="the foundation (errors, types, version)", only=("numpy", *FOUNDATION)),
    "front": Rule(
        layer="the package's __init__", never=TFX, never_at_top=BEAM + HEAVY + OPTIONAL + STAGES + PIPELINE + COMMANDS + CLI
    ),
    "core": Rule(layer="a core module", never=STAGES + PIPELINE + COMMANDS + CLI + TFX, never_at_top=BEAM + HEAVY + OPTIONAL),
    "stages": Rule(layer="a stage", never=PIPELINE + COMMANDS + CLI + TFX, never_at_top=HEAVY + OPTIONAL),
    "pipeline": Rule(layer="pipeline", never=COMMANDS + CLI + TFX, never_at_top=HEAVY + OPTIONAL),
    "commands": Rule(layer="a command", never=CLI + TFX, never_at_top=BEAM + HEAVY + OPTIONAL + STAGES + PIPELINE + USER_CODE),
    "cli": Rule(layer="the command line", never=TFX, never_at_top=BEAM + HEAVY + OPTIONAL + STAGES + PIPELINE + USER_CODE),
    "user code": Rule(layer="what plays a user's own file", only=("keras",)),
    "tfx": Rule(layer="the TFX component", never_at_top=HEAVY),
    "launcher": Rule(layer="a launcher in pipelines/", only=("liteferry", *ORCHESTRATORS)),
}


LAYERS = {"foundation": FOUNDATION, "user code": USER_CODE, "stages": STAGES, "pipeline": PIPELINE, "commands": COMMANDS}
LAYERS |= {"cli": CLI, "tfx": TFX}


def layer_of(module: str) -> str:
    if module == "liteferry":
        return "front"
    return next((layer for layer, members in LAYERS.items() if _is_in(module, members)), "core")


def imports_of(source: str, *, package: str) -> list[Import]:
    """Every import in `source`, whose relative imports start at `package`.

    `from a import b` counts as a.b: whether b is a module or a name inside a, the rules of a hold for it. Code under
    `if TYPE_CHECKING:` and `if __name__ == "__main__":` does not run on import, so it is not at the top.
    `import_module("a")` and `__import__("a")` count as imports.
    """
    return list(_imports_in(ast.parse(source).body, package=package, at_top=True))


def _imports_in(nodes: Sequence[ast.AST], *, package: str, at_top: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name=alias.name, line=node.lineno, at_top=at_top)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package=package)
            for alias in node.names:
                yield Import(name=f"{base}.{alias.name}", line=node.lineno, at_top=at_top)
        elif isinstance(node, ast.If) and _is_false_on_import(node.test):
            yield from _imports_in(node.body, package=package, at_top=False)
            yield from _imports_in(node.orelse, package=package, at_top=at_top)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            body = [node.body] if isinstance(node, ast.Lambda) else node.body
            signature = [node.args, *getattr(node, "decorator_list", [])]
            yield from _imports_in(signature, package=package, at_top=at_top)  # defaults and decorators run with the module
            yield from _imports_in(body, package=package, at_top=False)
        else:
            if isinstance(node, ast.Call) and (name := _imported_by_call(node)):
                yield Import(name=name, line=node.lineno, at_top=at_top)
            yield from _imports_in(list(ast.iter_child_nodes(node)), package=package, at_top=at_top)


def _absolute(node: ast.ImportFrom, *, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_false_on_import(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def _imported_by_call(call: ast.Call) -> str | None:
    if ast.unparse(call.func) not in ("importlib.import_module", "import_module", "__import__") or not call.args:
        return None
    argument = call.args[0]
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def _is_in(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _is_in_standard_library(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names


def violations(source: str, *, module: str, layer: str, is_package: bool = False) -> list[str]:
    """One sentence for every import in `source` that its layer forbids."""
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for imported in imports_of(source, package=package):
        complaint = RULES[layer].complaint(imported)
        if complaint is None and layer not in ("front", "launcher") and _goes_through_front(imported.name):
            complaint = "inside the package a name is imported from the module that defines it, not through liteferry/__init__.py"
        if complaint is not None:
            where = "at the top level" if imported.at_top else "inside a function"
            found.append(f"{module}, line {imported.line}: imports {imported.name} {where}; {complaint}")
    return found


def _goes_through_front(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "liteferry" and (len(parts) == 1 or not _exists(parts[1]))


def _exists(submodule: str) -> bool:
    return (PACKAGE / f"{submodule}.py").exists() or (PACKAGE / submodule).is_dir()


def package_modules() -> dict[str, pathlib.Path]:
    """Module name -> file, for the whole package."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def test_every_module_keeps_its_layers_rules() -> None:
    modules = package_modules()
    assert "liteferry.config.job" in modules, f"found only {sorted(modules)}: the rules were held against nothing"
    found = []
    for module, path in modules.items():
        is_package = path.name == "__init__.py"
        found += violations(path.read_text(encoding="utf-8"), module=module, layer=layer_of(module), is_package=is_package)
    assert not found, "\n".join(["", *found])


def test_no_import_cycles_at_top_level() -> None:
    modules = package_modules()
    graph = {}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = [imported.name for imported in imports_of(path.read_text(encoding="utf-8"), package=package) if imported.at_top]
        graph[module] = {target for name in names if (target := _deepest_module(name, modules)) and target != module}
    assert any(graph.values())
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def _deepest_module(name: str, modules: dict[str, pathlib.Path]) -> str | None:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def launchers() -> list[pathlib.Path]:
    return sorted((ROOT / "pipelines").rglob("*.py"))


def test_launchers_import_liteferry_alone() -> None:
    found = []
    for path in launchers():
        found += violations(path.read_text(encoding="utf-8"), module=f"pipelines.{path.stem}", layer="launcher")
    assert not found, "\n".join(["", *found])


def test_launchers_shadow_no_installed_module() -> None:
    """`python pipelines/x.py` makes that folder sys.path[0]: an airflow.py there would be what `import airflow` finds."""
    taken = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), *ORCHESTRATORS, *BEAM, *HEAVY}
    assert "liteferry" in taken
    assert [path for path in launchers() if path.stem in taken] == []


PLANTED = [
    # module, source, a part of the complaint; None: allowed. One for each complaint, and one for each way around it.
    ("liteferry.errors", "import yaml", "imports only the standard library"),
    ("liteferry.parity.output_stats", "try:\n    import tf_keras\nexcept ImportError:\n    pass", "only inside the functions"),
    (
        "liteferry.parity.output_stats",
        "import importlib\nTF = importlib.import_module('tensorflow')",
        "only inside the functions",
    ),
    ("liteferry.parity.output_stats", "def f(tf=__import__('tensorflow')):\n    pass", "only inside the functions"),
    ("liteferry.parity.output_stats", "def f():\n    import tensorflow as tf", None),
    ("liteferry.parity.output_stats", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tensorflow as tf", None),
    ("liteferry.evaluation.compute_metrics", "def f():\n    from liteferry import pipeline", "never imports it"),
    ("liteferry.report.pages.render", "from ..cli import main", "never imports it"),
    ("liteferry.report.pages.render", "def f():\n    from liteferry import JobError", "from the module that defines it"),
    ("liteferry.cli", "def run():\n    from liteferry.pipeline.batch_export import BatchExport", None),
]


@pytest.mark.parametrize(("module", "source", "complaint"), PLANTED)
def test_checker_sees_what_is_planted(module: str, source: str, complaint: str | None) -> None:
    found = violations(source, module=module, layer=layer_of(module), is_package=module == "liteferry")
    if complaint is None:
        assert found == []
    else:
        assert len(found) == 1
        assert complaint in found[0]


@pytest.mark.parametrize(("source", "is_allowed"), [
    ("import json\nfrom liteferry import cli\nfrom airflow import DAG", True),
    ("def f():\n    import apache_beam", False),
    ("import yaml", False),
])  # fmt: skip
def test_checker_sees_what_is_planted_in_a_launcher(source: str, is_allowed: bool) -> None:
    assert (violations(source, module="pipelines.planted", layer="launcher") == []) is is_allowed


def loaded_after(*modules: str) -> set[str]:
    """Which of Beam and the heavy libraries a new Python process has loaded once it has imported `modules`."""
    program = f"import sys, {', '.join(modules)}; print(*(name for name in {BEAM + HEAVY} if name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


@pytest.mark.parametrize("module", ["liteferry", "liteferry.config.job", "liteferry.cli"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    assert loaded_after(module) == set()


def test_importing_all_but_the_pipeline_loads_nothing_heavy() -> None:
    light = [module for module in package_modules() if layer_of(module) in ("foundation", "front", "core", "commands")]
    assert len(light) > len(FOUNDATION)
    assert loaded_after(*light) == set()


def test_heavy_is_seen_when_it_is_loaded() -> None:
    assert "apache_beam" in loaded_after("apache_beam")
