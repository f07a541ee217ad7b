"""The record of one checkpoint that every stage gets: which one it is, what the job says about it, and the state of this run.

It is small and picklable: it holds paths, never model bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry import storage
from liteferry.config.metrics_config import MetricsPlan
from liteferry.errors import Reason
from liteferry.loading.model import LoadSpec
from liteferry.sandbox import scratch
from liteferry.sandbox.outcome import Limits
from liteferry.storage import layout
from liteferry.tflite.auto_search import AutoOptions
from liteferry.tflite.lowering import LoweringOptions
from liteferry.tflite.public_metadata import ModelFacts
from liteferry.tflite.quantize import QuantizationOptions
from liteferry.types import SignatureSpec

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.sample_set import SampleSet


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundSamples:
    """The sample data of a `models` entry. `problem`: why it cannot be used; then `sample_set` is None."""

    name: str | None
    spec: SamplesSpec | None
    sample_set: SampleSet | None
    problem: Reason | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which checkpoint it is, and where its results go."""

    model_id: str
    uri: str  # path or URI of the checkpoint
    out: str  # the output folder, path or URI
    digest: str | None = None  # of the checkpoint's bytes; None until it is fingerprinted, and where it cannot be read
    size_bytes: int | None = None
    files: tuple[str, ...] = ()  # the objects of a checkpoint on a store
    stamp: str | None = None  # what the store said of these objects when the digest was taken
    is_remembered: bool = False  # whether the digest was taken in an earlier run, see storage.digest_cache


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The job's settings for the model. `recipe_digest` covers all of them except the limits: raising a limit does not
    invalidate finished work. A report with the same checkpoint digest and the same recipe digest still stands.
    """

    load: LoadSpec
    metadata: Mapping[str, Any]
    samples: BoundSamples
    variants: tuple[str, ...]
    require: tuple[str, ...]  # variants that the model needs to be blessed
    gates: Mapping[str, Mapping[str, Any]]  # as the job file has them, by variant
    limits: Limits
    batch_size: int
    quantization: QuantizationOptions
    lowering: LoweringOptions
    recipe_digest: str
    work_digest: str = ""  # digest of digest of the settings that affect artifacts and measurements: all but gates and policy
    unlabelled_digest: str = ""  # digest of all settings but `metadata`
    export_recipe: str = ""  # digest of the part that decides what the SavedModel computes
    latency: bool = False
    keep_versions: int = 1  # SavedModel versions in a blessed model's folder
    signatures: tuple[SignatureSpec, ...] = ()
    serve_examples: bool = False
    tflite_signatures: str | tuple[str, ...] = ()  # the signatures that each .tflite file holds besides the first, or `all`
    metrics: MetricsPlan | None = None
    recipes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # variant -> the user's quantizer recipe, JSON
    output_kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)  # output -> `regression` or `classes`
    twin_max_rel: float | None = None  # largest allowed difference of a float32 twin; None: by its format
    min_saving: float = 0.1  # the share of bytes that a smaller file must save to be recommended
    targets: tuple[str, ...] = ("cpu",)
    auto: AutoOptions = dataclasses.field(default_factory=AutoOptions)
    file_facts: ModelFacts | None = None  # TFLite Metadata of every variant, by the model's own names
    code_stamps: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of code and assets on stores, see distant_code


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunState:
    """The state of one run on this model."""

    version: int = 1  # of the SavedModel's folder: grows when the checkpoint or the export recipe has changed since the last run
    attempt: str = ""  # names the work folders
    work: str = ""  # the local folder that they are in, where OUT is not local
    path: str | None = None  # of a local copy of a checkpoint on a store, while one is held
    marker_before: bytes | None = None  # the marker in the model's folder when the plan was made
    share_key: str | None = None  # equal for checkpoints that can share one trace, see plan.siblings
    judged_before: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # {rules, status} of a report by older rules


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelPlan(ModelIdentity, ModelOptions, RunState):
    """One checkpoint and everything that its report depends on."""

    @property
    def checkpoint_path(self) -> str:
        """The path at which this machine can read the checkpoint."""
        return self.path or self.uri

    def asset_paths(self) -> tuple[str, ...]:
        """The files that go into artifacts as they are, local paths and URIs."""
        of_files = self.file_facts.all_files() if self.file_facts else ()
        return (*(path for signature in self.signatures for path in signature.assets.values()), *(file.path for file in of_files))

    @property
    def export_digest(self) -> str | None:
        """Equal for two exports that compute the same; None for a checkpoint that cannot be read."""
        return None if self.digest is None else sha256_of([self.digest, self.export_recipe])

    def gates_like(self, variant: str) -> str:
        """The variant whose default gates apply: itself, or int8 for any user's recipe."""
        return "int8" if variant in self.recipes else variant

    def model_directory(self) -> str:
        return storage.join(self.out, layout.MODELS, self.model_id)

    def work_root(self) -> str:
        """The local parent of work folders: on the file system of OUT, so that a finished folder is published by a rename; for
        an OUT on a store, on this worker's disk.
        """
        if self.work:
            return self.work
        return storage.join(storage.require_local(self.out), layout.STAGING)

    def staging_directory(self) -> str:
        """The folder in which this model is built. Each attempt has its own, since a runner may process an element twice, even
        at the same time.
        """
        return os.path.join(self.work_root(), layout.MODELS, self.model_id, self.attempt or "0")


def distant_code(plan: ModelPlan) -> list[tuple[str, ...]]:
    """The user's files on stores that a model needs besides its checkpoint, in groups that must lie side by side, since modules
    may import each other. A group is named by its first URI.
    """
    modules = tuple(filter(storage.is_remote, plan.load.modules))
    assets = {path for path in plan.asset_paths() if storage.is_remote(path)}
    return [*([modules] if modules else []), *((path,) for path in sorted(assets))]


def sha256_of(value: Any) -> str:
    """SHA-256 of a JSON-friendly value."""
    return f"sha256:{hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()}"


def begin_attempt(plans: Sequence[ModelPlan]) -> tuple[ModelPlan, ...]:
    """The plans, each with a new work folder that no other process uses. The folder is on this worker, which also publishes the
    model, since no later stage shuffles.
    """
    attempt = uuid.uuid4().hex
    work = scratch.shared_folder("work") if any(storage.is_remote(plan.out) for plan in plans) else ""
    return tuple(dataclasses.replace(plan, attempt=attempt, work=work) for plan in plans)
