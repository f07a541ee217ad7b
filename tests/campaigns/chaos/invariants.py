"""What must hold after any fault, once the same command has run to its end; and what must hold at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import psutil

from tests.campaigns.chaos.fleet import Fleet
from tests.support import facts_of, liteferry

MARK = "LITEFERRY_CHAOS_OUT"

# What `broken` and `Case.finish` look at, as the page of the harness lists it.
NAMES = (
    "one report for each checkpoint",
    "the facts of an undisturbed run",
    "nothing partial at a final path",
    "`liteferry verify`",
    "finished work not redone",
    "no process left",
    "no temporary left",
    "no lock left",
    "no traceback shown",
)

_TRIED_AGAIN = {"KILLED", "STORAGE_FAILED", "INTERNAL"}
_SETTLES_S = 10.0
_VERIFIED_S, _VERIFIED_S_PER_MODEL = 600.0, 5.0


def processes_of(out: Path) -> list[psutil.Process]:
    """Every living process that was started for this output, whoever its parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(out) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _reports(out: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/report.json")}


def _codes(report: dict[str, Any]) -> set[str]:
    parts = [report, report["saved_model"] or {}, *report["variants"].values()]
    return {part["reason"]["code"] for part in parts if part.get("reason")}


def finished(out: Path, undisturbed: Path) -> dict[Path, int]:
    """Files of models whose report stands, with their times; not of those that the next run is to try again: for their reason,
    or since their report is of another recipe than the undisturbed run's, as it is where the sample rows could not be read.
    """
    recipes = {name: report["recipe_digest"] for name, report in _reports(undisturbed).items()}
    return {
        path: path.stat().st_mtime_ns
        for name, report in _reports(out).items()
        if not _codes(report) & _TRIED_AGAIN and report["checkpoint"]["digest"] is not None
        if recipes.get(name, report["recipe_digest"]) == report["recipe_digest"]
        for path in (out / "models" / name).rglob("*")
        if path.is_file()
    }


def unknown(out: Path) -> set[str]:
    """Models whose checkpoint could not be read for its digest: the next run numbers their SavedModel anew."""
    return {name for name, report in _reports(out).items() if report["checkpoint"]["digest"] is None}


def halves(out: Path) -> list[str]:
    """What is at a final path and not whole, a sentence each. Holds at any moment, also right after a kill."""
    sentences = []
    for folder in out.glob("models/*"):
        names = {path.name for path in folder.iterdir()}
        if not {"report.json", "report.html"} <= names or len(names & {"BLESSED", "NOT_BLESSED"}) != 1:
            sentences.append(f"models/{folder.name} holds only {', '.join(sorted(names)) or 'nothing'}")
            continue
        listed = json.loads((folder / "report.json").read_text())["files"]
        for name, told in listed.items():
            path = folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != told["sha256"].removeprefix("sha256:"):
                sentences.append(f"models/{folder.name}/{name} is not what its report says")
    for name, is_whole in (("fleet.json", _is_json), ("fleet.parquet", _is_parquet), ("index.html", _is_page)):
        if (out / name).exists() and not is_whole(out / name):
            sentences.append(f"{name} is not whole")
    return sentences


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except ValueError:
        return False


def _is_parquet(path: Path) -> bool:
    content = path.read_bytes()
    return content[:4] == content[-4:] == b"PAR1"


def _is_page(path: Path) -> bool:
    return path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def broken(fleet: Fleet, out: Path, temporary: Path, *, undisturbed: Path, renumbered: set[str]) -> list[str]:
    """Every invariant that does not hold after the last run, a sentence each. `renumbered`: models whose SavedModel may have a
    higher number than in the undisturbed run.
    """
    sentences = halves(out)
    reports, expected = _reports(out), _reports(undisturbed)
    for name in renumbered & reports.keys() & expected.keys():
        _renumber(reports[name], expected[name])
    if reports.keys() != fleet.model_ids():
        sentences.append(f"reports of {sorted(reports)}, checkpoints {sorted(fleet.model_ids())}")
    for name in sorted(reports.keys() & expected.keys()):
        if facts_of(reports[name]) != facts_of(expected[name]):
            sentences.append(f"{name}: other facts than in an undisturbed run: {_difference(reports[name], expected[name])}")
    for name, codes in fleet.verdicts.items():
        if name in reports and (reports[name]["reason"] or {}).get("code") not in codes:
            sentences.append(f"{name} came to {reports[name]['reason']}, not to {' or '.join(map(str, codes))}")
    listed = {model["model_id"] for model in json.loads((out / "fleet.json").read_text())["models"]}
    if listed != reports.keys():
        sentences.append(f"fleet.json lists {sorted(listed)}, there are reports of {sorted(reports)}")
    verified = liteferry("verify", out, timeout_s=_VERIFIED_S + _VERIFIED_S_PER_MODEL * len(reports))
    if verified.returncode != 0:
        sentences.append(f"verify: {verified.stdout.strip()} {verified.stderr.strip()}")
    return sentences + _left(out, temporary)


def _renumber(report: dict[str, Any], expected: dict[str, Any]) -> None:
    """Gives a report the number of the expected one, wherever it stands in a path."""
    there, here = (f"saved_model/{one.get('version')}" for one in (expected, report))
    text = json.dumps(report).replace(here, there)
    report.clear()
    report.update(json.loads(text) | {"version": expected.get("version")})


def _left(out: Path, temporary: Path) -> list[str]:
    sentences = []
    deadline = time.monotonic() + _SETTLES_S
    while (left := processes_of(out)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        sentences.append(f"processes are left: {[' '.join(process.cmdline())[-120:] for process in left]}")
    scratch = os.listdir(temporary)
    if scratch:
        sentences.append(f"temporaries are left: {', '.join(scratch[:5])}")
    beside = [str(path.relative_to(out)) for path in out.rglob("*") if path.name.endswith((".tmp", ".replaced", ".part"))]
    beside += [str(path.relative_to(out)) for path in (out / ".staging").glob("*") if path.name != "lock"]
    if beside:
        sentences.append(f"work in progress is left: {', '.join(beside[:5])}")
    with open(out / ".staging" / "lock", "a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sentences.append("the lock is still held")
    return sentences


def _difference(one: Any, other: Any, at: str = "") -> str:
    """Where two reports first differ."""
    one, other = facts_of(one), facts_of(other)
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                return _difference(one.get(key), other.get(key), f"{at}.{key}")
    return f"{at or 'it'} is {str(one)[:150]}, was {str(other)[:150]}"
