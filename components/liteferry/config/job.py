"""The job file as frozen records. `load_job` finds every problem at once and names the key, the value and the fix of each.

A key is one annotated line and its docstring in the record it belongs to. Unknown-key hints, type errors, `liteferry schema`
and the check that docs/job_file.md mentions every key all read these records, so a new key needs no other change.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field, PlainSerializer, Strict

from liteferry.config import cross_checks
from liteferry.config.metric_settings import ConfidenceIntervals, MetricSpec
from liteferry.config.signatures import Signatures
from liteferry.config.tflite_metadata import TfliteMetadata
from liteferry.config.value_types import (
    CodeReference,
    Columns,
    FilePath,
    FrozenDict,
    FrozenMapping,
    JsonObject,
    LocalPath,
    Location,
    ModuleReference,
    Number,
    PositiveInt,
    PositiveNumber,
    Record,
    Scalar,
    Text,
)


class Variant(str, enum.Enum):
    """A TFLite variant, as the job file and the report spell it."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic_int8"
    WEIGHT_ONLY_INT8 = "weight_only_int8"
    DYNAMIC_INT4 = "dynamic_int4"
    WEIGHT_ONLY_INT4 = "weight_only_int4"
    INT8 = "int8"
    INT16X8 = "int16x8"
    AUTO = "auto"


VARIANTS = tuple(variant.value for variant in Variant)
DEFAULT_VARIANTS = ("float32", "float16", "dynamic_int8")


class Trust(str, enum.Enum):
    """Code or access in a checkpoint that the job allows. `lambda`: serialized Python bytecode of Keras Lambda layers.
    `file_ops`: operations that read or write files, or run Python, in a SavedModel's graph or behind a layer of TensorFlow
    symbols. `network`: your own modules and builders reach the network, to download a backbone's weights for example. `links`:
    symbolic links found by a pattern or in a checkpoint's folder may lead anywhere.
    """

    LAMBDA = "lambda"
    FILE_OPS = "file_ops"
    NETWORK = "network"
    LINKS = "links"


class Decoding(str, enum.Enum):
    """How the encoded bytes of sample columns are decoded before they feed an input."""

    IMAGE = "image"


class WeightsBy(str, enum.Enum):
    """How arrays of a weights file are matched to variables."""

    BY_NAME = "by_name"
    BY_POSITION = "by_position"


class SamplesSpec(Record):
    """Sample rows, and which column feeds which model input."""

    path: Location
    """File, glob or URI of .parquet, .npz, Arrow IPC or TFRecord files. The files of a glob are shards and share one schema."""
    inputs: FrozenMapping[Columns] = Field(default_factory=FrozenDict)
    """Model input -> column, or a list of columns that are stacked into a vector. `@record`: the serialized records of TFRecord
    files. May be left out if names agree, or if only one column fits.
    """
    defaults: FrozenMapping[Scalar] = Field(default_factory=FrozenDict)
    """Column -> default for a value that a row does not have: a missing feature of a tf.Example, a null."""
    label: Text | None = None
    """Column of the labels, for task metrics."""
    labels: FrozenMapping[Text] = Field(default_factory=FrozenDict)
    """Output -> column of its labels, for models whose outputs have different ones."""
    example_weight: Text | None = None
    """Column of the weight that each row has in task metrics."""
    slices: tuple[tuple[Text, ...], ...] = ()
    """Columns whose values cut the rows into slices, for example [[label], [country, label]]. All rows together always count."""
    id: Text | None = None
    """Column that names rows in reports; without it a row's number over all files is its name."""
    schema_file: FilePath | None = None
    """TensorFlow Metadata schema (.pbtxt) of TFRecord files. Without it, the columns are inferred from the first rows."""
    decode: Decoding | None = None
    """`image`: columns of encoded images (PNG, JPEG) that feed inputs of numbers are decoded."""
    size: tuple[PositiveInt, PositiveInt] | None = None
    """[height, width] to which decoded images are resized. Without it they must have the input's size."""
    scale: Number | None = None
    """Decoded values, 0 to 255, are multiplied by it."""
    offset: Number | None = None
    """Added to decoded values after `scale`."""
    take: PositiveInt | None = None
    """At most so many rows, chosen at random by `seed`; the same for every model."""
    fraction: Annotated[float, Strict(), Field(gt=0, le=1)] | None = None
    """This share of the rows, chosen at random by `seed`, in place of `take`."""
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**32)] = 0
    """Which rows `take` and `fraction` choose."""

    def role_columns(self) -> tuple[str, ...]:
        """Columns that are labels, weights or row names. They feed no input unless `inputs` says so."""
        names = (self.label, *self.labels.values(), self.example_weight, self.id)
        return tuple(name for name in names if name is not None)


class Reading(str, enum.Enum):
    """The meaning of the entries of an output's last axis."""

    REGRESSION = "regression"
    CLASSES = "classes"


class OutputSpec(Record):
    """Facts about one output."""

    kind: Reading | None = None
    """`regression`: the entries of its last axis are not classes, and no default gate treats them as classes. `classes`: they
    are classes, in every position of an output of any rank.
    """


class Versions(str, enum.Enum):
    """Which versions of one model are exported."""

    NEWEST = "newest"
    ALL = "all"


class ModelSpec(Record):
    """Checkpoints with the same settings."""

    checkpoints: Location
    """File, directory, glob or URI. Every match gets a report."""
    exclude: tuple[Text, ...] = ()
    """Patterns of names, or of paths below the searched folder: matches of `checkpoints` to leave out."""
    versions: Versions = Versions.NEWEST
    """Of the numbered versions in a folder, or the steps of a CheckpointManager: newest, or all."""
    samples: Text | None = None
    """Name of an entry under `samples`. May be left out when there is at most one; without rows nothing is blessed."""
    metadata: JsonObject = Field(default_factory=FrozenDict)
    """Any JSON values; they are copied unchanged into the SavedModel and the report."""
    builder: CodeReference | None = None
    """module:callable that returns the model without its weights, for checkpoints that hold only weights."""
    builder_args: JsonObject = Field(default_factory=FrozenDict)
    """Keyword arguments for `builder`; a parameter of it named `checkpoint` gets the checkpoint's path automatically."""
    weights: WeightsBy = WeightsBy.BY_NAME
    """by_name: names in a weights file decide which variable of the builder's model gets which array. by_position: the order
    decides, regardless of names, and the report says so.
    """
    strip: tuple[Text, ...] = ()
    """Class names of random layers to leave out of Sequential and Functional models, for those that ignore `training`."""
    signature: Text | None = None
    """The signature of a SavedModel that is proven and lowered, in place of serving_default; all are kept in the SavedModel."""
    signatures: Signatures = Field(default_factory=FrozenDict)
    """More signatures for the SavedModel by name: methods of the model, or functions around it."""
    tflite_signatures: Literal["all"] | tuple[Text, ...] = ()
    """Signatures that each .tflite file holds besides the one that is lowered, every one proven: all, or names."""
    outputs: FrozenMapping[OutputSpec] = Field(default_factory=FrozenDict)
    """Output -> facts about it: {kind: regression} or {kind: classes}."""
    serve_examples: Annotated[bool, Strict()] = False
    """true: one more signature, `serve_examples`, takes serialized tf.Examples named by the model's inputs."""
    metrics: tuple[MetricSpec, ...] | None = None
    """Task metrics of these checkpoints, in place of the job's. []: none."""
    tflite_metadata: TfliteMetadata | None = None
    """Labels, normalisation and files that every .tflite file carries for the app that loads it."""


class VariantGates(Record):
    """Metric -> limit for every output of one variant, or of the SavedModel; null switches a gate off."""

    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number | None] = Field(init=False)

    outputs: FrozenMapping[FrozenMapping[Number | None]] = Field(default_factory=FrozenDict)
    """Output -> metric -> limit, in place of the variant's for that output alone."""


def _as_mapping(gates: Mapping[str, VariantGates]) -> FrozenDict:
    """The records as the job file writes them: metrics beside `outputs`, which is left out if it is empty."""
    outputs = {variant: {"outputs": limits.outputs} if limits.outputs else {} for variant, limits in gates.items()}
    return FrozenDict({variant: FrozenDict({**(gates[variant].model_extra or {}), **outputs[variant]}) for variant in gates})


if TYPE_CHECKING:
    GatesByVariant = Mapping[str, Mapping[str, Any]]  # plain data after validation; the records check the job file
else:
    GatesByVariant = Annotated[Mapping[Text, VariantGates], AfterValidator(_as_mapping), PlainSerializer(lambda gates: gates)]


class Policy(Record):
    """The artifacts that must be blessed before the model is."""

    require: tuple[Text, ...] | None = None
    """Variants that must all be blessed before the model is; a part of `variants` and `recipes`. null: every variant of the
    job.
    """


class Limits(Record):
    """The resources that one model may use before its process is stopped and reported."""

    seconds_per_model: PositiveNumber = 900.0
    """Wall-clock seconds for one model in one process: build, export and conversion, and again each shard's evaluation."""
    memory_gb_per_model: PositiveNumber = 8.0
    """Gigabytes of memory for one model."""
    disk_gb_per_model: PositiveNumber = 50.0
    """Gigabytes that one model may write to the work folders while it is worked on: artifacts, reference answers, copies."""


class Keep(Record):
    """Results of earlier runs that stay in the output folder."""

    versions: PositiveInt = 1
    """The number of SavedModel versions in a blessed model's folder: its own, and the newest earlier blessed ones."""


class Conversion(Record):
    """How models are converted to LiteRT."""

    fixed_batch: PositiveInt = 1
    """Rows per invocation of files for which the batch cannot stay free."""
    twin_max_rel: PositiveNumber | None = None
    """How far the float32 twin of a half-precision, float64 or quantised model may be from it, relative to the largest answer.
    null: a limit of its format."""
    allow_select_tf_ops: Annotated[bool, Strict()] = False
    """true: a model that needs TensorFlow's operators is converted with them. Such a file cannot run here, so it is never
    blessed.
    """


class Quantization(Record):
    """How variants with quantised activations (int8, int16x8) are made."""

    integer_io: Annotated[bool, Strict()] = False
    """true: these variants take and give integers, for hardware without floats. false: they convert floats inside."""
    calibration_rows: PositiveInt = 128
    """The number of first sample rows used to calibrate the ranges of activations."""


class Auto(Record):
    """How the variant `auto` is searched for: the smallest mix of int4, int8, float16 and float32 weights that is within its
    gates.
    """

    candidates: PositiveInt = 64
    """The most files that are made and run for one model."""
    seconds: PositiveNumber = 300.0
    """Time after which the best mix so far is used. A search that ends by this limit may have another result on a faster
    machine, and the report says so.
    """


class Evaluation(Record):
    """How sample rows are run."""

    batch_size: PositiveInt = 64
    """Rows per batch. Results do not depend on it; memory and speed do."""
    confidence_intervals: ConfidenceIntervals | None = None
    """Estimate an interval around every task metric: jackknife, or poisson_bootstrap."""
    latency: Annotated[bool, Strict()] = True
    """Time every variant on this machine, a fraction of a second each."""


class Job(Record):
    """Everything one run needs. Job files are resolved: paths are absolute, and the only samples are every model's."""

    # `samples` stands before `models`: fields are validated in this order, and models may leave theirs out.
    samples: FrozenMapping[SamplesSpec] = Field(default_factory=FrozenDict)
    """Sample data by name. Models refer to the names; unused entries are fine. Without any, every model is SAMPLES_MISSING."""
    models: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    """The checkpoints to export, one entry for each group that shares samples, metadata and builder."""
    modules: tuple[ModuleReference, ...] = ()
    """Code you trust, imported before loading: .py files or module names."""
    custom_objects: FrozenMapping[CodeReference] = Field(default_factory=FrozenDict)
    """Name inside a checkpoint -> module:name, for names that `modules` does not offer by themselves."""
    reads: tuple[LocalPath, ...] = ()
    """Files and folders that your own code may read besides checkpoints, samples, modules and assets, which it always may."""
    trust: tuple[Trust, ...] = ()
    """Code from inside checkpoints that may run. Nothing by default."""
    variants: tuple[Variant, ...] = tuple(Variant(name) for name in DEFAULT_VARIANTS)
    """TFLite variants to make of every model."""
    recipes: FrozenMapping[FilePath] = Field(default_factory=FrozenDict)
    """Name of one more variant -> recipe of the AI Edge quantizer that makes it, a .json file."""
    gates: GatesByVariant = Field(default_factory=FrozenDict)
    """Variant, or saved_model -> metric -> limit, or outputs -> output -> metric -> limit. Absent metrics keep their default
    limit; null switches a gate off."""
    metrics: tuple[MetricSpec, ...] = ()
    """Task metrics, computed by TFMA on the labels for the checkpoint and every artifact."""
    eval_config: FilePath | None = None
    """A TFMA EvalConfig (.pbtxt or .json) in place of `metrics`: its metrics, slices, thresholds and options count."""
    policy: Policy = Policy()
    """The artifacts that must be blessed before the model is."""
    limits: Limits = Limits()
    """The resources that one model may use before it is stopped and reported."""
    keep: Keep = Keep()
    """Results of earlier runs that stay in the output folder."""
    conversion: Conversion = Conversion()
    """How models are brought to LiteRT."""
    quantization: Quantization = Quantization()
    """How variants with quantised activations are made."""
    targets: tuple[Text, ...] = ("cpu",)
    """Devices that files are meant for: cpu, microcontroller, gpu, ethos-u55-256 and its like. Each gets a recommended
    variant.
    """
    min_saving: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.1
    """A smaller file is recommended only if it saves this share of bytes against each blessed one that agrees better."""
    auto: Auto = Auto()
    """How the variant `auto` is searched for."""
    evaluation: Evaluation = Evaluation()
    """How sample rows are run."""

    @pydantic.field_validator("models")
    @classmethod
    def _name_the_only_samples(cls, models: tuple[ModelSpec, ...], info: pydantic.ValidationInfo) -> tuple[ModelSpec, ...]:
        names = list(info.data.get("samples", ()))
        if len(names) != 1:
            return models
        return tuple(model if model.samples else model.model_copy(update={"samples": names[0]}) for model in models)

    @pydantic.model_validator(mode="after")
    def _keys_agree(self) -> Job:
        problems = cross_checks.disagreements(self.model_dump(mode="json"), variants=VARIANTS, default=DEFAULT_VARIANTS)
        if problems:
            raise cross_checks.disagreement_error(problems)
        return self
