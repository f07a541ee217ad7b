"""The component's executor and driver: converts TFX's dictionaries, and runs LiteFerry's main job."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.dsl.components.base import base_beam_executor, base_driver
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.proto.orchestration import driver_output_pb2

from liteferry import storage
from liteferry.commands.run import How, run_job
from liteferry.commands.show import read_fleet
from liteferry.config.job import Job
from liteferry.errors import JobError, LiteFerryError
from liteferry.pipeline.run_request import RunRequest
from liteferry.pipeline.runner_traits import traits_of
from liteferry.tfx import artifacts, assembly, outputs

FINGERPRINT = "input_fingerprint"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the main job with the pipeline's `beam_pipeline_args` and fills the output artifacts.

    If a model is not blessed, the execution still succeeds, as with TFX's Evaluator; the blessing output says NOT_BLESSED. A
    job that cannot be run raises, and the execution fails.
    """

    def Do(  # noqa: N802  # TFX's name
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        _refuse_handing_over(self._beam_pipeline_args)
        produced = {name: found[0] for name, found in output_dict.items()}
        fleet = exec_properties.get("fleet_folder") or _beside(produced["reports"].uri)
        request = RunRequest(
            job=_job(input_dict, exec_properties),
            out=fleet,
            processes=exec_properties.get("processes"),
            beam_flags=self._beam_pipeline_args,
        )
        status = run_job(request, How(is_quiet=True))
        facts = read_fleet(fleet)
        verdict = outputs.verdict_of(facts, status=status)
        folders = {name: produced[name].uri for name in ("exported_models", "tflite_models", "reports")}
        outputs.fill(facts, fleet, **folders)
        _describe(produced, verdict, fleet)
        _bless(produced["blessing"], verdict, input_dict.get("models") or [])


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Adds the digest of everything that the reports depend on to each execution, before TFX looks into its cache.

    TFX compares artifacts by id and parameters by text: without the digest, a pattern whose files have changed would count as
    cached.
    """

    def __init__(self, metadata_handle: Any) -> None:
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: Any) -> Any:
        reports = execution_info.output_dict["reports"][0].uri
        answer = driver_output_pb2.DriverOutput()
        try:
            job = _job(execution_info.input_dict, execution_info.exec_properties)
            found = assembly.fingerprint(job, execution_info.exec_properties.get("fleet_folder") or _beside(reports))
        except LiteFerryError:
            found = uuid.uuid4().hex  # never cached: the executor then fails with the same error, which TFX records
        answer.exec_properties[FINGERPRINT].string_value = found
        return answer


def _refuse_handing_over(beam_flags: Sequence[str]) -> None:
    """Raises JobError for flags that do not wait for the job's end: the fleet in the folder would then be an earlier run's."""
    if not traits_of(beam_flags).waits:
        raise JobError(
            ["beam_pipeline_args: the component waits for its job; leave out --no_wait_until_finish and --template_location"],
            source="LiteFerry component",
        )


def _job(inputs: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]) -> Job:
    examples = list(inputs.get("examples") or [])
    schemas = list(inputs.get("schema") or [])
    came = assembly.Inputs(
        models=tuple(model.uri for model in inputs.get("models") or []),
        examples=tuple(found.uri for found in examples),
        split_names=tuple(_split_names(examples[0])) if examples else (),
        schema=schemas[0].uri if schemas else None,
    )
    return assembly.assemble(came, **{name: parameters.get(name) for name in ("job", "checkpoints", "split")})


def _split_names(examples: Any) -> list[str]:
    """As TFX writes them, a JSON list: in a property of the standard artifact, in a custom property of ours."""
    declared = examples.PROPERTIES and "split_names" in examples.PROPERTIES
    text = examples.split_names if declared else examples.get_string_custom_property("split_names")
    return [str(name) for name in json.loads(text)] if text else []


def _beside(reports_uri: str) -> str:
    """`<node>/fleet` for `<node>/reports/<execution>`: the same for every execution of a node, so finished models are kept."""
    return storage.join(os.path.dirname(os.path.dirname(reports_uri.rstrip("/"))), "fleet")


def _describe(produced: Mapping[str, Any], verdict: outputs.Verdict, fleet: str) -> None:
    counts = {"model_count": verdict.model_count, "blessed_count": verdict.blessed_count, "failed_count": verdict.failed_count}
    for found in produced.values():
        for name, count in counts.items():
            found.set_string_custom_property(name, str(count))
    produced["reports"].set_string_custom_property("fleet_folder", fleet)
    produced["reports"].set_string_custom_property("page", storage.join(produced["reports"].uri, "index.html"))


def _bless(blessing: Any, verdict: outputs.Verdict, models: Sequence[Any]) -> None:
    """Writes the blessing as TFX's Evaluator does; the file comes last, so that it never exists before the artifacts."""
    blessing.set_string_custom_property("verdict", verdict.in_words())
    if len(models) == 1:
        blessing.set_string_custom_property(artifacts.MODEL_URI_PROPERTY, models[0].uri)
        blessing.set_int_custom_property(artifacts.MODEL_ID_PROPERTY, models[0].id)
    blessing.set_int_custom_property(artifacts.BLESSED_PROPERTY, int(verdict.is_blessed))
    storage.write_bytes(storage.join(blessing.uri, verdict.marker), b"")
