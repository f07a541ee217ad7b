"""A job -> one ModelPlan for each checkpoint that its patterns name, with the digests of what the job says."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry import storage
from liteferry.config.metric_limits import without_numbers
from liteferry.config.metrics_config import MetricsPlan, plan_metrics
from liteferry.config.quantizer_recipes import read as read_recipes
from liteferry.errors import Reason, ReasonCode, SamplesError, Stage, StorageError, reason_for
from liteferry.loading.model import LoadSpec
from liteferry.plan import mlflow
from liteferry.plan.discovery import FoundCheckpoint
from liteferry.plan.job_files import find_checkpoints
from liteferry.plan.model_plan import BoundSamples, ModelPlan, distant_code, sha256_of
from liteferry.sandbox.outcome import Limits
from liteferry.storage import local_cache
from liteferry.storage.transient import is_storage_failure, is_transient_read_error
from liteferry.tflite.auto_search import AutoOptions
from liteferry.tflite.lowering import LoweringOptions
from liteferry.tflite.public_metadata import File, ModelFacts, Tensor
from liteferry.tflite.quantize import QuantizationOptions
from liteferry.types import SignatureSpec, TensorSpec
from liteferry.version import REPORT_SCHEMA_VERSION

if TYPE_CHECKING:
    from liteferry.config.job import Job, ModelSpec, SamplesSpec
    from liteferry.config.value_types import Record
    from liteferry.samples.sample_set import SampleSet


def plan_models(job: Job, out: str) -> list[ModelPlan]:
    """One plan for every checkpoint that matches the job's patterns. Each samples entry is opened once.

    Raises:
      JobError: a pattern that matches nothing at all.
    """
    found = find_checkpoints(job, out)
    samples = {name: bound_samples(name, spec) for name, spec in job.samples.items()}
    metrics = [_entry_metrics(job, entry, samples.get(entry.samples or "", _NO_SAMPLES)) for entry in job.models]
    entries = [
        _Entry(
            samples=samples.get(entry.samples or "", _NO_SAMPLES),
            recipe_digest=sha256_of(recipe := _entry_recipe(job, index, samples, metrics[index])),
            work_digest=sha256_of(_work(recipe, metrics[index])),
            unlabelled_digest=sha256_of({**recipe, "entry": {**recipe["entry"], "metadata": None}}),
            export_recipe=_export_recipe(job, entry, samples),
        )
        for index, entry in enumerate(job.models)
    ]
    plans = [_plan(job, at, out, entries[at.entry]) for at in found]
    stamps = _code_stamps(plans)
    return [
        dataclasses.replace(plan, metrics=metrics[at.entry], code_stamps=stamps) for plan, at in zip(plans, found, strict=True)
    ]


def _code_stamps(plans: Sequence[ModelPlan]) -> dict[str, str]:
    stamps = {}
    for files in {files for plan in plans for files in distant_code(plan)}:
        with contextlib.suppress(StorageError):  # each model that needs them reports the error itself
            stamps[files[0]] = local_cache.stamp_of(files)
    return stamps


def bound_samples(name: str, spec: SamplesSpec, *, opener: Callable[..., SampleSet] | None = None) -> BoundSamples:
    """Opens a samples entry. After an error that may be transient it tries once more, since the error would fail every model.
    Never raises for the content of a sample file. `opener`: `open_samples`, or a test's replacement.
    """
    from liteferry.samples.headers import describe_contained
    from liteferry.samples.opening import open_samples

    opener = opener or open_samples
    try:
        try:
            sample_set = opener(spec, describe=describe_contained)
        except (SamplesError, StorageError, OSError) as error:
            if not is_transient_read_error(error):
                raise
            sample_set = opener(spec, describe=describe_contained)
        return BoundSamples(name=name, spec=spec, sample_set=sample_set, problem=None)
    except (SamplesError, StorageError, OSError) as error:
        problem = reason_for(error, Stage.SAMPLES)
        code = ReasonCode.STORAGE_FAILED if is_storage_failure(error) else problem.code
        return BoundSamples(name=name, spec=spec, sample_set=None, problem=dataclasses.replace(problem, code=code))


_NO_SAMPLES = BoundSamples(
    name=None,
    spec=None,
    sample_set=None,
    problem=Reason(
        code=ReasonCode.SAMPLES_MISSING,
        stage=Stage.SAMPLES,
        message="the job gives this model no sample rows, so nothing can be proven about it; "
        "add `samples` to its entry under `models`",
    ),
)


def _entry_metrics(job: Job, entry: ModelSpec, samples: BoundSamples) -> MetricsPlan | None:
    return plan_metrics(job, entry, samples.spec, tuple(samples.sample_set.columns) if samples.sample_set else ())


# These, and the numbers of limits on task metrics, decide a verdict over statistics that are kept, and nothing that is made or
# measured, see `report.rejudge`.
_JUDGED_BY = ("gates", "policy")


def _work(recipe: Mapping[str, Any], metrics: MetricsPlan | None) -> dict[str, Any]:
    """The part of a recipe that affects artifacts and measurements."""
    work = {key: value for key, value in recipe.items() if key not in _JUDGED_BY}
    return work if metrics is None else {**work, "metrics": without_numbers(metrics.eval_config)}


def _entry_recipe(job: Job, index: int, samples: Mapping[str, BoundSamples], metrics: MetricsPlan | None) -> dict[str, Any]:
    """Everything except the checkpoint that affects this entry's reports, including user code and sample rows, as JSON for a
    digest.
    """
    entry = job.models[index]
    bound = samples.get(entry.samples or "", _NO_SAMPLES)
    recipe = {
        "liteferry": _DIGESTS_SINCE,
        "schema": REPORT_SCHEMA_VERSION,
        "entry": _said(entry, {"checkpoints", "metrics", "exclude", "versions"}),
        "assets": _asset_digests(entry),
        "modules": {module: _code_digest(module) for module in job.modules},
        "custom_objects": dict(job.custom_objects),
        "trust": [str(trust.value) for trust in job.trust],
        "samples": _said(bound.spec, {"path"}) if bound.spec else None,
        "samples_digest": bound.sample_set.digest if bound.sample_set else (bound.problem.message if bound.problem else None),
        "variants": [variant.value for variant in job.variants],
        "recipes": read_recipes(job),
        "gates": {name: dict(gates) for name, gates in job.gates.items()},
        "policy": _said(job.policy),
        "metrics": metrics.eval_config if metrics else None,
        "evaluation": _said(job.evaluation),
        "quantization": _said(job.quantization),
        "conversion": _said(job.conversion),
    }
    newer: dict[str, Any] = {"reads": _stamps(job.reads) if job.reads else None, "auto": _said(job.auto) or None}
    for key in ("min_saving", "targets"):
        newer[key] = None if getattr(job, key) == type(job).model_fields[key].default else getattr(job, key)
    return {**recipe, **{key: value for key, value in newer.items() if value is not None}}


def _stamps(paths: Sequence[str]) -> dict[str, str | None]:
    """Modification times and sizes of the files that the user's code may read; not their bytes, since a folder may be large.
    None for a path that does not exist.
    """
    stamps: dict[str, str | None] = dict.fromkeys(paths)
    for path in paths:
        with contextlib.suppress(StorageError):
            stamps[path] = storage.stamp(path)
    return stamps


# Digests cover the job's settings, not LiteFerry's version: the number of the rules decides whether a finished model is still
# valid. Version 0.1.0 stored its own version in this value, which is kept so that its digests stay equal.
_DIGESTS_SINCE = "0.1.0"
# The keys that 0.1.0 always digested. A newer key counts only where the job sets it to something new, so that a new version
# alone does not invalidate finished models.
_DIGESTED_ALWAYS: Mapping[str, str] = {
    "ModelSpec": "checkpoints samples metadata builder builder_args strip signatures serve_examples metrics",
    "SamplesSpec": "path inputs label labels example_weight slices id schema_file decode size scale offset take fraction seed",
    "Policy": "require",
    "Evaluation": "batch_size confidence_intervals latency",
    "Quantization": "integer_io calibration_rows",
    "Conversion": "fixed_batch allow_select_tf_ops",
    "Auto": "",
}


def _said(record: Record, exclude: Collection[str] = ()) -> dict[str, Any]:
    """A record of the job as JSON, for a digest."""
    always = _DIGESTED_ALWAYS[type(record).__name__].split()
    silent = {
        name
        for name, field in type(record).model_fields.items()
        if name not in always and getattr(record, name) == field.get_default(call_default_factory=True)
    }
    return record.model_dump(mode="json", exclude={*exclude, *silent})


def _export_recipe(job: Job, entry: ModelSpec, samples: Mapping[str, BoundSamples]) -> str:
    """Digest of everything except the checkpoint's bytes that affects the SavedModel's graph and metadata."""
    bound = samples.get(entry.samples or "", _NO_SAMPLES)
    keys = {
        "metadata",
        "builder",
        "builder_args",
        "weights",
        "strip",
        "signature",
        "signatures",
        "serve_examples",
        "tflite_signatures",
    }
    return sha256_of(
        {
            "liteferry": _DIGESTS_SINCE,
            "entry": {key: value for key, value in _said(entry).items() if key in keys},
            "assets": _asset_digests(entry),
            "modules": {module: _code_digest(module) for module in job.modules},
            "custom_objects": dict(job.custom_objects),
            "trust": [str(trust.value) for trust in job.trust],
            "inputs": dict(bound.spec.inputs) if bound.spec else None,
        }
    )


def _asset_digests(entry: ModelSpec) -> dict[str, str]:
    paths = {path for signature in entry.signatures.values() for path in signature.assets.values()}
    paths |= set(entry.tflite_metadata.all_files() if entry.tflite_metadata else ())
    return {path: digest for path in sorted(paths) if (digest := _file_digest(path)) is not None}


def _code_digest(module: str) -> str | None:
    """The digest of a user's file; None for an installed module, whose version is in the report's environment."""
    return _file_digest(module) if module.endswith(".py") else None


def _file_digest(path: str) -> str | None:
    """A file's digest; None where it does not exist or cannot be read now: the models that need it report the error."""
    try:
        return local_cache.digest(path)
    except StorageError:
        return None


def _signatures(entry: ModelSpec) -> tuple[SignatureSpec, ...]:
    return tuple(
        SignatureSpec(
            name=name,
            method=signature.method,
            function=signature.function,
            inputs=tuple(TensorSpec(name=at, shape=spec.shape, dtype=spec.dtype) for at, spec in signature.inputs.items()),
            assets=dict(signature.assets),
        )
        for name, signature in entry.signatures.items()
    )


def _file_facts(entry: ModelSpec, model_id: str) -> ModelFacts | None:
    told = entry.tflite_metadata
    if told is None:
        return None
    tensors = tuple(
        Tensor(
            name=name,
            description=notes.description or "",
            mean=tuple(map(float, notes.mean)),
            std=tuple(map(float, notes.std)),
            files=tuple(
                File(path=path, kind=kind)
                for kind, path in (("labels", notes.labels), ("vocabulary", notes.vocabulary))
                if path is not None
            ),
        )
        for name, notes in sorted(told.tensors.items())
    )
    return ModelFacts(
        name=told.name or model_id,
        description=told.description or "",
        author=told.author or "",
        license=told.license or "",
        tensors=tensors,
        files=tuple(File(path=path) for path in told.files),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Entry:
    """The facts that all models of one `models` entry share, besides the job's own keys."""

    samples: BoundSamples
    recipe_digest: str
    work_digest: str
    unlabelled_digest: str
    export_recipe: str


def _plan(job: Job, checkpoint: FoundCheckpoint, out: str, shared: _Entry) -> ModelPlan:
    entry = job.models[checkpoint.entry]
    recipes = read_recipes(job)
    variants = (*(variant.value for variant in job.variants), *recipes)
    said = mlflow.said_of(checkpoint.uri)

    def of_model(digest: str) -> str:
        return sha256_of([digest, said]) if said else digest

    return ModelPlan(
        model_id=checkpoint.model_id,
        uri=checkpoint.uri,
        out=out,
        load=LoadSpec(
            modules=tuple(job.modules),
            custom_objects=dict(job.custom_objects),
            trust=tuple(trust.value for trust in job.trust),
            builder=entry.builder,
            builder_args=dict(entry.builder_args),
            strip=tuple(entry.strip),
            link_root=checkpoint.link_root,
            reads=tuple(job.reads),
            weights=entry.weights.value,
            signature=entry.signature,
        ),
        metadata={**({mlflow.KEY: said} if said else {}), **entry.metadata},
        samples=shared.samples,
        variants=variants,
        require=variants if job.policy.require is None else tuple(job.policy.require),
        gates={name: dict(gates) for name, gates in job.gates.items()},
        limits=Limits(
            seconds=job.limits.seconds_per_model,
            memory_bytes=int(job.limits.memory_gb_per_model * 10**9),
            disk_bytes=int(job.limits.disk_gb_per_model * 10**9),
        ),
        batch_size=job.evaluation.batch_size,
        latency=job.evaluation.latency,
        keep_versions=job.keep.versions,
        quantization=QuantizationOptions(
            integer_io=job.quantization.integer_io, calibration_rows=job.quantization.calibration_rows
        ),
        lowering=LoweringOptions(fixed_batch=job.conversion.fixed_batch, allow_select_tf_ops=job.conversion.allow_select_tf_ops),
        recipe_digest=of_model(shared.recipe_digest),
        work_digest=of_model(shared.work_digest),
        unlabelled_digest=shared.unlabelled_digest,
        recipes=recipes,
        export_recipe=of_model(shared.export_recipe),
        twin_max_rel=job.conversion.twin_max_rel,
        min_saving=job.min_saving,
        targets=tuple(job.targets),
        auto=AutoOptions(candidates=job.auto.candidates, seconds=job.auto.seconds),
        signatures=_signatures(entry),
        file_facts=_file_facts(entry, checkpoint.model_id),
        serve_examples=entry.serve_examples,
        tflite_signatures=entry.tflite_signatures,
        output_kinds={name: output.kind.value for name, output in entry.outputs.items() if output.kind is not None},
    )
