"""OUT -> a kit: one variant's file, sample rows, the expected answers, and instructions for running it on a device."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from liteferry import lenient, sandbox, storage
from liteferry.commands.kit import layout
from liteferry.commands.kit.instructions import instructions
from liteferry.errors import JobError, Stage, StorageError
from liteferry.evaluation.artifact_scan import NOTHING_ALLOWED, Allowed
from liteferry.evaluation.results import own_signature
from liteferry.json_records import decode
from liteferry.loading import together
from liteferry.output import model_folder
from liteferry.output.manifest import problems
from liteferry.parity.gate_limits import resolve_gates
from liteferry.plan import bound_rows
from liteferry.plan.local_inputs import InputNeeds, hold_inputs
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.sandbox import Flavor, Limits, Reporter, SandboxSpec, arrays_file
from liteferry.storage import beneath
from liteferry.storage.layout import beside
from liteferry.tflite import file_tensors, flatbuffer, more_signatures, rewriting
from liteferry.types import Signature, Status

_LIMITS = Limits(seconds=600, memory_bytes=8 * 10**9)
RANDOM_ROWS = 16
_WORST, _RANDOM, _FIRST = "worst", "random", "first"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitRequest:
    """`out`, `model_id`, `variant`: which file. `job`: the run's job, whose sample rows are used; None: use the warm-up rows in
    the SavedModel. `allowed`: as the job allowed it.
    """

    out: str
    model_id: str
    variant: str
    job: Any = None
    random_rows: int = RANDOM_ROWS
    allowed: Allowed = NOTHING_ALLOWED


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsTask:
    """`wanted`: row number -> why the row is in the kit. `plan`: None to use the warm-up rows in the SavedModel at
    `saved_model`, which is scanned before it runs.
    """

    plan: ModelPlan | None
    signature: Signature
    renamed: Mapping[str, str]
    wanted: Mapping[int, str]
    saved_model: str
    per_call: tuple[str, ...]
    folder: str
    allowed: Allowed


def write(request: KitRequest, destination: str) -> dict[str, Any]:
    """Writes a kit into a new folder. Returns its manifest.

    Raises:
      JobError: the model or variant does not exist or is not blessed, the rows cannot be read, or the folder exists already.
    """
    if os.path.lexists(destination):
        raise JobError([f"{destination}: exists already; name a new folder"], source="liteferry kit")
    home, report = _model_of(request)
    with tempfile.TemporaryDirectory() as folder:
        answers = _rows(request, home, report, folder)
        os.makedirs(os.path.dirname(os.path.abspath(destination)), exist_ok=True)
        staging = tempfile.mkdtemp(prefix=".kit-", dir=os.path.dirname(os.path.abspath(destination)))
        try:
            manifest = _fill(staging, request, report, home=home, answers=answers)
            os.rename(staging, destination)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return manifest


def _model_of(request: KitRequest) -> tuple[str, dict[str, Any]]:
    home = os.path.join(request.out, "models", request.model_id)
    if storage.is_remote(request.out):
        raise JobError([f"{request.out}: copy the model's folder to this machine first"], source="liteferry kit")
    report = _intact_report(request, home)
    variants = lenient.mapping(report.get("variants"))
    facts = lenient.mapping(variants.get(request.variant))
    if (
        facts.get("status") != Status.BLESSED.value
        or lenient.mapping(report.get("saved_model")).get("status") != Status.BLESSED.value
    ):
        blessed = [name for name, one in variants.items() if lenient.mapping(one).get("status") == Status.BLESSED.value]
        message = f"--variant: {request.variant!r} of {request.model_id} is not blessed (blessed: {', '.join(blessed) or 'none'})"
        raise JobError([message], source="liteferry kit")
    for path in (facts.get("path"), report["saved_model"].get("path")):
        _refuse_unlisted(home, report, path)
    return home, report


def _intact_report(request: KitRequest, home: str) -> dict[str, Any]:
    """The report of a folder that holds what was judged, no file more or less: the folder may come from anywhere."""
    try:
        beneath.refuse_links(request.out)
        if os.path.islink(home):
            raise StorageError(f"{home}: is a link; links below an output folder are not followed")
        report = model_folder.scan(home).published_report()
        if not report:
            raise StorageError(f"{home}: holds no published model; `liteferry show {request.out}` lists those that it has")
        wrong = problems(home, lenient.mapping(report.get("files")), beside(request.model_id))
    except StorageError as error:
        raise JobError([str(error)], source="liteferry kit") from error
    if wrong:
        raise JobError([f"{home}: is not as it was judged: {wrong[0]}; run the job again"], source="liteferry kit")
    return report


def _refuse_unlisted(home: str, report: Mapping[str, Any], path: object) -> None:
    """Raises JobError for the path of an artifact that is none of the judged files."""
    files = lenient.mapping(report.get("files"))
    if not any(name == path or name.startswith(f"{path}/") for name in files):
        raise JobError([f"{home}: its report names {path!r}, which is none of its files"], source="liteferry kit")


def _rows(request: KitRequest, home: str, report: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """{ids, rows, why, inputs, expected}. One sandbox reads the rows, another computes the expected answers."""
    saved = lenient.mapping(report["saved_model"])
    plan = None
    if request.job is not None:
        plans = [plan for plan in plan_models(request.job, request.out) if plan.model_id == request.model_id]
        if not plans or plans[0].samples.sample_set is None:
            raise JobError([f"--config: this job has no rows for {request.model_id}"], source="liteferry kit")
        plan = plans[0]
    task = RowsTask(
        plan=plan,
        signature=decode(
            Signature,
            {side: _proven(saved)[side] for side in ("inputs", "outputs")},
        ),
        renamed={},
        wanted=_wanted(request, report),
        saved_model=os.path.join(home, saved["path"]),
        per_call=tuple(saved.get("per_call_outputs") or ()),
        folder=folder,
        allowed=request.allowed,
    )
    spec = SandboxSpec(flavor=Flavor.CLEAN, limits=_LIMITS, writable=[folder], readable=[home])
    if plan is None or plan.samples.sample_set is None:
        read = sandbox.run(read_rows, task, spec)
    else:
        shards = tuple(range(len(plan.samples.sample_set.shards)))
        with hold_inputs([plan], lambda _: InputNeeds(shards=shards)) as here:
            for problem in here.problems.values():
                raise JobError([problem.message], source="liteferry kit")
            read = here.run(read_rows, dataclasses.replace(task, plan=here.plans[0]), spec)
    answered = sandbox.run(answer_rows, dataclasses.replace(task, plan=None), spec) if read.reason is None else read
    if answered.reason is not None:
        raise JobError([answered.reason.message], source="liteferry kit")
    (found,) = read.results
    arrays = {side: arrays_file.read(os.path.join(folder, f"{side}.npz")) for side in (layout.INPUTS, layout.EXPECTED)}
    return {**found, **arrays}


def _proven(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the file takes and answers: the proven signature, or all that it holds together."""
    first = lenient.mapping(saved["signatures"])[str(saved.get("signature") or "serving_default")]
    return lenient.mapping(saved.get("together") or first)


def _wanted(request: KitRequest, report: Mapping[str, Any]) -> dict[int, str]:
    """The rows with the variant's largest errors, and random rows; the choice is the same every time for the same model."""
    facts = lenient.mapping(lenient.mapping(report["variants"])[request.variant])
    worst = [
        int(example["row"]) for example in map(lenient.mapping, lenient.listing(facts.get("worst_examples"))) if "row" in example
    ]
    count = lenient.integer(lenient.mapping(report.get("samples")).get("row_count")) or 0
    chosen = random.Random(request.model_id).sample(range(count), min(count, request.random_rows))
    return {**dict.fromkeys(sorted(chosen), _RANDOM), **dict.fromkeys(worst, _WORST)}


def read_rows(task: RowsTask, reporter: Reporter) -> None:
    """Runs in a sandbox without Keras that may read the sample files or the SavedModel. Writes the wanted rows as inputs.npz
    into the task's folder; hands over {ids, rows, why}.
    """
    from liteferry.exporting import saved_model

    reporter.stage(Stage.SAMPLES)
    if task.plan is None:
        requests = saved_model.read_warmup_requests(task.saved_model)
        inputs = {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}
        rows = list(range(len(next(iter(inputs.values())))))
        ids, why = [str(row) for row in rows], [_FIRST] * len(rows)
    else:
        inputs, ids, rows = _read(task.plan, task)
        why = [task.wanted[row] for row in rows]
    arrays_file.write(os.path.join(task.folder, f"{layout.INPUTS}.npz"), inputs)
    reporter.result({"ids": ids, "rows": rows, "why": why})


def answer_rows(task: RowsTask, reporter: Reporter) -> None:
    """Runs in a second sandbox, which may read the SavedModel. Writes the SavedModel's answers to these rows as expected.npz."""
    from liteferry.evaluation.artifact_scan import refuse_unsafe
    from liteferry.tflite import runners

    reporter.stage(Stage.REFERENCE)
    refuse_unsafe(task.saved_model, task.allowed)
    inputs = arrays_file.read(os.path.join(task.folder, f"{layout.INPUTS}.npz"))
    expected = runners.SavedModelRunner(task.saved_model, per_call=task.per_call).run(inputs)
    arrays_file.write(os.path.join(task.folder, f"{layout.EXPECTED}.npz"), expected)


def _read(plan: ModelPlan, task: RowsTask) -> tuple[dict[str, np.ndarray], list[str], list[int]]:
    assert plan.samples.sample_set is not None
    binding = bound_rows.bind(plan, own_signature(task.signature, task.renamed), task.renamed)
    parts: list[Mapping[str, np.ndarray]] = []
    ids: list[str] = []
    rows: list[int] = []
    for shard in range(len(plan.samples.sample_set.shards)):
        for batch in bound_rows.batches(plan, binding, shard_index=shard):
            numbers = batch.row_numbers()
            places = [place for place, number in enumerate(numbers) if int(number) in task.wanted]
            if places:
                parts.append({name: value[places] for name, value in batch.inputs.items()})
                ids += [str(batch.ids[place]) for place in places]
                rows += [int(numbers[place]) for place in places]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, ids, rows


def _fill(
    folder: str, request: KitRequest, report: Mapping[str, Any], *, home: str, answers: Mapping[str, Any]
) -> dict[str, Any]:
    facts = lenient.mapping(lenient.mapping(report["variants"])[request.variant])
    shutil.copyfile(os.path.join(home, facts["path"]), os.path.join(folder, layout.MODEL))
    with open(os.path.join(folder, layout.MODEL), "rb") as source, open(os.path.join(folder, layout.ONE_ROW), "wb") as file:
        file.write(rewriting.with_one_row(source.read()))
    answers = {
        **answers,
        layout.INPUTS: _as_the_file_takes_them(answers[layout.INPUTS], os.path.join(folder, layout.MODEL)),
        layout.EXPECTED: {name: _storable(value) for name, value in answers[layout.EXPECTED].items()},
    }
    for side in (layout.INPUTS, layout.EXPECTED):
        os.makedirs(os.path.join(folder, side))
        for name, value in answers[side].items():
            np.save(layout.array_path(os.path.join(folder, side), name), value, allow_pickle=False)
    np.savez(os.path.join(folder, layout.NPZ), **answers[layout.INPUTS])
    for place in range(len(answers["rows"])):
        for name, value in answers[layout.INPUTS].items():
            path = os.path.join(folder, layout.raw_path(place, name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(np.ascontiguousarray(value[place]).tobytes())
    rows = [
        {"row": row, "id": id_, "why": why} for row, id_, why in zip(answers["rows"], answers["ids"], answers["why"], strict=True)
    ]
    _write_json(os.path.join(folder, layout.ROWS), rows)
    manifest = _manifest(request, report, facts, folder)
    _write_json(os.path.join(folder, layout.MANIFEST), manifest)
    with open(os.path.join(folder, layout.INSTRUCTIONS), "w", encoding="utf-8") as file:
        file.write(instructions(manifest))
    return manifest


def _as_the_file_takes_them(rows: Mapping[str, np.ndarray], path: str) -> dict[str, np.ndarray]:
    """Rows in the dtypes of the file's inputs: quantised for integer inputs, float32 for a float32 twin's file."""
    with open(path, "rb") as file:
        content = file.read()
    tensors = {tensor.name: tensor for tensor in flatbuffer.read_contract(content).inputs}
    for signature in more_signatures.of(content):
        tensors.update({tensor.name: tensor for tensor in signature.tensors() if tensor.name not in tensors})
    return {name: file_tensors.as_file_takes_it(value, tensors[name]) for name, value in rows.items()}


def _storable(value: np.ndarray) -> np.ndarray:
    """NumPy's format stores bfloat16 as bytes without a meaning."""
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def _manifest(request: KitRequest, report: Mapping[str, Any], facts: Mapping[str, Any], folder: str) -> dict[str, Any]:
    terms = lenient.mapping(report.get("judged_by"))
    recipes = lenient.listing(terms.get("recipes"))
    like = "int8" if request.variant in recipes else request.variant
    limits = resolve_gates(request.variant, lenient.mapping(terms.get("gates")), like=like)
    with open(os.path.join(folder, layout.MODEL), "rb") as file:
        content = file.read()
    digest = hashlib.sha256(content).hexdigest()
    return {
        "kit": layout.VERSION,
        "model_id": request.model_id,
        "variant": request.variant,
        "like": like,
        "checkpoint_digest": lenient.mapping(report.get("checkpoint")).get("digest"),
        "file_sha256": f"sha256:{digest}",
        "contract": facts["contract"],
        "signatures": together.names_in(flatbuffer.read_metadata(content)),
        "batch": facts["batch"],
        "outputs": [spec["name"] for spec in _proven(report["saved_model"])["outputs"]],
        "per_call_outputs": list(report["saved_model"].get("per_call_outputs") or ()),
        "gates": {name: dict(gates) for name, gates in lenient.mapping(terms.get("gates")).items()},
        "limits": dict(limits),
        "kinds": dict(lenient.mapping(terms.get("kinds"))),
    }


def _write_json(path: str, value: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
