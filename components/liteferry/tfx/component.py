"""The component as a TFX pipeline names it: typed channels, parameters, executor and driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from liteferry.tfx import artifacts, executor


class LiteFerrySpec(ComponentSpec):
    """The channels and parameters of `LiteFerry`."""

    PARAMETERS = {  # noqa: RUF012  # TFX's way of declaring
        "job": ExecutionParameter(type=str, optional=True),
        "checkpoints": ExecutionParameter(type=str, optional=True),
        "split": ExecutionParameter(type=str, optional=True),
        "fleet_folder": ExecutionParameter(type=str, optional=True),
        "processes": ExecutionParameter(type=int, optional=True),
        executor.FINGERPRINT: ExecutionParameter(type=str, optional=True),  # set by the driver
    }
    INPUTS = {  # noqa: RUF012
        "models": ChannelParameter(type=artifacts.Model, optional=True),
        "examples": ChannelParameter(type=artifacts.Examples, optional=True),
        "schema": ChannelParameter(type=artifacts.Schema, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        "exported_models": ChannelParameter(type=artifacts.Model),
        "tflite_models": ChannelParameter(type=artifacts.TFLiteModels),
        "reports": ChannelParameter(type=artifacts.Reports),
        "blessing": ChannelParameter(type=artifacts.ModelBlessing),
    }


class LiteFerry(base_beam_component.BaseBeamComponent):
    """Exports, converts and proves checkpoints, and blesses them if all are proven.

    Outputs: `exported_models` (a Model: for one checkpoint the SavedModel under `Format-Serving`, as Pusher takes it; for more,
    `<model_id>/<version>`), `tflite_models`, `reports`, `blessing` (a ModelBlessing).
    """

    SPEC_CLASS = LiteFerrySpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = executor.Driver

    def __init__(  # wide: public
        self,
        *,
        models: types.BaseChannel | None = None,
        checkpoints: str | None = None,
        examples: types.BaseChannel | None = None,
        schema: types.BaseChannel | None = None,
        job: str | Mapping[str, Any] | None = None,
        split: str | None = None,
        fleet_folder: str | None = None,
        processes: int | None = None,
    ) -> None:
        """Declares the component.

        Args:
          models: Model artifacts of a Trainer or an Importer; SavedModels or checkpoint files in them.
          checkpoints: a path or a glob, instead or as well.
          examples: sample rows of an ExampleGen: TFRecord or Parquet files in `Split-<name>` folders.
          schema: what the rows hold, by SchemaGen or an Importer; without it the first rows say it.
          job: the job file's path, or a job as a mapping, for everything else. A `models` entry without `checkpoints` and a
            `samples` entry without `path` are filled from the channels.
          split: which split of the examples; by default `eval`, or the only one.
          fleet_folder: where runs are kept, so that the next execution does only what is left; by default beside the artifacts.
          processes: sandboxes at once per worker, by default one for each core.
        """
        super().__init__(
            spec=LiteFerrySpec(
                models=models,
                examples=examples,
                schema=schema,
                checkpoints=checkpoints,
                job=json.dumps(job, sort_keys=True) if isinstance(job, Mapping) else job,
                split=split,
                fleet_folder=fleet_folder,
                processes=processes,
                **{name: types.Channel(type=output.type) for name, output in LiteFerrySpec.OUTPUTS.items()},
            )
        )
