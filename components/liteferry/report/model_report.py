"""Builds one model's report, the record that becomes report.json, from its plan, export and evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from liteferry import lenient
from liteferry.errors import Reason, ReasonCode
from liteferry.evaluation.results import SAVED_MODEL, CandidateResult, Evaluation
from liteferry.evaluation.tfma.results import facts_of, reference_facts
from liteferry.evaluation.verdict import case_of_run, output_kinds, verdict
from liteferry.parity import noise
from liteferry.parity.class_counts import LEAST_POSITIONS
from liteferry.parity.gates import Verdict, are_classes
from liteferry.parity.scatter import scatter_of
from liteferry.plan.model_plan import ModelPlan
from liteferry.report import recommend, records, targets
from liteferry.report.changes import short_contract
from liteferry.report.environment import environment
from liteferry.report.recommend import passed_over, worth_naming
from liteferry.samples.choosing import NOTE
from liteferry.samples.slice_columns import columns_of_slices
from liteferry.types import Contract, ExportedModel, SecondOpinion, Signature, Status, VariantFacts
from liteferry.version import REPORT_SCHEMA_VERSION, RULES_VERSION

Variants = dict[str, records.VariantReport]


def build(
    plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation, *, worst_rows: Sequence[Mapping[str, Any]] = ()
) -> records.JudgedReport:
    """The report of one model.

    A model is blessed when its SavedModel and every required variant are. If anything is missing, it is not blessed.
    `worst_rows`: see `results.worst_inputs_of`.
    """
    verdicts = {name: verdict(case_of_run(name, plan, exported, evaluation)) for name in (SAVED_MODEL, *plan.variants)}
    variants = {name: _variant(plan, exported.variants.get(name), name, verdicts[name], evaluation) for name in plan.variants}
    variants = cast("Variants", recommend.with_what_auto_found(cast("dict[str, dict[str, Any]]", variants)))
    reason = _model_reason(plan, exported, verdicts)
    recommended = worth_naming(variants, min_saving=plan.min_saving) if verdicts[SAVED_MODEL].is_blessed else None
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        "rules_version": RULES_VERSION,
        "model_id": plan.model_id,
        "status": _status(exported, reason).value,
        "reason": _reason(reason),
        "checkpoint": _checkpoint(plan, exported),
        "metadata": dict(plan.metadata),
        "samples": _samples(plan),
        "metrics": cast("records.TaskMetrics | None", reference_facts(plan.metrics, evaluation.metrics)),
        "saved_model": _saved_model(exported, verdicts[SAVED_MODEL], evaluation),
        "twin": _twin(plan, exported, evaluation),
        "variants": variants,
        "worst_rows": [cast("records.WorstRow", row) for row in worst_rows],
        "targets": targets.facts_of(plan, exported, evaluation, variants, may_ship=verdicts[SAVED_MODEL].is_blessed),
        "recommended_variant": recommended,
        "passed_over": [cast("records.PassedOver", one) for one in passed_over(variants, recommended)],
        "required_variants": list(plan.require),
        "noise_floor": _noise_floors(evaluation),
        "warnings": _warnings(plan, exported, evaluation),
        "version": plan.version,
        "export_digest": plan.export_digest,
        "recipe_digest": plan.recipe_digest,
        "work_digest": plan.work_digest,
        "unlabelled_digest": plan.unlabelled_digest,
        "judged_by": _judged_by(plan, evaluation),
        "judged_before": dict(plan.judged_before) or None,
        "takes_back": None,
        "held_back": None,
        "nonfinite": _nonfinite(evaluation),
        "input_ranges": {name: list(found) for name, found in sorted(evaluation.rows_seen.input_ranges.items())},
        "limits": {
            "seconds": plan.limits.seconds,
            "memory_bytes": plan.limits.memory_bytes,
            "disk_bytes": plan.limits.disk_bytes,
        },
        "environment": environment(),
        "timings_s": _timings(exported, evaluation),
        "peak_memory_bytes": max(
            exported.peak_memory_bytes,
            evaluation.peak_memory_bytes,
            evaluation.metrics.peak_memory_bytes if evaluation.metrics else 0,
        ),
    }


def _noise_floors(evaluation: Evaluation) -> records.NoiseFloors:
    floors = {source: evaluation.noise.get(source) for source in (noise.REFERENCE, noise.FLOAT32)}
    return cast("records.NoiseFloors", {source: floor.to_json() if floor else None for source, floor in floors.items()})


def _checkpoint(plan: ModelPlan, exported: ExportedModel) -> records.Checkpoint:
    custom_objects = exported.saved_model.custom_objects if exported.saved_model else ()
    return {
        "uri": plan.uri,
        "kind": exported.kind,
        "digest": plan.digest,
        "bytes": plan.size_bytes,
        "keras_version": exported.keras_version,
        "architecture_digest": exported.architecture_digest,
        "weights": plan.load.weights if plan.load.builder else None,
        "custom_objects": [cast("records.CustomObject", dataclasses.asdict(custom)) for custom in custom_objects],
    }


def _judged_by(plan: ModelPlan, evaluation: Evaluation) -> dict[str, Any]:
    """The verdict's inputs from the job and the rows, so that the report can be judged again."""
    return {
        "gates": {name: dict(gates) for name, gates in plan.gates.items()},
        "recipes": sorted(plan.recipes),
        "kinds": output_kinds(plan, evaluation),
        "min_saving": plan.min_saving,
        "kinds_seen": evaluation.rows_seen.kinds(),
        "metric_limits": [dataclasses.asdict(one) for one in plan.metrics.bounds()] if plan.metrics else [],
    }


def _nonfinite(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    """Rows with NaN or infinity by input, and such elements of the checkpoint's answers by output; without the zeros."""
    result = evaluation.candidates.get(SAVED_MODEL)
    answers = {name: stats.nonfinite_reference for name, stats in (result.stats.items() if result else ())}
    return {
        "inputs": dict(sorted(evaluation.rows_seen.nonfinite_inputs.items())),
        "reference": {name: count for name, count in sorted(answers.items()) if count},
    }


def _timings(exported: ExportedModel, evaluation: Evaluation) -> dict[str, float]:
    later = {"evaluate": evaluation.seconds}
    if evaluation.metrics is not None:
        later["metrics"] = evaluation.metrics.seconds
    if evaluation.localise_seconds:
        later["localise"] = evaluation.localise_seconds
    return {**exported.timings_s, **{step: round(seconds, 3) for step, seconds in later.items()}}


def _reason(reason: Reason | None) -> records.ReasonFacts | None:
    if reason is None:
        return None
    return {"code": reason.code.value, "stage": reason.stage.value, "message": reason.message}


def _model_reason(plan: ModelPlan, exported: ExportedModel, verdicts: Mapping[str, Verdict]) -> Reason | None:
    """The first thing that keeps the model from being blessed, None when nothing does."""
    if exported.reason is not None:
        return exported.reason
    for name in (SAVED_MODEL, *plan.require):
        verdict = verdicts[name]
        if not verdict.is_blessed:
            assert verdict.reason is not None
            prefix = "" if name == SAVED_MODEL or verdict.reason.message.startswith(name) else f"{name}: "
            return dataclasses.replace(verdict.reason, message=prefix + verdict.reason.message)
    return None


def _status(exported: ExportedModel, reason: Reason | None) -> Status:
    if reason is None:
        return Status.BLESSED
    return Status.FAILED if exported.saved_model is None else Status.NOT_BLESSED


def _samples(plan: ModelPlan) -> records.Samples | None:
    samples = plan.samples
    if samples.name is None:
        return None
    found = samples.sample_set
    return {
        "name": samples.name,
        "path": found.path if found else samples.spec.path if samples.spec else None,
        "row_count": found.row_count if found else 0,
        "digest": found.digest if found else None,
    }


def _tensors(signature: Signature) -> records.SignatureFacts:
    sides = {side: [dataclasses.asdict(spec) for spec in getattr(signature, side)] for side in ("inputs", "outputs")}
    return cast("records.SignatureFacts", sides)


def _saved_model(exported: ExportedModel, verdict: Verdict, evaluation: Evaluation) -> records.SavedModelReport | None:
    saved = exported.saved_model
    if saved is None:
        return None
    result, metrics = evaluation.candidates.get(SAVED_MODEL), facts_of(SAVED_MODEL, evaluation.metrics)
    return {
        "path": saved.path,
        "bytes": saved.bytes,
        "status": (Status.BLESSED if verdict.is_blessed else Status.NOT_BLESSED).value,
        "reason": _reason(verdict.reason),
        "signature": saved.signature_name,
        "signatures": {
            saved.signature_name: _tensors(saved.signature),
            **{name: _tensors(signature) for name, signature in saved.more_signatures.items()},
        },
        "together": None if saved.together is None else _tensors(saved.together),
        "speed": _speed(result, evaluation),
        "per_call_outputs": list(saved.per_call_outputs),
        "oracle": saved.oracle,
        "deterministic": saved.deterministic,
        "second_opinion": _second_opinion(exported.second_opinion),
        "fidelity": _parity(result),
        **_slices(result),
        "metrics": metrics["metrics"],
        "metric_slices": metrics["metric_slices"],
        "worst_examples": _worst(result),
        "scatter": _scatter(result),
        "gates": [cast("records.GateFacts", dataclasses.asdict(gate)) for gate in verdict.gates],
    }


def _twin(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> records.TwinReport | None:
    if exported.twin is None:
        return None
    return {
        "of": exported.twin.of,
        "max_rel_limit": plan.twin_max_rel or exported.twin.max_rel_limit,
        "rounds_inputs": exported.twin.rounds_inputs,
        "parity": {name: cast("records.OutputParity", stats.report()) for name, stats in evaluation.twin.items()},
    }


def _second_opinion(opinion: SecondOpinion | None) -> records.SecondOpinionFacts | None:
    if opinion is None:
        return None
    code = opinion.code.value if opinion.code else None
    return {
        "status": opinion.status.value,
        "max_rel": opinion.max_rel,
        "rows": opinion.rows,
        "by": opinion.by,
        "why": opinion.why,
        "code": code,
    }


def _speed(result: CandidateResult | None, evaluation: Evaluation) -> records.Speed:
    """The cost of reloading: the SavedModel's speed beside that of the checkpoint's own traced function, on the same batches."""
    checkpoint, reloaded = evaluation.checkpoint_rows_per_s, result.rows_per_s if result else None
    return {
        "checkpoint_rows_per_s": checkpoint,
        "saved_model_rows_per_s": reloaded,
        "ratio": reloaded / checkpoint if checkpoint and reloaded else None,
    }


def _variant(
    plan: ModelPlan, facts: VariantFacts | None, name: str, verdict: Verdict, evaluation: Evaluation
) -> records.VariantReport:
    facts = facts or VariantFacts(variant=name, attempts=(), reason=verdict.reason)
    result, metrics = evaluation.candidates.get(name), facts_of(name, evaluation.metrics)
    return {
        "status": _variant_status(facts, verdict, result).value,
        "reason": _reason(verdict.reason),
        "path": facts.path,
        "bytes": facts.bytes,
        "batch": "dynamic" if facts.batch is None and facts.path is not None else facts.batch,
        "ops": facts.ops,
        "weights": facts.weights,
        "quantized_share": _quantized_share(facts.weights),
        "quantizer": facts.quantizer,
        "held": cast("records.Held | None", facts.held),
        "auto": cast("records.AutoFacts | None", facts.auto),
        "contract": _contract(facts.contract),
        "attempts": [_attempt(attempt.lowering, attempt.error) for attempt in facts.attempts],
        "parity": _parity(result),
        **_slices(result),
        "metrics": metrics["metrics"],
        "metric_slices": metrics["metric_slices"],
        "worst_examples": _worst(result),
        "latency_ms": cast("records.Latency", dict(result.latency_ms)) if result else {},
        "activation_bytes": result.activation_bytes if result else None,
        "scatter": _scatter(result),
        "diverging": [cast("records.Diverging", dataclasses.asdict(one)) for one in evaluation.diverging.get(name, ())],
        "tensor_errors": [
            cast("records.TensorErrorFacts", dataclasses.asdict(one)) for one in evaluation.tensor_errors.get(name, ())
        ],
        "gates": [cast("records.GateFacts", dataclasses.asdict(gate)) for gate in verdict.gates],
    }


def _quantized_share(weights: Mapping[str, int] | None) -> float | None:
    """Share of the weights that are not float32; 0 shows a quantisation that did nothing."""
    total = sum(weights.values()) if weights else 0
    return None if not weights or total == 0 else 1 - weights.get("float32", 0) / total


_PARITY_CODES = (ReasonCode.PARITY_OUT_OF_TOLERANCE, ReasonCode.PARITY_NONFINITE)


def _variant_status(facts: VariantFacts, verdict: Verdict, result: CandidateResult | None) -> Status:
    if verdict.is_blessed:
        return Status.BLESSED
    if facts.path is None:
        return Status.FAILED
    if facts.reason is not None:
        return Status.UNVERIFIABLE
    cannot_run = result is not None and result.reason is not None and result.reason.code not in _PARITY_CODES
    return Status.UNVERIFIABLE if cannot_run else Status.NOT_BLESSED


def _attempt(lowering: str, error: Reason | None) -> records.AttemptFacts:
    if error is None:
        return {"lowering": lowering, "status": "converted", "message": None}
    return {"lowering": lowering, "status": error.code.value, "message": error.message}


def _contract(contract: Contract | None) -> records.ContractFacts | None:
    return None if contract is None else cast("records.ContractFacts", dataclasses.asdict(contract))


def _parity(result: CandidateResult | None) -> dict[str, records.OutputParity]:
    stats = {} if result is None else result.stats
    return {name: cast("records.OutputParity", one.report()) for name, one in stats.items()}


def _scatter(result: CandidateResult | None) -> dict[str, records.Scatter]:
    stats = {} if result is None else result.stats
    return cast("dict[str, records.Scatter]", scatter_of({name: one.scatter for name, one in stats.items()}))


def _slices(result: CandidateResult | None) -> records.Slices:
    """The statistics of every slice that is kept, and the number of rows in other slices, by the columns that cut them."""
    slices = result.slices if result is not None else {}
    return {
        "slices": {
            name: cast("records.SliceParity", facts)
            for columns, found in slices.items()
            for name, facts in found.report(columns).items()
        },
        "rows_not_in_slices": {
            ", ".join(columns): found.rows_not_listed() for columns, found in slices.items() if not found.is_complete
        },
    }


def _worst(result: CandidateResult | None) -> list[records.WorstExampleFacts]:
    if result is None:
        return []
    return [
        cast("records.WorstExampleFacts", {"output": name, **example})
        for name, stats in result.stats.items()
        for example in stats.worst_examples()
    ]


def _warnings(plan: ModelPlan, exported: ExportedModel, evaluation: Evaluation) -> list[str]:
    if exported.saved_model is None:
        return []
    return [
        *exported.saved_model.warnings,
        *_rename_warnings(exported),
        *_twin_warnings(exported),
        *_filled_warnings(evaluation, plan),
        *_nonfinite_warnings(evaluation, plan),
        *_constant_warnings(evaluation),
        *_rare_class_warnings(plan, evaluation),
        *_unknown_output_warnings(plan, exported),
        *noise.warnings_of(evaluation.noise),
        *evaluation.warnings,
        *columns_of_slices(plan.samples.spec, plan.samples.sample_set)[1],
    ]


def _twin_warnings(exported: ExportedModel) -> list[str]:
    if exported.twin is None:
        return []
    sentence = (
        f"the model computes in {exported.twin.of}, for which LiteRT has no kernels: the .tflite files are made of a float32 "
        "twin of it and equal that; the SavedModel equals the checkpoint"
    )
    return [sentence]


def _constant_warnings(evaluation: Evaluation) -> list[str]:
    """Warnings about constant outputs: agreement with a reference that never varies does not rule out a collapsed candidate."""
    result = evaluation.candidates.get(SAVED_MODEL)
    return [
        f"output {name!r} of the checkpoint is the same for every sample row: agreement on it proves little; "
        "give samples that make it vary"
        for name, stats in (result.stats.items() if result else ())
        if _is_constant(stats.report())
    ]


def _filled_warnings(evaluation: Evaluation, plan: ModelPlan) -> list[str]:
    """A fallback for values that were not measured."""
    columns = plan.samples.sample_set.columns if plan.samples.sample_set else {}
    rows = plan.samples.sample_set.row_count if plan.samples.sample_set else 0
    return [
        f"{NOTE}{count:,} of {rows:,} had no value in column {name!r} and got its default {columns[name].default!r}"
        for name, count in sorted(evaluation.rows_seen.filled.items())
        if name in columns
    ]


def _nonfinite_warnings(evaluation: Evaluation, plan: ModelPlan) -> list[str]:
    """Warnings about NaN and infinity: the verdict holds only for what could be compared."""
    found = _nonfinite(evaluation)
    rows = plan.samples.sample_set.row_count if plan.samples.sample_set else 0
    return [
        *(
            f"{lenient.NONFINITE} in the sample rows: input {name!r}, {count:,} of {rows:,} rows"
            for name, count in found["inputs"].items()
        ),
        *(
            f"{lenient.NONFINITE} in the checkpoint's own answers: output {name!r}, {count:,} elements, which prove nothing"
            for name, count in found["reference"].items()
        ),
    ]


def _rare_class_warnings(plan: ModelPlan, evaluation: Evaluation) -> list[str]:
    """Warnings about classes with too few positions in the rows to tell whether a variant keeps them."""
    result, sentences = evaluation.candidates.get(SAVED_MODEL), []
    kinds = output_kinds(plan, evaluation)
    for name, stats in result.stats.items() if result else ():
        found = stats.stored()
        if not found["classes_too_rare"] or not are_classes("class_recall", found, kinds.get(name)):
            continue
        shown = ", ".join(found["rare_classes"])
        more = found["classes_too_rare"] - len(found["rare_classes"])
        sentences.append(
            f"output {name!r}: {found['classes_too_rare']} classes have fewer than {LEAST_POSITIONS} positions in the samples "
            f"({shown}{f' and {more} more' if more else ''}), so nothing tells whether a variant keeps them; give rows of them"
        )
    return sentences


def _unknown_output_warnings(plan: ModelPlan, exported: ExportedModel) -> list[str]:
    assert exported.saved_model is not None
    names = exported.saved_model.proven.output_names()
    return [
        f"the job says {kind} of output {name!r}, but the model has no such output (outputs: {', '.join(map(repr, names))})"
        for name, kind in plan.output_kinds.items()
        if name not in names
    ]


def _is_constant(report: Mapping[str, Any]) -> bool:
    return bool(report["constant_reference"] or report["same_rows_reference"])


def _rename_warnings(exported: ExportedModel) -> list[str]:
    assert exported.saved_model is not None
    return [
        f"input {own!r} is called {given!r} in the artifacts: TensorFlow takes only Python identifiers as input names"
        for own, given in exported.saved_model.renamed_inputs.items()
    ]


_NOT_FOR_THE_FLEET = (
    *("contract", "ops", "worst_examples", "attempts", "diverging", "tensor_errors"),
    *("metric_slices", "slices", "scatter"),
)


def fleet_entry(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without the parts that the fleet's table does not show: all reports of a run are in one process's memory when that
    table is written.
    """
    slim = {key: value for key, value in report.items() if key not in ("metrics", "files", "worst_rows", "twin")}
    if lenient.mapping(report.get("saved_model")):
        slim["saved_model"] = {
            key: value
            for key, value in lenient.mapping(report["saved_model"]).items()
            if key not in ("signatures", "together", "worst_examples", "metric_slices", "slices", "scatter")
        }
    slim["variants"] = {
        name: {key: value for key, value in variant.items() if key not in (*_NOT_FOR_THE_FLEET, "auto")}
        | _short_auto(variant.get("auto"))
        | {"contract": short_contract(variant.get("contract")), "parity": _short_parity(variant.get("parity"))}
        for name, variant in ((name, lenient.mapping(facts)) for name, facts in lenient.mapping(report.get("variants")).items())
    }
    return slim


def _short_auto(auto: Any) -> dict[str, Any]:
    """Keeps only the cost of a search."""
    facts = lenient.mapping(auto)
    return {"auto": {key: facts.get(key) for key in ("candidates", "from_family")}} if facts else {}


def _short_parity(parity: Any) -> dict[str, Any]:
    """Each output's statistics without those that only the model's own page draws, which are the largest part."""
    drawn = ("error_histogram", "flips")
    return {
        output: {key: value for key, value in lenient.mapping(stats).items() if key not in drawn}
        for output, stats in lenient.mapping(parity).items()
    }
