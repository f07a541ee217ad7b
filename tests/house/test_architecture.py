"""The order of the rooms, no circle among files, what each room hands out, and that nothing heavy is imported unasked."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "components" / "liteferry"
BEAM, ORCHESTRATORS = ("apache_beam",), ("airflow", "kfp", "tfx", "ml_metadata")
HEAVY = ("tensorflow", "keras", "tf_keras", "ai_edge_litert", "ai_edge_quantizer", "tensorflow_model_analysis")
# From the ground up: a room imports rooms before it in this list, also inside functions and for types.
ROOMS = (
    *(
        "version",
        "errors",
        "types",
        "json_records",
        "lenient",
        "storage",
        "sandbox",
        "parity",
        "config",
        "checkpoints",
    ),
    *("samples", "loading", "tflite", "plan", "exporting", "evaluation", "report", "output", "pipeline", "commands", "cli"),
    *("testing", "__main__", "tfx"),
)
FACES = {
    "": "BatchExport CallbackOptions JobError LiteFerryError ModelError Reason ReasonCode SamplesError Stage StorageError "
    "__version__ compare export export_callback export_fleet",
    "checkpoints": "CheckpointFacts Kind detect examine look",
    "config": "Job Limits ModelSpec Policy SamplesSpec job_from_flags job_schema load_job parse_job",
    "evaluation": "CandidateResult Evaluation evaluate_isolated evaluate_siblings_isolated",
    "exporting": "export_isolated",
    "loading": "LoadSpec LoadedModel",
    "output": "ModelFolder Watcher finished_report judge_and_publish",
    "parity": "GateResult Limit OutputStats Verdict judge resolve_gates",
    "pipeline": "BatchExport RunRequest run",
    "plan": "LocalInputs ModelPlan InputNeeds plan_models",
    "report": "HINTS fleet_facts fleet_rows fleet_table hint_for one_line render_index render_model "
    "summary_table summary_text write_fleet",
    "samples": "Batch Binding SampleSet Shard bind open_samples read_batches",
    "sandbox": "Failure Flavor Limits Outcome Reporter SandboxSpec Session close preload run session warm_up",
    "tflite": "LiteRTRunner Lowered LoweringOptions QuantizationOptions lower",
}


def modules() -> dict[str, pathlib.Path]:
    parts = {path: path.relative_to(PACKAGE.parent).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): path for path, name in parts.items()}


def imports(module: str, path: pathlib.Path, known: dict[str, pathlib.Path]) -> set[str]:
    """Modules of LiteFerry that a file imports anywhere: at its top, in a function, for a type."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "liteferry":
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return found - {module}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_rooms_import_rooms_below_them_and_files_go_in_no_circle() -> None:
    known = modules()
    graph = {module: imports(module, path, known) for module, path in known.items() if module != "liteferry"}
    assert sum(map(len, graph.values())) > 500, "nearly no import was found: the rule was held against nothing"
    pairs = [(module, other) for module, others in graph.items() for other in others if room(module) != room(other)]
    assert [pair for pair in pairs if not room(pair[1]) or ROOMS.index(room(pair[1])) > ROOMS.index(room(pair[0]))] == []
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_package_has_at_most_nine_files_and_sixteen_rooms() -> None:
    assert {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} == {
        "__init__",
        *ROOMS,
    }
    assert len(list(PACKAGE.glob("*.py"))) <= 9
    assert len(list(PACKAGE.glob("*/__init__.py"))) <= 16


@pytest.mark.parametrize("name", FACES)
def test_a_room_hands_out_its_names_when_every_module_is_imported(name: str) -> None:
    for module in modules():
        if room(module) not in ("tfx", "__main__") and "demo" not in module:
            importlib.import_module(module)
    face = importlib.import_module(f"liteferry.{name}".rstrip("."))
    assert sorted(face.__all__) == sorted(FACES[name].split())
    kinds = {public: type(getattr(face, public)).__name__ for public in face.__all__}
    assert [public for public, kind in kinds.items() if kind == "module"] == []


def test_every_room_says_what_it_is_for_here_and_in_the_docs() -> None:
    docs = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in PACKAGE.glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} does not say what the room is for"
        assert f"\n| `{path.parent.name}/` |" in docs, f"docs/architecture.md does not list {path.parent.name}/"


def loaded_after(*names: str) -> set[str]:
    """Which of Beam and the heavy libraries a new Python process has loaded once it has imported `names`."""
    program = f"import sys, {', '.join(names)}; print(*(name for name in {BEAM + HEAVY} if name in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


def test_importing_all_but_the_pipeline_loads_nothing_heavy() -> None:
    beams = ("liteferry.pipeline.batch_export", "liteferry.pipeline.stages", "liteferry.tfx", "liteferry.__main__")
    light = [name for name in modules() if not name.startswith((*beams, "liteferry.commands.demo."))]
    assert len(light) > len(ROOMS)
    assert loaded_after(*light) == set()


def test_heavy_is_seen_when_it_is_loaded() -> None:
    assert "apache_beam" in loaded_after("apache_beam")


def launchers() -> list[pathlib.Path]:
    return sorted((ROOT / "pipelines").rglob("*.py"))


def test_launchers_import_liteferry_and_an_orchestrator_or_registry_alone() -> None:
    allowed = {"liteferry", "mlflow", "pyarrow", *ORCHESTRATORS, *sys.stdlib_module_names}
    for path in launchers():
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        assert {name.split(".")[0] for name in names} <= allowed, path


def test_launchers_shadow_no_installed_module() -> None:
    """`python pipelines/x.py` makes that folder sys.path[0]: an airflow.py there would be what `import airflow` finds."""
    taken = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), *ORCHESTRATORS, *BEAM, *HEAVY}
    assert "liteferry" in taken
    assert [path for path in launchers() if path.stem in taken] == []
