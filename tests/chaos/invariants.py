"""What must hold after any fault, once the same command has run to its end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.fleet import VERDICTS, Fleet
from tests.support import facts_of, liteferry

MARK = "LITEFERRY_CHAOS_OUT"


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


def finished(out: Path) -> dict[Path, int]:
    """Files of models whose report stands, with their times."""
    return {
        path: path.stat().st_mtime_ns
        for folder in out.glob("models/*")
        if (folder / "report.json").exists()
        for path in folder.rglob("*")
        if path.is_file()
    }


def broken(fleet: Fleet, out: Path, *, undisturbed: dict[str, Any]) -> list[str]:
    """Every invariant that does not hold, a sentence each."""
    sentences = []
    reports = {path.parent.name: json.loads(path.read_text()) for path in out.glob("models/*/report.json")}
    if reports.keys() != fleet.model_ids():
        sentences.append(f"reports of {sorted(reports)}, checkpoints {sorted(fleet.model_ids())}")
    for name in reports.keys() & undisturbed.keys():
        if facts_of(reports[name]) != undisturbed[name]:
            sentences.append(f"{name}: other facts than in an undisturbed run")
    for name in fleet.healthy() & reports.keys():
        if reports[name]["status"] != "blessed":
            sentences.append(f"{name} is healthy and {reports[name]['status']}: {reports[name]['reason']}")
    for name, code in VERDICTS.items():
        if name in reports and code is not None and (reports[name]["reason"] or {}).get("code") != code:
            sentences.append(f"{name} came to {reports[name]['reason']}, not to {code}")
    verified = liteferry("verify", out)
    if verified.returncode != 0:
        sentences.append(f"verify: {verified.stdout.strip()} {verified.stderr.strip()}")
    left = [process.cmdline()[:3] for process in processes_of(out)]
    if left:
        sentences.append(f"processes are left: {left}")
    scratch = [name for name in os.listdir(out.parent / "tmp") if (out.parent / "tmp" / name).is_dir() and "liteferry" in name]
    if scratch:
        sentences.append(f"scratch folders are left: {scratch}")
    return sentences
