"""Predicts the result for a job's checkpoints from files and syntax alone. `check` prints the forecast, and `run` prints it
before it begins.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry import storage
from liteferry.checkpoints import foreign, op_packages
from liteferry.checkpoints.links import LinkRule, follow
from liteferry.commands import row_hints, signatures_foreseen, source_names
from liteferry.commands.row_hints import Fitting
from liteferry.commands.source_names import Source
from liteferry.config.job import Job, ModelSpec
from liteferry.errors import ModelError, ReasonCode, SamplesError
from liteferry.plan.discovery import FoundCheckpoint
from liteferry.samples.binding import Binding, bind
from liteferry.samples.sample_set import SampleSet
from liteferry.types import Signature


class State(str, enum.Enum):
    """The forecast for a checkpoint."""

    READY = "ready"
    DONE = "already done"
    UNKNOWN = "unknown"
    DOES_NOT_FIT = "does not fit"
    WILL_FAIL = "will fail"

    @property
    def is_bad(self) -> bool:
        """Whether a run would not bless it."""
        return self in (State.WILL_FAIL, State.DOES_NOT_FIT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreseen:
    """One checkpoint. `problems`: (reason code, sentence with the fix) of what a run would refuse; `unknowns`: what only running
    the user's code can tell; `notes`: what feeds what, where nobody said it; `hints`: rows that look prepared in another way
    than in training. `refused`: what of its code would be refused.
    """

    model_id: str
    uri: str
    kind: str
    state: State
    problems: tuple[tuple[str, str], ...] = ()
    unknowns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """A samples entry: opened, or why it cannot be opened."""

    sample_set: SampleSet | None = None
    problem: tuple[str, str] | None = None


Seen = dict[tuple[str, int], dict[str, Any]]  # (URI, number of the models entry) -> the facts of a checkpoint


def foresee(job: Job, found: Sequence[FoundCheckpoint], seen: Seen, rows: Mapping[str, Rows]) -> list[Foreseen]:
    """One forecast for each checkpoint, in the same order. `seen`: what `look_into` returned for them."""
    sources = [source_names.read(module) for module in job.modules]
    told = [_one(job, at, seen[at.uri, at.entry], sources, rows) for at in found]
    fitting = [found for _, found in told if found is not None]
    hints, problems = row_hints.of(fitting), row_hints.image_problems(fitting)
    models = [dataclasses.replace(model, hints=hints.get(model.model_id, ())) for model, _ in told]
    return [_with_misfits(model, problems.get(model.model_id, ())) for model in models]


def _with_misfits(model: Foreseen, misfits: Sequence[str]) -> Foreseen:
    if not misfits:
        return model
    found = tuple((ReasonCode.SAMPLES_MISMATCH.value, misfit) for misfit in misfits)
    return dataclasses.replace(model, state=State.DOES_NOT_FIT, problems=model.problems + found)


def look_into(job: Job, found: Sequence[FoundCheckpoint]) -> Seen:
    """The facts of each checkpoint, read in a reader process that may die."""
    from liteferry.commands.inspect.contained import outlines

    trust = [trusted.value for trusted in job.trust]
    answers: Seen = {}
    wanted = []
    for at in found:
        key = (at.uri, at.entry)
        if storage.is_remote(at.uri):
            answers[key] = {"kind": "not looked into", "unknown": "it is on a store and is not downloaded for the check"}
            continue
        try:
            follow(at.uri, LinkRule.of(trust, root=at.link_root))
            wanted.append(at)
        except ModelError as error:
            answers[key] = {
                "kind": error.reason.code.value,
                "error": {"code": error.reason.code.value, "message": error.reason.message},
                "findings": [{"what": error.reason.message, "opened_by": "links"}],
            }
    with_builder = [job.models[at.entry].builder is not None for at in wanted]
    outlined = outlines([at.uri for at in wanted], with_builder)
    return answers | {(at.uri, at.entry): outline for at, outline in zip(wanted, outlined, strict=True)}


def _one(
    job: Job, at: FoundCheckpoint, seen: Mapping[str, Any], sources: Sequence[Source], rows: Mapping[str, Rows]
) -> tuple[Foreseen, Fitting | None]:
    """The forecast for a checkpoint; and, if its rows fit, the data for the hints about their values."""
    entry = job.models[at.entry]
    trust = [trusted.value for trusted in job.trust]
    refused = tuple(finding["what"] for finding in seen.get("findings", ()) if finding["opened_by"] not in trust)
    failing: list[tuple[str, str]] = []
    error = seen.get("error")
    if error is not None:
        failing.append((error["code"], error["message"]))
    else:
        newer = seen.get("newer", "")
        failing += [(ReasonCode.LOAD_UNSAFE.value, f"{what}{newer}") for what in refused]
        failing += _code_problems(at, entry, job, seen, sources)
        failing += _operation_problems(at, job, seen)
        if not refused:  # the bytecode is trusted
            failing += [(ReasonCode.LOAD_FAILED.value, told) for told in seen.get("foreign_lambdas", ())]
        failing += signatures_foreseen.problems(at.uri, entry, seen)
    unknowns = [seen["unknown"]] if "unknown" in seen else _unknowns(entry, seen)
    misfits, binding = ([], None) if failing else _fit(job, entry, seen, rows)
    state = State.WILL_FAIL if failing else State.DOES_NOT_FIT if misfits else State.UNKNOWN if unknowns else State.READY
    foreseen = Foreseen(
        model_id=at.model_id,
        uri=at.uri,
        kind=str(seen["kind"]),
        state=state,
        problems=tuple(failing or misfits),
        unknowns=tuple(unknowns),
        notes=() if binding is None else binding.notes,
        refused=refused,
    )
    sample_set = rows[entry.samples].sample_set if entry.samples is not None else None
    if binding is None or sample_set is None:
        return foreseen, None
    fitting = Fitting(
        model_id=at.model_id,
        sample_set=sample_set,
        binding=binding,
        ranges=seen.get("input_ranges"),
        may_scale=bool(seen.get("may_scale")),
    )
    return foreseen, fitting


def _code_problems(
    at: FoundCheckpoint, entry: ModelSpec, job: Job, seen: Mapping[str, Any], sources: Sequence[Source]
) -> list[tuple[str, str]]:
    """Problems with code: weights without a builder, builders that do not exist, classes that no module defines, modules with
    syntax errors.
    """
    found = []
    needs_code = bool(seen.get("needs_builder") or seen.get("custom_objects"))
    if seen.get("needs_builder") and entry.builder is None:
        what = f"{at.uri} holds weights without an architecture; name the callable that builds its model"
        fix = 'builder: "module:function" in the job file, --builder module:function as a flag'
        fix += foreign.of_transformers(at.uri)
        found.append((ReasonCode.LOAD_NEEDS_BUILDER.value, f"{what}: {fix}"))
    if entry.builder is not None and (problem := source_names.builder_problem(entry.builder, sources)):
        found.append((ReasonCode.LOAD_FAILED.value, problem))
    if needs_code or entry.builder is not None:
        found += [(ReasonCode.LOAD_FAILED.value, source.problem) for source in sources if source.problem is not None]
    if entry.builder is None and not any(source.is_open for source in sources):
        offered = {*job.custom_objects, *(name for source in sources for name in source.names)}
        missing = [name for name in seen.get("custom_objects", ()) if not {name, name.split(">")[-1]} & offered]
        if missing:
            what = f"{at.uri} needs {', '.join(missing[:8])}, which Keras does not have and the job does not offer"
            fix = f"list the file that defines it under modules (--modules FILE.py){seen.get('newer', '')}"
            found.append((ReasonCode.LOAD_UNKNOWN_OBJECT.value, f"{what}; {fix}"))
    return found


def _operation_problems(at: FoundCheckpoint, job: Job, seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    missing = [name for name in seen.get("foreign_operations", ()) if not op_packages.provides(job.modules, name)]
    if not missing:
        return []
    what = f"{at.uri}: its graph needs operations that TensorFlow does not have ({', '.join(missing[:8])})"
    fix = f"list the package that registers them under modules (--modules){op_packages.in_words(missing)}"
    return [(ReasonCode.LOAD_UNKNOWN_OPERATION.value, f"{what}; {fix}")]


def _unknowns(entry: ModelSpec, seen: Mapping[str, Any]) -> list[str]:
    if entry.builder is not None:
        return [f"only running {entry.builder} tells what it builds, and whether the weights fit"]
    if seen.get("custom_objects"):
        return [f"only running your code tells whether it loads: {', '.join(list(seen['custom_objects'])[:8])}"]
    if seen.get("inputs") is None and seen.get("signatures") is None and "error" not in seen:
        return ["its inputs are not known before a run builds it"]
    return []


def _fit(
    job: Job, entry: ModelSpec, seen: Mapping[str, Any], rows: Mapping[str, Rows]
) -> tuple[list[tuple[str, str]], Binding | None]:
    """What of the samples does not fit the model: names, shapes, dtypes, labels, gates and metrics of outputs it has not."""
    if entry.samples is None:
        fix = "add `samples` (--samples FILE)"
        return [(ReasonCode.SAMPLES_MISSING.value, f"it has no sample rows, so nothing can be proven about it; {fix}")], None
    opened, spec = rows[entry.samples], job.samples[entry.samples]
    if opened.sample_set is None:
        assert opened.problem is not None
        return [opened.problem], None
    problems = [(ReasonCode.SAMPLES_MISMATCH.value, problem) for problem in _label_problems(job, entry, opened.sample_set)]
    signature = _signature(entry, seen)
    if signature is None:
        return problems, None
    problems += [(ReasonCode.SAMPLES_MISMATCH.value, problem) for problem in _output_problems(job, entry, signature)]
    try:
        binding = bind(opened.sample_set, spec, signature, samples_name=entry.samples)
    except SamplesError as error:
        return [(error.reason.code.value, error.reason.message), *problems], None
    return problems, binding


def _signature(entry: ModelSpec, seen: Mapping[str, Any]) -> Signature | None:
    """The model's inputs and outputs, as far as its files state them with certainty."""
    if seen.get("signatures") is not None:
        return signatures_foreseen.proven(entry, seen["signatures"])
    inputs = seen.get("inputs")
    if entry.builder is not None or not inputs or any(not tensor["name"] or not tensor["shape"] for tensor in inputs):
        return None
    return signatures_foreseen.of(inputs, seen.get("outputs") or ())


def _label_problems(job: Job, entry: ModelSpec, sample_set: SampleSet) -> list[str]:
    spec = job.samples[entry.samples or ""]
    metrics = job.metrics if entry.metrics is None else entry.metrics
    if not metrics:
        return []
    if spec.label is None and not spec.labels:
        return [f"the job has metrics and its samples no labels; name their column: `label` of samples.{entry.samples} (--label)"]
    column = sample_set.columns.get(spec.label or "")
    if column is not None and column.dtype == "string":
        held = f"metrics are computed on numbers, and the label column {spec.label!r} holds text"
        return [f"{held}; store the number of each class, or name another column (--label)"]
    return []


def _output_problems(job: Job, entry: ModelSpec, signature: Signature) -> list[str]:
    names = [tensor.name for tensor in signature.outputs]
    if not names:
        return []
    known = ", ".join(names)
    found = [
        f"gates.{variant}.outputs.{output}: the model has no such output; its outputs: {known}"
        for variant, limits in job.gates.items()
        for output in limits.get("outputs", {})
        if output not in names
    ]
    metrics = job.metrics if entry.metrics is None else entry.metrics
    asked = [metric.output_name for metric in metrics if metric.output_name is not None]
    found += [
        f"metrics: output_name {name!r} is no output of the model; its outputs: {known}" for name in asked if name not in names
    ]
    spec = job.samples.get(entry.samples or "")
    labels = [name for name in (spec.labels if spec else ()) if name not in names]
    return found + [f"labels.{name}: the model has no such output; its outputs: {known}" for name in labels]
