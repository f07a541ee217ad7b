"""`liteferry doctor`: checks what this machine and this installation provide, without importing anything heavy."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import tempfile
from typing import Any

from liteferry.report.environment import environment
from liteferry.report.formats import printable
from liteferry.sandbox import held
from liteferry.sandbox.pool import available_cores
from liteferry.storage import local_cache

_IN_WORDS = {
    "files": "processes that load checkpoints read and write only files that the job names",
    "network": "they have no network",
    "signals": "they cannot signal other processes",
}
_EXTRA = re.compile(r"extra\s*==\s*[\"']([^\"']+)[\"']")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def examine() -> dict[str, Any]:
    """JSON-ready facts: `confinement` (name -> whether it holds), `versions`, `extras` (name -> distributions that are
    missing), `cores`, `memory_bytes`, `disk` (what for -> path and free bytes) and `problems`, sentences that each name a fix.
    """
    holding = held.held()
    facts: dict[str, Any] = {
        "platform": platform.platform(),
        "confinement": {name: name in holding for name in held.EVERY},
        "versions": {name: value for name, value in environment().items() if name not in ("cpu", "confinement")},
        "extras": _missing_by_extra(),
        "cpu": environment()["cpu"],
        "cores": available_cores(),
        "memory_bytes": _memory_bytes(),
        "disk": {"temporary files": _disk(tempfile.gettempdir()), "copies of stores": _disk(local_cache.folder())},
    }
    return {**facts, "problems": _problems(facts)}


def _missing_by_extra() -> dict[str, list[str]]:
    missing: dict[str, list[str]] = {}
    try:
        metadata = importlib.metadata.metadata("liteferry")
    except importlib.metadata.PackageNotFoundError:
        return missing
    for extra in metadata.get_all("Provides-Extra") or []:
        missing[str(extra)] = []
    for requirement in metadata.get_all("Requires-Dist") or []:
        for extra in _EXTRA.findall(str(requirement)):
            name = _NAME.match(str(requirement))
            if name is not None and not _is_installed(name[0]):
                missing.setdefault(extra, []).append(name[0])
    return missing


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _disk(path: str) -> dict[str, Any]:
    there = path
    while not os.path.exists(there):
        there = os.path.dirname(there)
    return {"path": path, "free_bytes": shutil.disk_usage(there).free}


def _problems(facts: dict[str, Any]) -> list[str]:
    told = held.warning()
    problems = [told] if told else []
    problems += [
        f"{name} is not installed; install liteferry again with its dependencies"
        for name in ("tensorflow", "keras", "tf_keras", "ai_edge_litert", "apache_beam")
        if facts["versions"].get(name) is None
    ]
    problems += [
        f"{what}: {disk['path']} has {disk['free_bytes'] / 10**9:.1f} GB free; models may need more"
        for what, disk in facts["disk"].items()
        if disk["free_bytes"] < 10**9
    ]
    return problems


def print_doctor(*, as_json: bool) -> int:
    """Prints what was found. Returns the exit status: 0 when there is no problem."""
    facts = examine()
    print(json.dumps(facts, indent=1) if as_json else printable(_text(facts)))
    return 1 if facts["problems"] else 0


def _text(facts: dict[str, Any]) -> str:
    lines = [f"machine     {facts['platform']}, {facts['cores']} cores, {facts['memory_bytes'] / 10**9:.1f} GB of memory"]
    lines += [f"processor   {facts['cpu']}"] if facts["cpu"] else []
    lines += [f"versions    {name} {version or '-'}" for name, version in facts["versions"].items()]
    lines += [
        f"confinement {'holds' if is_held else 'MISSING'}: {_IN_WORDS[name]}" for name, is_held in facts["confinement"].items()
    ]
    lines += [
        f"extra       {name}: {'missing ' + ', '.join(missing) if missing else 'installed'}"
        for name, missing in facts["extras"].items()
    ]
    lines += [f"disk        {what}: {at['path']}, {at['free_bytes'] / 10**9:.1f} GB free" for what, at in facts["disk"].items()]
    lines += [f"problem     {problem}" for problem in facts["problems"]] or ["no problem"]
    return "\n".join(lines)
