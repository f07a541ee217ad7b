"""A real TFX pipeline: LocalDagRunner, ML Metadata in SQLite, the component, Beam. `make test-tfx`, in an environment with
`ml-pipelines-sdk`; with all of TFX the same tests run on its standard artifacts.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from liteferry import cli
from liteferry.tfx import artifacts
from tests.support import facts_of


class Store:
    """What ML Metadata knows of a pipeline root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = metadata_store.MetadataStore(metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")))

    def executions(self, component: str = "LiteFerry") -> list[Any]:
        kinds = {kind.id: kind.name.rpartition(".")[2] for kind in self.store.get_execution_types()}
        found = [execution for execution in self.store.get_executions() if kinds[execution.type_id] == component]
        return sorted(found, key=lambda execution: execution.id)

    def states(self, component: str = "LiteFerry") -> list[str]:
        states = metadata_store_pb2.Execution.State
        return [states.Name(execution.last_known_state) for execution in self.executions(component)]

    def artifacts(self, execution: Any, way: str) -> dict[str, Any]:
        """Name of the channel -> the artifact that came `in` or went `out`."""
        kind = metadata_store_pb2.Event.INPUT if way == "in" else metadata_store_pb2.Event.OUTPUT
        events = [event for event in self.store.get_events_by_execution_ids([execution.id]) if event.type == kind]
        known = {found.id: found for found in self.store.get_artifacts_by_id([event.artifact_id for event in events])}
        return {event.path.steps[0].key: known[event.artifact_id] for event in events}

    def outputs(self, number: int = -1) -> dict[str, Any]:
        return self.artifacts(self.executions()[number], "out")

    def type_of(self, artifact: Any) -> str:
        (kind,) = self.store.get_artifact_types_by_id([artifact.type_id])
        return str(kind.name)


Launch = Callable[..., int]


def files(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def statuses(reports: Any) -> dict[str, str]:
    facts = json.loads((Path(reports.uri) / "fleet.json").read_text())
    return {model["model_id"]: model["status"] for model in facts["models"]}


def blessed(blessing: Any) -> tuple[int, list[str]]:
    """The property and the files, as TFX's Pusher would see them."""
    return blessing.custom_properties["blessed"].int_value, sorted(os.listdir(blessing.uri))


def test_fleet_through_the_pipeline(fleet: Path, launch: Launch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One broken model of three: reported, not blessed, cached; mended: only it is done again; two workers give the same."""
    root, checkpoints = tmp_path / "root", tmp_path / "checkpoints"
    shutil.copytree(fleet / "mixed", checkpoints)
    flags = ["--examples", fleet / "examples", "--checkpoints", checkpoints / "*.keras", "--pipeline_root", root]
    flags += ["--processes", 1, "--labels=team=orchestration"]

    assert launch(*flags) == 1
    store = Store(root)
    assert store.states() == ["COMPLETE"], "not blessed is a result, not a failed execution"
    first = store.outputs()
    assert first.keys() == {"exported_models", "tflite_models", "reports", "blessing"}
    assert {name: store.type_of(found) for name, found in first.items()} == {
        "exported_models": artifacts.Model.TYPE_NAME,
        "tflite_models": "liteferry.TFLiteModels",
        "reports": "liteferry.Reports",
        "blessing": artifacts.ModelBlessing.TYPE_NAME,
    }
    came = store.artifacts(store.executions()[0], "in")
    assert came["examples"].uri == str(fleet / "examples")
    assert statuses(first["reports"]) == {"broken": "failed", "narrow": "blessed", "wide": "blessed"}
    assert blessed(first["blessing"]) == (0, ["NOT_BLESSED"])
    assert first["blessing"].custom_properties["verdict"].string_value == "2 of 3 models blessed, 1 failed"
    exported = files(first["exported_models"].uri)
    assert {"narrow/1/saved_model.pb", "wide/1/saved_model.pb"} <= exported
    assert {name.partition("/")[0] for name in exported} == {"narrow", "wide"}
    ladder = {f"{name}/{variant}.tflite" for name in ("narrow", "wide") for variant in ("float32", "float16", "dynamic_int8")}
    assert files(first["tflite_models"].uri) == ladder
    printed = capsys.readouterr().out
    assert f"in  examples: {artifacts.Examples.TYPE_NAME} 1 {fleet / 'examples'}" in printed
    assert "{'verdict': '2 of 3 models blessed, 1 failed', 'blessed': 0}" in printed

    rows = {"examples": {"path": f"{fleet}/examples/Split-eval/*"}}
    job = {"models": [{"checkpoints": f"{checkpoints}/*.keras"}], "samples": rows}
    (tmp_path / "job.json").write_text(json.dumps(job))
    cli.main(["run", f"--config={tmp_path}/job.json", f"--output={tmp_path}/plain", "--quiet"])
    for name in ("broken", "narrow", "wide"):
        through_tfx, plain = (
            facts_of(json.loads((Path(out) / "models" / name / "report.json").read_text()))
            for out in (first["reports"].uri, tmp_path / "plain")
        )
        assert through_tfx == plain, f"{name}: not what `liteferry run` says of it"

    assert launch(*flags) == 1
    assert store.states() == ["COMPLETE", "CACHED"]
    assert {name: found.id for name, found in store.outputs().items()} == {name: found.id for name, found in first.items()}

    shutil.copy(fleet / "good" / "narrow.keras", checkpoints / "broken.keras")
    at = {name: (root / "LiteFerry" / "fleet" / "models" / name).stat().st_ino for name in ("broken", "narrow", "wide")}
    assert launch(*flags, "--direct_running_mode=multi_processing", "--direct_num_workers=2") == 0
    assert store.states() == ["COMPLETE", "CACHED", "COMPLETE"], "the pattern is the same, what it names is not"
    last = store.outputs()
    assert statuses(last["reports"]) == {"broken": "blessed", "narrow": "blessed", "wide": "blessed"}
    assert blessed(last["blessing"]) == (1, ["BLESSED"])
    after = {name: (root / "LiteFerry" / "fleet" / "models" / name).stat().st_ino for name in at}
    assert {name for name in at if after[name] != at[name]} == {"broken"}, "finished models are not done again"
    assert statuses(first["reports"])["broken"] == "failed", "what an execution gave is not changed by a later one"


def test_trained_model_as_pusher_takes_it(fleet: Path, launch: Launch, tmp_path: Path) -> None:
    flags = ["--examples", fleet / "examples", "--model", fleet / "trained", "--pipeline_root", tmp_path, "--split", "train"]
    assert launch(*flags) == 0
    store = Store(tmp_path)
    outputs, (execution,) = store.outputs(), store.executions()
    model = store.artifacts(execution, "in")["models"]
    assert model.uri == str(fleet / "trained")
    assert (Path(outputs["exported_models"].uri) / "Format-Serving" / "saved_model.pb").is_file()
    assert blessed(outputs["blessing"]) == (1, ["BLESSED"])
    assert outputs["blessing"].custom_properties["current_model_id"].int_value == model.id
    (report,) = Path(outputs["reports"].uri).glob("models/*/report.json")
    parity = json.loads(report.read_text())["variants"]["float32"]["parity"]["y"]
    assert parity["example_count"] == 32, "the rows of the split that was asked for"


@pytest.mark.parametrize(("flags", "problem"), [
    (["--split", "test"], "no split 'test'"),
    (["--runner=NoSuchRunner"], "NoSuchRunner"),
    (["--no_wait_until_finish"], "the component waits for its job"),
])  # fmt: skip
def test_what_cannot_run_is_a_failed_execution(
    fleet: Path, launch: Launch, tmp_path: Path, flags: list[str], problem: str
) -> None:
    """The second one also shows that the pipeline's Beam flags arrive."""
    common = ["--examples", fleet / "examples", "--checkpoints", fleet / "good" / "*.keras", "--pipeline_root", tmp_path]
    with pytest.raises(Exception, match=problem):
        launch(*common, *flags)
    store = Store(tmp_path)
    assert store.states() == ["FAILED"]
    assert store.outputs() == {}
