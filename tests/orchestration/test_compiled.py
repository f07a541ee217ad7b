"""What Kubeflow and Dataflow are given, looked at without them: the compiled pipelines hold today's source."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
SOURCE = (PIPELINES / "kubeflow.py").read_text(encoding="utf-8")


def source_of(name: str) -> str:
    (node,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef) and node.name == name)
    text = ast.get_source_segment(SOURCE, node)
    assert text is not None
    return text


def tasks(value: Any) -> Iterator[tuple[str, Any]]:
    for key, item in value.items() if isinstance(value, dict) else ():
        if key == "tasks":
            yield from item.items()
        yield from tasks(item)


def test_the_dag_gives_the_flex_template_parameters_that_it_has() -> None:
    template = json.loads((PIPELINES / "flex_template" / "metadata.json").read_text(encoding="utf-8"))
    known = {parameter["name"]: not parameter.get("isOptional") for parameter in template["parameters"]}
    dag = ast.parse((PIPELINES / "airflow_dag.py").read_text(encoding="utf-8"))
    items = [item for node in ast.walk(dag) if isinstance(node, ast.Dict) for item in zip(node.keys, node.values, strict=True)]
    found = {key.value: value for key, value in items if isinstance(key, ast.Constant)}
    given = set(ast.literal_eval(found["parameters"]))
    assert given <= known.keys()
    assert {name for name, is_needed in known.items() if is_needed} <= given


@pytest.mark.parametrize(("name", "step", "functions"), [
    ("kubeflow.yaml", "export-fleet-container", ["run_fleet", "counts_of", "summary_of", "write_outputs"]),
    ("kubeflow_lightweight.yaml", "export-fleet", ["run_fleet", "counts_of", "summary_of"]),
])  # fmt: skip
def test_committed_pipeline(name: str, step: str, functions: list[str]) -> None:
    compiled = yaml.safe_load((PIPELINES / name).read_text(encoding="utf-8"))
    container = compiled["deploymentSpec"]["executors"][f"exec-{step}"]["container"]
    for function in functions:
        assert source_of(function) in "\n".join(container["command"]), f"{function} has changed: compile again"
    launch = (PIPELINES.parent / "components" / "liteferry" / "commands" / "run.py").read_text(encoding="utf-8")
    assert "goes on by itself" in source_of("run_fleet") and "goes on by itself" in launch, "the step could not tell"
    found = dict(tasks(compiled))
    assert {step, "verify", "hold"} <= found.keys()
    cached = [task for task, said in found.items() if "componentRef" in said and said.get("cachingOptions", {}) != {}]
    assert cached == [], "Kubeflow knows the job file by its name: what it holds may have changed"
    outputs = compiled["components"][f"comp-{step}"]["outputDefinitions"]
    assert outputs["parameters"].keys() == {"blessed", "held"}
    assert outputs["artifacts"]["metrics"]["artifactType"]["schemaTitle"] == "system.Metrics"
