"""All of TFX around the component: a real ImportExampleGen before it, a real Pusher behind it. `make test-tfx-full`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.components import ImportExampleGen, Trainer, Transform
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts

from liteferry.tfx import LiteFerry, LiteFerrySpec
from tests.orchestration.test_tfx_local import Launch, Store


def test_channels_are_the_standard_artifacts() -> None:
    inputs = {name: channel.type for name, channel in LiteFerrySpec.INPUTS.items()}
    outputs = {name: channel.type for name, channel in LiteFerrySpec.OUTPUTS.items()}
    standard = standard_artifacts
    assert inputs == {"models": standard.Model, "examples": standard.Examples, "schema": standard.Schema}
    assert (outputs["exported_models"], outputs["blessing"]) == (standard.Model, standard.ModelBlessing)


@pytest.mark.parametrize(("checkpoint", "is_pushed"), [("narrow", True), ("broken", False)])
def test_pusher_pushes_what_is_blessed_and_nothing_else(
    fleet: Path,
    launch: Launch,
    tmp_path: Path,
    checkpoint: str,
    is_pushed: bool,
) -> None:
    """ImportExampleGen splits the records 2 : 1; the model's rows are those of its `eval`."""
    flags = ["--examples", fleet / "records", "--checkpoints", fleet / "mixed" / f"{checkpoint}.keras"]
    status = launch(*flags, "--pipeline_root", tmp_path / "root", "--push_to", tmp_path / "serving")
    assert status == (0 if is_pushed else 1)
    store = Store(tmp_path / "root")
    assert {name: store.states(name) for name in ("ImportExampleGen", "LiteFerry", "Pusher")} == {
        "ImportExampleGen": ["COMPLETE"], "LiteFerry": ["COMPLETE"], "Pusher": ["COMPLETE"]
    }  # fmt: skip
    examples = store.artifacts(store.executions()[0], "in")["examples"]
    assert store.type_of(examples) == "Examples"
    assert examples.properties["split_names"].string_value == '["train", "eval"]'
    pushed = store.artifacts(store.executions("Pusher")[0], "out")["pushed_model"]
    assert pushed.custom_properties["pushed"].int_value == int(is_pushed)
    versions = list((tmp_path / "serving").glob("*/saved_model.pb"))
    assert len(versions) == (1 if is_pushed else 0)


SCHEMA = 'feature { name: "x" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 4 } } }'


@pytest.fixture(scope="module")
def trained(fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a pipeline: rows, a Transform, a Trainer whose model embeds it, and LiteFerry twice behind it, for the
    signature that serves and for the one that a device takes.
    """
    root = tmp_path_factory.mktemp("trained")
    (root / "schema.pbtxt").write_text(SCHEMA)
    module = str(Path(__file__).with_name("trainer_module.py"))
    rows = ImportExampleGen(input_base=str(fleet / "records"))
    schema = ImportSchemaGen(schema_file=str(root / "schema.pbtxt"))
    transform = Transform(examples=rows.outputs["examples"], schema=schema.outputs["schema"], module_file=module)
    trainer = Trainer(
        module_file=module,
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(num_steps=1),
        eval_args=trainer_pb2.EvalArgs(num_steps=1),
    )
    served = _ferry("served", trainer, rows.outputs["examples"], {"variants": []})
    device = _ferry(
        "device",
        trainer,
        transform.outputs["transformed_examples"],
        {"variants": ["float32"], "models": [{"signature": "device"}]},
    )
    local_dag_runner.LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="trained",
            pipeline_root=str(root),
            components=[rows, schema, transform, trainer, served, device],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        )
    )
    return root


def _ferry(name: str, trainer: Any, examples: Any, job: dict[str, Any]) -> Any:
    return LiteFerry(models=trainer.outputs["model"], examples=examples, job=job, processes=1).with_id(f"LiteFerry.{name}")


def _report(root: Path, name: str) -> dict[str, Any]:
    store = Store(root)
    outputs = [store.artifacts(execution, "out") for execution in store.executions()]
    (reports,) = [found["reports"] for found in outputs if f"/LiteFerry.{name}/" in found["reports"].uri]
    (report,) = Path(reports.uri).glob("models/*/report.json")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_a_model_that_embeds_its_transform_is_proven_on_the_records(trained: Path) -> None:
    report = _report(trained, "served")
    assert report["status"] == "blessed", report["reason"]
    assert list(report["saved_model"]["fidelity"]) == ["scores"]
    assert any("fed by the serialized records" in warning for warning in report["warnings"])


def test_its_other_signature_becomes_a_file_for_a_device_on_what_was_transformed(trained: Path) -> None:
    """The rows are the Transform's, with the schema that it left in its transform_graph."""
    report = _report(trained, "device")
    assert report["status"] == "blessed", report["reason"]
    assert report["variants"]["float32"]["status"] == "blessed"
    assert "transformed_examples" in report["samples"]["path"]
