"""Finds changes since the previous run in the same OUT: checkpoints, verdicts, statistics, task metrics, contracts of .tflite
files, and the libraries that made them.

`history` holds what is compared with. It is written when a run has ended, so a run that was killed and finished later is one run.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from liteferry import lenient
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.report import history
from liteferry.report.environment import LIBRARIES
from liteferry.storage import beneath, layout
from liteferry.types import Status

OF_VERDICTS = ("newly_failing", "newly_passing", "drifted", "contract_changes")
OF_THE_ROSTER = ("new", "gone", "renamed", "libraries")
KINDS = (*OF_VERDICTS, *OF_THE_ROSTER)
_SAVED_MODEL = "saved_model"

# A statistic counts as drifted if it changed by at least this much; max_rel if it doubled or halved, and is above the noise.
DRIFT: Mapping[str, float] = {"argmax_agreement": 0.01, "exact_agreement": 0.01, "sqnr_db": 3.0}
MAX_REL_FACTOR, MAX_REL_FLOOR = 2.0, 1e-5
# A task metric counts as drifted if it changed by more than this share of its value.
METRIC_SHARE, METRIC_FLOOR = 0.01, 1e-6
_STATISTICS = ("max_rel", *DRIFT)

Remembered = Mapping[str, Any]


def remember(report: lenient.Report) -> dict[str, Any]:
    """A report's entry in the history (`report.model_report.fleet_entry`): `{status, code, rules, rules_before, taken_back,
    held_back, digest, libraries, artifacts}`, of each artifact `{status, code, statistics, metrics, contract}`.
    """
    saved = lenient.mapping(report.get(_SAVED_MODEL))
    artifacts = {_SAVED_MODEL: _artifact(saved, "fidelity")} if saved else {}
    variants = lenient.mapping(report.get("variants"))
    artifacts |= {name: _artifact(lenient.mapping(variants[name]), "parity") for name in lenient.ordered_variants(variants)}
    reason = lenient.reason(report.get("reason")) or {}
    before = lenient.mapping(report.get("judged_before"))
    return {
        "status": lenient.model_status(report).value,
        "code": reason.get("code"),
        "artifacts": artifacts,
        "rules": report.get("rules_version"),
        "rules_before": before.get("rules"),
        "taken_back": lenient.text(lenient.mapping(report.get("takes_back")).get("why")),
        "held_back": lenient.text(lenient.mapping(report.get("held_back")).get("since")),
        "digest": lenient.text(lenient.mapping(report.get("checkpoint")).get("digest")),
        "libraries": {name: version for name, version in lenient.mapping(report.get("environment")).items() if name in LIBRARIES},
    }


def _artifact(artifact: Mapping[str, Any], parity: str) -> dict[str, Any]:
    statistics = {name: lenient.mapping(found) for name, found in lenient.mapping(artifact.get(parity)).items()}
    metrics = lenient.mapping(artifact.get("metrics"))
    return {
        "status": lenient.status(artifact.get("status")).value,
        "code": (lenient.reason(artifact.get("reason")) or {}).get("code"),
        "statistics": {
            output: {name: lenient.number(found.get(name)) for name in _STATISTICS if name in found}
            for output, found in statistics.items()
        },
        "metrics": {name: lenient.number(lenient.mapping(found).get("value")) for name, found in metrics.items()},
        "contract": short_contract(artifact.get("contract")),
    }


def short_contract(contract: object) -> dict[str, Any] | None:
    """The contract that an app depends on: `{inputs|outputs: {name: {position, dtype, shape, scale, zero_point}}}`; None
    without a file. A tensor of a signature besides the first is called `SIGNATURE.NAME`.
    """
    sides = lenient.mapping(contract)
    if not sides:
        return None
    kept = ("position", "dtype", "shape", "scale", "zero_point")
    return {
        side: (
            {name: dict(lenient.mapping(tensor)) for name, tensor in tensors.items()}
            if isinstance(tensors := sides.get(side), Mapping)
            else {
                str(tensor.get("name")): {key: tensor.get(key) for key in kept}
                for tensor in (*map(lenient.mapping, lenient.listing(tensors)), *_of_more(sides, side))
            }
        )
        for side in ("inputs", "outputs")
    }


def _of_more(sides: Mapping[str, Any], side: str) -> Iterator[dict[str, Any]]:
    for signature, its in lenient.mapping(sides.get("signatures")).items():
        for tensor in map(lenient.mapping, lenient.listing(lenient.mapping(its).get(side))):
            yield {**tensor, "name": f"{signature}.{tensor.get('name')}"}


def changes_between(
    before: Mapping[str, Remembered], now: Mapping[str, Remembered], *, blessed_contracts: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """`{newly_failing, newly_passing, drifted, contract_changes}` of the models that both runs have, in order of model ids.

    Args:
      blessed_contracts: model id -> variant -> contract of the model's last blessed report.
    """
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in OF_VERDICTS}
    for model_id in sorted(now):
        was, is_now = before.get(model_id), now[model_id]
        for name, contract in blessed_contracts.get(model_id, {}).items():
            new = lenient.mapping(is_now["artifacts"].get(name)).get("contract")
            what = (
                [] if new is None else list(_contract_differences(json.loads(json.dumps(contract)), json.loads(json.dumps(new))))
            )
            found["contract_changes"] += [{"model_id": model_id, "variant": name, "what": one} for one in what]
        if was is None:
            continue
        pairs: list[tuple[str | None, Remembered, Remembered]] = [(None, was, is_now)]
        shared = [name for name in is_now["artifacts"] if name in was["artifacts"]]
        pairs += [(name, was["artifacts"][name], is_now["artifacts"][name]) for name in shared]
        for who, old, new in pairs:
            kind = _verdict_change(old["status"], new["status"])
            if kind is not None:
                entry = {"model_id": model_id, "variant": who, "was": old["status"], "is": new["status"], "reason": new["code"]}
                entry["why"] = _why(is_now)
                if kind == "newly_failing" and who is None:
                    entry["held_back"] = is_now.get("held_back") is not None
                found[kind].append(entry)
        for name in shared if was.get("rules") == is_now.get("rules") else ():  # older rules may compute a statistic differently
            for drift in _drifts(was["artifacts"][name], is_now["artifacts"][name]):
                found["drifted"].append({"model_id": model_id, "variant": name, **drift})
    return found


def _why(is_now: Remembered) -> str | None:
    """A note if the rules or gates have changed: today's rules on the same bytes, or the job's current gates."""
    if is_now.get("rules_before") is None:
        taken = is_now.get("taken_back")
        return None if taken is None else f"an earlier blessing is taken back: {taken}"
    return f"the same bytes, judged by rules {is_now['rules']}, before by rules {is_now['rules_before']}"


def roster_changes(before: Mapping[str, Remembered], now: Mapping[str, Remembered]) -> dict[str, list[dict[str, Any]]]:
    """`{new, gone, libraries}`: models that only one of the two runs had, in order of model ids and with the digests of their
    checkpoints, and the libraries whose new versions caused models to be exported again.
    """
    return {
        "new": [
            {"model_id": model_id, "digest": lenient.text(now[model_id].get("digest"))}
            for model_id in sorted(now)
            if model_id not in before
        ],
        "gone": [
            {"model_id": model_id, "was": was.get("status"), "digest": lenient.text(was.get("digest"))}
            for model_id, was in sorted(before.items())
            if model_id not in now
        ],
        "libraries": _upgrades(before, now),
    }


def renamed(new: Iterable[Mapping[str, Any]], gone: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """`{new, gone, renamed}` of models that came and went: a checkpoint with the same bytes under another name counts as renamed.
    Where the bytes of several are equal, each counts once.
    """
    left = {str(one["model_id"]): one for one in gone}
    by_digest: dict[object, list[str]] = {}
    for model_id, one in left.items():
        by_digest.setdefault(one.get("digest"), []).append(model_id)
    came, moved = [], []
    for one in new:
        olds = by_digest.get(one.get("digest")) if one.get("digest") is not None else None
        if olds:
            moved.append({"model_id": one["model_id"], "was": olds[0]})
            del left[olds.pop(0)]
        else:
            came.append({"model_id": one["model_id"]})
    return {
        "new": came,
        "gone": [{"model_id": model_id, "was": one.get("was")} for model_id, one in left.items()],
        "renamed": moved,
    }


def _upgrades(before: Mapping[str, Remembered], now: Mapping[str, Remembered]) -> list[dict[str, Any]]:
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for model_id in now.keys() & before.keys():
        old, new = (lenient.mapping(facts.get("libraries")) for facts in (before[model_id], now[model_id]))
        counts.update((name, str(old[name]), str(new[name])) for name in old.keys() & new.keys() if old[name] != new[name])
    return [
        {"library": name, "was": was, "is": is_now, "models": count, "what": f"{name} {was} -> {is_now}: {count} done again"}
        for (name, was, is_now), count in sorted(counts.items())
    ]


def _verdict_change(was: str, is_now: str) -> str | None:
    blessed = Status.BLESSED.value
    if was == is_now or blessed not in (was, is_now):
        return None
    return "newly_failing" if was == blessed else "newly_passing"


def _drifts(was: Remembered, is_now: Remembered) -> Iterator[dict[str, Any]]:
    for output, statistics in is_now["statistics"].items():
        for name, value in statistics.items():
            old = lenient.mapping(was["statistics"].get(output)).get(name)
            if old is not None and value is not None and _has_drifted(name, old, value):
                yield {"output": output, "statistic": name, "before": old, "now": value}
    for name, value in is_now["metrics"].items():
        old = was["metrics"].get(name)
        if name in was["metrics"] and _metric_has_drifted(old, value):
            yield {"metric": name, "before": old, "now": value}


def _has_drifted(name: str, before: float, now: float) -> bool:
    if name == "max_rel":
        small, large = sorted((before, now))
        return large > MAX_REL_FLOOR and large >= MAX_REL_FACTOR * small
    return abs(now - before) >= DRIFT[name]


def _metric_has_drifted(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is not now  # a value that only one run has
    return abs(now - before) > max(METRIC_SHARE * abs(before), METRIC_FLOOR)


def _contract_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for side, word in (("inputs", "input"), ("outputs", "output")):
        for name in sorted(old[side].keys() | new[side].keys()):
            if name not in new[side]:
                yield f"{word} {name!r} is gone"
            elif name not in old[side]:
                yield f"{word} {name!r} is new"
            else:
                was, is_now = old[side][name], new[side][name]
                for key in ("position", "dtype", "shape", "scale", "zero_point"):
                    if was.get(key) != is_now.get(key):
                        yield f"{word} {name!r}: {key} was {json.dumps(was.get(key))}, is {json.dumps(is_now.get(key))}"


def since_last_run(out: str, reports: Iterable[lenient.Report], *, run_id: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The changes, None for the first run in this OUT, and the history to write with `history.write` once all else is written.

    `run_id`: unique to a run. Runners may repeat a step: a repeated step gets the changes that it wrote before.
    """
    before = history.read(out)
    if before.get("run_id") == run_id:
        return _written(out), before
    found, now = compared(before, reports)
    return None if found is None else _matched(found), {**now, "run_id": run_id, "runs": lenient.listing(before.get("runs"))}


def _matched(found: Mapping[str, Any]) -> dict[str, Any]:
    """The changes in the order of `KINDS`, with renamed models found."""
    every = {**found, **renamed(found["new"], found["gone"])}
    return {kind: every[kind] for kind in KINDS}


def _written(out: str) -> dict[str, Any] | None:
    try:
        changes = lenient.mapping(parse(beneath.read_bytes(out, layout.FLEET_FACTS))).get("changes")
    except (StorageError, ValueError, RecursionError):
        return None
    return changes if isinstance(changes, dict) else None


def compared(before: Mapping[str, Any], reports: Iterable[lenient.Report]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The changes of some models since the history of the same models, None where there is none; and their history from now on.
    `new` and `gone` hold digests, for `renamed`.
    """
    now = {str(report.get("model_id")): remember(report) for report in reports}
    models, contracts = lenient.mapping(before.get("models")), lenient.mapping(before.get("blessed_contracts"))
    try:
        changes = _all_changes(before, models, now, contracts) if before else None
    except (KeyError, TypeError, AttributeError, ValueError):  # the history was edited by hand: begin a new one
        models, contracts, changes = {}, {}, None
    new_contracts = {model_id: _contracts(facts) for model_id, facts in now.items() if facts["status"] == Status.BLESSED.value}
    return changes, {
        "models": {**models, **now},
        "of_last_run": sorted(now),
        "blessed_contracts": {**contracts, **new_contracts},
    }


def _all_changes(
    history: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Remembered], contracts: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = changes_between(before, now, blessed_contracts=contracts)
    has_roster = isinstance(history.get("of_last_run"), list)  # an early version did not record its models
    last = {model_id: before[model_id] for model_id in (history["of_last_run"] if has_roster else ()) if model_id in before}
    return {**found, **roster_changes(last, now if has_roster else {})}


def _contracts(facts: Remembered) -> dict[str, Any]:
    blessed = Status.BLESSED.value
    return {
        name: artifact["contract"]
        for name, artifact in facts["artifacts"].items()
        if artifact["status"] == blessed and artifact["contract"] is not None
    }


def in_words(changes: object, *, most: int = 20, counts: object = None) -> list[str]:
    """A line for each change, at most `most` of each kind. `counts`: how many there are, where `changes` does not list all."""
    lines = []
    for kind in KINDS:
        entries = [lenient.mapping(entry) for entry in lenient.listing(lenient.mapping(changes).get(kind))]
        for entry in entries[:most]:
            who = " ".join(str(entry[key]) for key in ("model_id", "variant", "output") if entry.get(key))
            lines.append(f"{kind.replace('_', ' ')}: {(who + _what(entry)).removeprefix(': ')}")
        count = lenient.integer(lenient.mapping(counts).get(kind)) or len(entries)
        if count > most:
            lines.append(f"{kind.replace('_', ' ')}: and {count - most} more, in fleet.json")
    return lines


def _what(entry: Mapping[str, Any]) -> str:
    if "what" in entry:
        return f": {entry['what']}"
    if "before" in entry:
        numbers = ["no value" if entry[key] is None else format(entry[key], ".4g") for key in ("before", "now")]
        return f": {entry.get('statistic') or entry.get('metric')} {numbers[0]} -> {numbers[1]}"
    told = [str(entry[key]) for key in ("reason", "why", "was") if entry.get(key) and (key != "was" or "is" not in entry)]
    told += ["the last blessed files stay"] if entry.get("held_back") else []
    return f" ({': '.join(told)})" if told else ""
