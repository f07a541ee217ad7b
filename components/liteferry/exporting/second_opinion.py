"""The second opinion: the checkpoint's answers to the first rows once more, computed by the library's own loader in a process of
its own.

The reference and the artifacts come from LiteFerry's loader. An error in it would be in all of them, and they would agree. So the
exporting process leaves the first rows and the checkpoint's answers on disk, and another process, which shares only the scanned
bytes, computes them with `loading.opinion`. docs/checkpoints.md says what is compared.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.json_records import decode
from liteferry.loading import call_groups, together
from liteferry.loading.call_groups import Calls
from liteferry.parity.class_counts import differ_in_near_ties
from liteferry.parity.gate_limits import DEFAULT_GATES, SAVED_MODEL, resolve_gates
from liteferry.plan import bound_rows
from liteferry.plan.local_inputs import LocalInputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.sandbox import Failure, Flavor, Outcome, Reporter, SandboxSpec, arrays_file
from liteferry.sandbox.units import Unit
from liteferry.types import ExportedModel, OpinionStatus, SecondOpinion, TensorSpec

Arrays = Mapping[str, np.ndarray]

_FOLDER = "first_rows"
_MOST_CHARS = 2000
_NO_ROWS = "there are no rows to ask it about"


class Opinions:
    """Second opinions on models that come one after the other, siblings after the one whose trace they share."""

    def __init__(self, here: LocalInputs, *, unit: Unit) -> None:
        self._here, self._unit = here, unit
        self._found: dict[str, SecondOpinion | None] = {}

    def on(self, plan: ModelPlan, one: ExportedModel) -> ExportedModel:
        """The model with a second opinion where one is needed. A sibling needs none while the model whose trace it shares was
        found equal.
        """
        given = one
        if one.saved_model is not None and one.reason is None and one.second_opinion is None:
            leader = self._found.get(one.shares_trace_of or "")
            if one.shares_trace_of and leader is not None and leader.status is OpinionStatus.EQUAL:
                given = dataclasses.replace(one, second_opinion=_exempt(one.shares_trace_of))
            else:
                given = _with_opinion(plan, one, self._here, self._unit)
        self._found[plan.model_id] = given.second_opinion
        return given


def _exempt(leader: str) -> SecondOpinion:
    return SecondOpinion(
        status=OpinionStatus.NONE,
        why=f"a sibling of {leader}: it shares the sibling's trace, the whole state of every layer is in its variables, and each "
        "variable equals its array in this checkpoint bit for bit",
    )


def _with_opinion(plan: ModelPlan, exported: ExportedModel, here: LocalInputs, unit: Unit) -> ExportedModel:
    if not os.path.isfile(os.path.join(_folder(plan), "calls.json")):
        return dataclasses.replace(exported, second_opinion=SecondOpinion(status=OpinionStatus.NONE, why=_NO_ROWS))
    assert exported.saved_model is not None
    spec = SandboxSpec(flavor=Flavor.KERAS, limits=plan.limits, network=plan.load.may_use_network)
    outcome = here.run(unit, (plan, exported.saved_model.oracle), spec)
    return dataclasses.replace(
        exported,
        second_opinion=_opinion_of(outcome),
        timings_s={**exported.timings_s, "second_opinion": round(outcome.seconds, 3)},
        peak_memory_bytes=max(exported.peak_memory_bytes, outcome.peak_memory_bytes),
    )


def _opinion_of(outcome: Outcome) -> SecondOpinion:
    """The opinion that the process handed over. If the process ended without an opinion, nothing is proven."""
    if outcome.results and outcome.error is None:
        return decode(SecondOpinion, outcome.results[-1])
    silent = Failure(code=ReasonCode.INTERNAL, stage=outcome.stage, message="the process ended without an answer")
    failure = outcome.error or silent
    return SecondOpinion(
        status=OpinionStatus.NONE,
        why=f"the library's own loader gave no second opinion: {failure.message}",
        code=failure.code or ReasonCode.EXPORT_MISMATCH,
    )


# --- in the exporting process


def leave(plan: ModelPlan, inputs: Arrays, outputs: Arrays, *, calls: Calls, more: together.Names) -> None:
    """Writes the first rows by the model's own input names, the checkpoint's answers to them, and the calls that the model takes
    rows in, for `give`. `more`: signatures besides the first whose answers are among them, see `loading.together`.
    """
    folder = _folder(plan)
    os.makedirs(folder, exist_ok=True)
    for side, arrays in (("inputs", inputs), ("outputs", outputs)):
        arrays_file.write(os.path.join(folder, f"{side}.npz"), arrays)
    with open(os.path.join(folder, "calls.json"), "w", encoding="utf-8") as file:
        json.dump({"calls": dataclasses.asdict(calls), together.KEY: more}, file)


def _folder(plan: ModelPlan) -> str:
    return os.path.join(bound_rows.directory(plan), _FOLDER)


# --- in a process of its own


def give(request: tuple[ModelPlan, str], reporter: Reporter) -> None:
    """Runs in a sandbox with the user's code; hands over a SecondOpinion."""
    from liteferry import checkpoints
    from liteferry.loading.opinion import loader
    from liteferry.loading.opinion.calls import NoOpinionError

    plan, oracle = request
    reporter.stage(Stage.REFERENCE, subject=plan.model_id)
    with open(os.path.join(_folder(plan), "calls.json"), encoding="utf-8") as file:
        left = json.load(file)
    calls, more = Calls(**left["calls"]), together.names_in(left)
    inputs = arrays_file.read(os.path.join(_folder(plan), "inputs.npz"))
    rows = max((len(value) for value in inputs.values() if value.ndim), default=0)
    try:
        facts = checkpoints.examine(
            plan.checkpoint_path, links=plan.load.links, has_builder=plan.load.builder is not None, found_at=plan.uri
        )
        specs = [TensorSpec(name=name, shape=(None, *value.shape[1:]), dtype=_dtype(value)) for name, value in inputs.items()]
        own = loader.load(facts.path or plan.checkpoint_path, facts, plan.load, oracle=oracle, inputs=specs)
        answers = _in_calls(functools.partial(_of_all, own, more), inputs, calls)
    except NoOpinionError as error:
        opinion = SecondOpinion(status=OpinionStatus.NONE, why=str(error))
    except ModelError:
        raise  # the error's own code says what is wrong, for example with the storage
    except Exception as error:  # noqa: BLE001  # the library, the user's code: anything
        opinion = _unable(error, os.getcwd())
    else:
        expected = arrays_file.read(os.path.join(_folder(plan), "outputs.npz"))
        asked = Asked(by=own.by, rows=rows, corrections=own.corrections)
        opinion = compare(expected, answers, limits=_limits(plan), asked=asked)
    reporter.result(dataclasses.asdict(opinion))


def _of_all(own: Any, more: together.Names, rows: Arrays) -> dict[str, np.ndarray]:
    """The library's answers of the first signature, and those of the others by the names of the union."""
    if not more:
        return dict(own.answers(rows))
    found = dict(own.answers({name: rows[name] for name in own.inputs}))
    for signature, inputs in more.items():
        answers = own.signatures[signature](together.feed(rows, inputs))
        found |= {together.output_name(signature, name): value for name, value in answers.items()}
    return found


def _in_calls(answers: Any, inputs: Arrays, calls: Calls) -> dict[str, np.ndarray]:
    """The library's answers to rows in the calls that the model takes, put together as the checkpoint's are: (calls, ...) where
    an output has no answer for each row.
    """
    found: dict[str, list[np.ndarray]] = {}
    whole: dict[str, bool] = {}
    for piece, size in call_groups.groups(inputs, calls.batch):
        taken = len(next(iter(piece.values())))
        for name, value in answers(piece).items():
            whole[name] = whole.get(name, name not in calls.per_call) and value.ndim > 0 and len(value) == taken
            found.setdefault(name, []).append(value[:size] if value.ndim and len(value) == taken and whole[name] else value)
    return {name: np.concatenate(values) if whole[name] else call_groups.stack(values) for name, values in found.items()}


def _dtype(value: np.ndarray) -> str:
    return "string" if value.dtype.kind in "OSU" else value.dtype.name


def _unable(error: Exception, scratch: str) -> SecondOpinion:
    """Re-raises exhausted memory and failing storage: they are faults of the machine, and the parent reports them as such."""
    if isinstance(error, MemoryError | OSError) or type(error).__name__ == "ResourceExhaustedError":
        raise error
    # The path of the scanned copy differs in every run.
    message = re.sub(rf"{re.escape(scratch)}/\S*/", "", f"{type(error).__name__}: {error}")[:_MOST_CHARS]
    return SecondOpinion(
        status=OpinionStatus.NONE,
        why=f"the library's own loader cannot load and call this checkpoint, so that nothing confirms how LiteFerry did "
        f"({message}); if a script of yours can, please report it",
        code=ReasonCode.EXPORT_MISMATCH,
    )


def _limits(plan: ModelPlan) -> Any:
    """Output name -> the largest allowed difference: the gate of the SavedModel, or the default where the job has removed it."""
    gates = resolve_gates(SAVED_MODEL, plan.gates)

    def limit(output: str) -> float:
        found = gates.limits_of(output).get("max_rel")
        return found.limit if found is not None else DEFAULT_GATES[SAVED_MODEL]["max_rel"]

    return limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Which library computed the opinion, on how many rows, and which corrections of the library were made."""

    by: str
    rows: int
    corrections: Sequence[str] = ()


def compare(reference: Arrays, candidate: Arrays, *, limits: Any, asked: Asked) -> SecondOpinion:
    """Compares the library's answers (`candidate`) with the checkpoint's as they were exported (`reference`).

    Outputs are counted first, then compared by name. Where the library has other names, each output is compared with the nearest
    one.
    """
    said, by, rows = "; ".join(asked.corrections) or None, asked.by, asked.rows
    if len(reference) != len(candidate):
        why = (
            f"{by} answers with {len(candidate)} outputs ({_listed(candidate)}), the exported model with {len(reference)} "
            f"({_listed(reference)})"
        )
        return SecondOpinion(status=OpinionStatus.DIFFERENT, rows=rows, by=by, why=why, code=ReasonCode.EXPORT_MISMATCH)
    pairs = {name: name for name in reference} if set(reference) == set(candidate) else _nearest(reference, candidate)
    distances = {name: distance(reference[name], candidate[other]) for name, other in pairs.items()}
    worst = max(distances, key=lambda name: distances[name] - limits(name), default=None)
    finite = [value for value in distances.values() if np.isfinite(value)]
    max_rel = max(finite, default=None) if len(finite) == len(distances) else None
    if worst is None or distances[worst] <= limits(worst):
        return SecondOpinion(status=OpinionStatus.EQUAL, max_rel=max_rel, rows=rows, by=by, why=said)
    told = _told(reference[worst], candidate[pairs[worst]], by)
    why = f"output {worst!r}: {told}, {distances[worst]:.3g} off, at most {limits(worst):g}"
    return SecondOpinion(
        status=OpinionStatus.DIFFERENT,
        max_rel=max_rel,
        rows=rows,
        by=by,
        why=f"{why}; the checkpoint was not loaded or called as its own library does it{f' ({said})' if said else ''}",
        code=ReasonCode.EXPORT_MISMATCH,
    )


def _listed(names: Arrays) -> str:
    return ", ".join(list(names)[:8]) + (" ..." if len(names) > 8 else "") or "none"


def _nearest(reference: Arrays, candidate: Arrays) -> dict[str, str]:
    """For each output the closest one of the other side; every one is used once."""
    left = list(candidate)
    pairs = {}
    for name in reference:
        pairs[name] = min(left, key=lambda other: distance(reference[name], candidate[other]))
        left.remove(pairs[name])
    return pairs


def distance(reference: np.ndarray, candidate: np.ndarray) -> float:
    """The largest difference relative to the largest reference value; infinite for another shape, NaN in other places, or text or
    whole numbers that differ, but for the near ties of a mask.
    """
    if reference.shape != candidate.shape:
        return float("inf")
    if call_groups.is_uneven(reference) and call_groups.is_uneven(candidate):
        return max(map(distance, reference.flat, candidate.flat))
    if reference.dtype.kind in "biu" and candidate.dtype.kind in "biu":
        return 0.0 if differ_in_near_ties(reference, candidate) else float("inf")
    if reference.dtype.kind in "OSUbiu" or candidate.dtype.kind in "OSUbiu":
        return 0.0 if np.array_equal(reference.astype(object), candidate.astype(object)) else float("inf")
    wide = np.complex128 if "c" in (reference.dtype.kind, candidate.dtype.kind) else np.float64
    left, right = reference.astype(wide), candidate.astype(wide)
    is_finite = np.isfinite(left) & np.isfinite(right)
    if not np.array_equal(left[~is_finite], right[~is_finite], equal_nan=True):
        return float("inf")
    difference = float(np.max(np.abs(left[is_finite] - right[is_finite]), initial=0.0))
    largest = float(np.max(np.abs(left), where=is_finite, initial=0.0))
    return 0.0 if difference == 0 else difference / max(largest, float(np.finfo(np.float32).tiny))


def _told(reference: np.ndarray, candidate: np.ndarray, by: str) -> str:
    """The numbers of both sides where they are farthest apart."""
    if reference.shape != candidate.shape:
        return f"{by} answers in the shape {list(candidate.shape)}, the exported model in {list(reference.shape)}"
    if call_groups.is_uneven(reference) or call_groups.is_uneven(candidate):
        return f"{by} has other answers, or other numbers of them, than the exported model"
    if reference.dtype.kind in "fc" and candidate.dtype.kind in "fc" and reference.size:
        with np.errstate(invalid="ignore"):
            gap = np.abs(reference.astype(np.complex128) - candidate.astype(np.complex128))
        at = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
    else:
        at = int(np.argmax((reference.astype(object) != candidate.astype(object)).ravel())) if reference.size else 0
    row = at // max(1, reference.size // len(reference)) if reference.ndim and len(reference) else 0
    values = [str(side.ravel()[at]) for side in (candidate, reference)] if reference.size else ["nothing", "nothing"]
    return f"row {row} is {values[0]} by {by}'s own loader and {values[1]} in the exported model"
