"""`liteferry verify`: checks a finished run again from its files alone, without relying on the run's own claims.

For each model: the report exists and the marker matches it; every file has the digest that was recorded when it was judged;
"blessed" follows from the gates, and each gate from the statistics. Blessed artifacts are run again on the sample rows that the
SavedModel carries.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from liteferry import lenient, sandbox, storage
from liteferry.errors import JobError, StorageError
from liteferry.evaluation.artifact_scan import NOTHING_ALLOWED, Allowed
from liteferry.evaluation.verdict import LackingError, case_of_report, verdict
from liteferry.json_records import parse
from liteferry.output import held_back, manifest, model_folder, proofs
from liteferry.report import rejudge
from liteferry.report.fleet_check import is_in_parts, sound_summary
from liteferry.report.formats import single_line
from liteferry.report.parts import table
from liteferry.sandbox import Flavor, Limits, Reporter, SandboxSpec
from liteferry.storage import beneath, layout
from liteferry.types import Status
from liteferry.version import REPORT_SCHEMA_VERSION, RULES_VERSION

if TYPE_CHECKING:
    from securesystemslib.signer import Key

_LIMITS = Limits(seconds=300, memory_bytes=8 * 10**9)
SAVED_MODEL = "saved_model"
_MOST_CHARS = 2000
# A few rows run in another batch than the judged ones: kernels round differently, and a quantised value may move by one step.
_ROUNDING = {"float32": 1e-5, "float16": 1e-3}
_QUANTIZED_ROUNDING = 2e-2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of `verify`: counts, and every problem as (model_id or None for the run itself, sentence)."""

    model_count: int
    blessed_count: int
    artifact_count: int
    problems: tuple[tuple[str | None, str], ...]


def verify(
    out: str, *, processes: int, with_rows: bool = True, allowed: Allowed = NOTHING_ALLOWED, key: Key | None = None
) -> Verification:
    """Checks every model under `out`.

    Args:
      processes: sandboxes at once.
      with_rows: whether to run blessed artifacts again; without, only files and verdicts are checked, without TensorFlow.
      allowed: as the job allowed it: operations that artifacts may contain although they access files or the network, and
        packages that bring operations.
      key: has to have signed the statement of every blessed model.

    Raises:
      JobError: there is no run here.
    """
    models = storage.join(out, layout.MODELS)
    model_ids = storage.list_directory(models)
    if not model_ids:
        raise JobError([f"{models}: no model was published here; run `liteferry run ... --output {out}` first"], source=out)
    problems: list[tuple[str | None, str]] = [(None, sentence) for sentence in _fleet_problems(out, set(model_ids))]
    blessed = artifact_count = 0
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:

        def look(model_id: str) -> tuple[bool, int, list[str]]:
            return _verify_model(storage.join(models, model_id), model_id, allowed if with_rows else None, key)

        answers = pool.map(look, model_ids)
        for model_id, (is_blessed, count, sentences) in zip(model_ids, answers, strict=True):
            blessed += is_blessed
            artifact_count += count
            problems += [(model_id, sentence) for sentence in sentences]
    if with_rows:
        sandbox.close()
    return Verification(
        model_count=len(model_ids), blessed_count=blessed, artifact_count=artifact_count, problems=tuple(problems)
    )


def _verify_model(place: str, model_id: str, allowed: Allowed | None, key: Key | None) -> tuple[bool, int, list[str]]:
    """Whether the report says blessed, how many artifacts were run, and the problems. `allowed` None: nothing is run."""
    if not storage.is_remote(place) and os.path.islink(place):
        return False, 0, [f"its folder is a link to {os.readlink(place)}: links below an output folder are not followed"]
    with _local_copy(place) as directory:
        found = list(_model_problems(directory, model_id, key))
        report = model_folder.scan(directory).raw_report()
        is_blessed = report.get("status") == Status.BLESSED.value
        count = 0
        if allowed is not None and not found:
            count, found = _run_again(directory, report, allowed)
        return is_blessed, count, found


@contextlib.contextmanager
def _local_copy(place: str) -> Iterator[str]:
    """A model's folder on this machine: the folder itself, or a copy that exists while the context lasts."""
    if not storage.is_remote(place):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="liteferry-verify-") as folder:
        local = os.path.join(folder, "model")
        storage.download(place, local)
        yield local


def _fleet_problems(out: str, model_ids: set[str]) -> Iterator[str]:
    try:
        status = _statuses(out)
    except (StorageError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield f"fleet.json cannot be read ({error}); run the job again to finish it"
        return
    for model_id in sorted(status.keys() - model_ids):
        yield f"fleet.json names {model_id}, which has no folder under models/"
    for model_id in sorted(status.keys() & model_ids):
        own = _status_of(out, model_id)
        if own != status[model_id]:
            yield f"fleet.json says {status[model_id]} of {model_id}, its own report says {own}"
    for model_id in storage.list_directory(storage.join(out, layout.ATTEMPTS)):
        yield from held_back.problems(out, model_id)
    for name in storage.files_under(out):
        if name.endswith((".tmp", ".replaced")) or (
            name.startswith(f"{layout.STAGING}{os.sep}") and os.path.basename(name) != "lock"
        ):
            yield f"{name} was left by an interrupted run; the next run removes it"


def _statuses(out: str) -> dict[str, Any]:
    """Model id -> status in the fleet's files: in fleet.json, or in parts whose digests it names."""
    facts = parse(beneath.read_bytes(out, layout.FLEET_FACTS))
    if not is_in_parts(facts):
        return {model["model_id"]: model["status"] for model in facts["models"]}
    sound_summary(facts)
    rows = [row for part in facts["parts"] for row in table.read_columns(out, part, ["model_id", "status"])]
    return {row["model_id"]: row["status"] for row in rows}


def _status_of(out: str, model_id: str) -> object:
    """The status of a model by its own reports: a model with a held-back attempt is not blessed, although its folder is."""
    own, attempt = held_back.reports_of(out, model_id)
    if attempt:
        return Status.NOT_BLESSED.value
    return (own or model_folder.scan(storage.join(out, "models", model_id)).raw_report()).get("status")


def _model_problems(directory: str, model_id: str, key: Key | None) -> Iterator[str]:
    folder = model_folder.scan(directory)
    report = folder.raw_report()
    if not report:
        yield "report.json is missing or not a report"
        return
    if report.get("schema_version") != REPORT_SCHEMA_VERSION:
        yield f"report.json has schema_version {report.get('schema_version')}, this LiteFerry knows {REPORT_SCHEMA_VERSION}"
        return
    if report.get("model_id") != model_id:
        yield f"report.json is about {report.get('model_id')!r}"
    is_blessed = report.get("status") == Status.BLESSED.value
    markers = {name for name in storage.list_directory(directory) if name in (layout.BLESSED, layout.NOT_BLESSED)}
    if markers != {layout.BLESSED if is_blessed else layout.NOT_BLESSED}:
        yield f"the marker is {', '.join(sorted(markers)) or 'missing'}, the report says {report.get('status')}"
    elif not folder.published_report():
        yield f"the marker {markers.pop()} was written for another report.json (sha256)"
    for name, part in _artifacts(report).items():
        if (path := part.get("path")) and not beneath.is_inside(path):
            yield f"{name} is listed at {path!r}, which is not inside the model's folder"
    try:
        yield from manifest.problems(directory, lenient.mapping(report.get("files")), _beside(report))
        yield from proofs.problems(directory, report, key)
    except StorageError as error:
        yield str(error)
    yield from _verdict_problems(report, is_blessed=is_blessed)


def _beside(report: lenient.Report) -> Collection[str]:
    """Names of the files that belong beside a model's artifacts; only a blessed model has a statement."""
    names = layout.beside(str(report.get("model_id")))
    is_blessed = report.get("status") == Status.BLESSED.value
    return names if is_blessed else names - {layout.statement_name(str(report.get("model_id")))}


def _verdict_problems(report: lenient.Report, *, is_blessed: bool) -> Iterator[str]:
    parts = _artifacts(report)
    if rejudge.is_outdated(report):
        if not is_blessed and not any(part.get("status") == Status.BLESSED.value for part in parts.values()):
            return
        yield (
            f"it was judged by rules {rejudge.rules_of(report)}, today's are {RULES_VERSION}: what older ones blessed is not "
            "proven; run the job again"
        )
        return
    for name, part in parts.items():
        if part.get("status") == Status.BLESSED.value:
            yield from (f"{name} is blessed, but {sentence}" for sentence in _unproven(name, part, report))
    if is_blessed:
        for name in [SAVED_MODEL, *map(str, lenient.listing(report.get("required_variants")))]:
            if parts.get(name, {}).get("status") != Status.BLESSED.value:
                yield f"the model is blessed, but {name} is not"
    recommended = report.get("recommended_variant")
    if recommended is not None and parts.get(str(recommended), {}).get("status") != Status.BLESSED.value:
        yield f"{recommended} is recommended, but not blessed"


def _artifacts(report: lenient.Report) -> dict[str, dict[str, Any]]:
    variants = {name: lenient.mapping(facts) for name, facts in lenient.mapping(report.get("variants")).items()}
    return {SAVED_MODEL: lenient.mapping(report.get("saved_model")), **variants}


def _parity(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    return lenient.mapping(part.get("fidelity" if name == SAVED_MODEL else "parity"))


def _unproven(name: str, part: Mapping[str, Any], report: lenient.Report) -> Iterator[str]:
    """Why the report's own statistics do not support its blessing under the current rules; empty when they do."""
    try:
        judged = verdict(case_of_report(name, report))
    except LackingError as error:
        yield f"{error}; run the job again"
        return
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # the report was edited by hand
        yield f"its report cannot be judged: {single_line(error, limit=_MOST_CHARS)}"
        return
    if judged.reason is not None:
        yield judged.reason.message
    if not lenient.integer(lenient.mapping(report.get("samples")).get("row_count")):
        yield "its report does not say how many sample rows there are"
    told = {
        (str(gate.get("output")), str(gate.get("metric"))): gate
        for gate in map(lenient.mapping, lenient.listing(part.get("gates")))
    }
    for gate in judged.gates:
        own = told.get((gate.output, gate.metric))
        if own is None:
            yield f"its report does not list the gate on {gate.metric} of {gate.output!r}"
        elif lenient.number(own.get("observed")) != gate.observed or lenient.number(own.get("limit")) != gate.limit:
            yield (
                f"its gate on {gate.metric} saw {own.get('observed')} against {own.get('limit')}, its statistics say "
                f"{gate.observed} against {gate.limit}"
            )


def _run_again(directory: str, report: lenient.Report, allowed: Allowed) -> tuple[int, list[str]]:
    """Runs the artifacts of a report without problems. Returns their number, and the problems with their answers."""
    names = {
        name: part["path"]
        for name, part in _artifacts(report).items()
        if part.get("status") == Status.BLESSED.value and part.get("path")
    }
    if SAVED_MODEL not in names:
        return 0, []
    paths = {name: os.path.join(directory, path) for name, path in names.items()}
    per_call = lenient.listing(lenient.mapping(report.get("saved_model")).get("per_call_outputs"))
    task = {"paths": paths, "allowed": allowed, "per_call": list(map(str, per_call))}
    outcome = sandbox.run(run_rows, task, SandboxSpec(flavor=Flavor.CLEAN, limits=_LIMITS, readable=[directory]))
    if outcome.error is not None:
        return len(paths), [f"its blessed artifacts do not run again: {outcome.error.message}"]
    parts = _artifacts(report)
    sentences = []
    for answer in outcome.results:
        name, output = answer["candidate"], answer["output"]
        told = lenient.number(lenient.mapping(_parity(name, parts[name]).get(output)).get("max_abs"))
        told_saved = lenient.number(lenient.mapping(_parity(SAVED_MODEL, parts[SAVED_MODEL]).get(output)).get("max_abs"))
        twin = lenient.mapping(lenient.mapping(lenient.mapping(report.get("twin")).get("parity")).get(output))
        slack = _ROUNDING.get(name, _QUANTIZED_ROUNDING) * answer["largest"]
        allowed = (told or 0.0) + (told_saved or 0.0) + (lenient.number(twin.get("max_abs")) or 0.0) + slack
        if answer["shape_differs"] or not answer["max_abs"] <= allowed:
            sentences.append(
                f"{name}, output {output!r}: {answer['max_abs']:.3g} off the SavedModel on the rows that it carries; "
                f"the report allows {allowed:.3g}"
            )
    return len(paths), sentences


def run_rows(task: Mapping[str, Any], reporter: Reporter) -> None:
    """Runs in a sandbox. Runs the SavedModel's warm-up requests through it and through every blessed variant, one at a time.
    Every file is first scanned as a checkpoint is: a folder with a report in it may come from anywhere.

    Hands over {candidate, output, max_abs, largest, shape_differs} for each variant and output.
    """
    from liteferry.evaluation.artifact_scan import refuse_unsafe
    from liteferry.exporting import saved_model
    from liteferry.tflite import runners

    paths: Mapping[str, str] = task["paths"]
    for path in paths.values():
        refuse_unsafe(path, task["allowed"])
    per_call: Sequence[str] = task["per_call"]
    rows = saved_model.read_warmup_requests(paths[SAVED_MODEL])
    reference = runners.SavedModelRunner(paths[SAVED_MODEL], per_call=per_call)  # `refuse_unsafe` has registered its operations
    expected = [reference.run(row) for row in rows]
    for name, path in paths.items():
        if name == SAVED_MODEL:
            continue
        runner = runners.LiteRTRunner(path, per_call=per_call)
        found = [runner.run(row) for row in rows]
        for output in expected[0]:
            pairs = [(one[output], other.get(output)) for one, other in zip(expected, found, strict=True)]
            reporter.result({"candidate": name, "output": output, **_difference(pairs)})


def _difference(pairs: list[tuple[np.ndarray, np.ndarray | None]]) -> dict[str, Any]:
    """The largest absolute difference; infinite where only one side is finite, or where texts differ."""
    max_abs = largest = 0.0
    for one, other in pairs:
        if other is None or one.shape != other.shape:
            return {"max_abs": float("inf"), "largest": largest, "shape_differs": True}
        if one.dtype.kind not in "fiub":
            max_abs = max(max_abs, 0.0 if np.array_equal(one, other) else float("inf"))
            continue
        left, right = one.astype(np.float64), other.astype(np.float64)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        with np.errstate(invalid="ignore"):
            distance = np.where(same, 0.0, np.abs(left - right))
        max_abs = max(max_abs, float(np.max(np.nan_to_num(distance, nan=np.inf), initial=0.0)))
        largest = max(largest, float(np.max(np.abs(left), where=np.isfinite(left), initial=0.0)))
    return {"max_abs": max_abs, "largest": largest, "shape_differs": False}


def print_verification(found: Verification, *, as_json: bool) -> int:
    """Prints the result. Returns the exit status: 0 when there is no problem."""
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        for model_id, sentence in found.problems:
            print(single_line(f"{model_id or 'run'}: {sentence}", limit=_MOST_CHARS))
        verdict = "no problem" if not found.problems else f"{len(found.problems)} problem(s)"
        counts = f"{found.model_count} models, {found.blessed_count} blessed, {found.artifact_count} blessed artifacts run again"
        print(f"{counts}: {verdict}")
    return 1 if found.problems else 0
