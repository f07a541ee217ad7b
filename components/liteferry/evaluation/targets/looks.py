"""Analyses files for targets that cannot be run here: with TensorFlow's analyzer for the GPU delegate, with Vela for Arm's
NPUs.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import glob
import io
import math
import os
import re
import tempfile
from collections.abc import Mapping
from typing import Any

from liteferry.errors import Stage
from liteferry.evaluation.targets import names
from liteferry.sandbox import Reporter

_VELA_EXTRA = "liteferry[ethos]"
_MOST_WORDS = 400
_SHARE = re.compile(r"(CPU|NPU) operators = (\d+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LookTask:
    """`paths`: variant -> file. `targets`: the targets to analyse."""

    paths: Mapping[str, str]
    targets: tuple[str, ...]


def run_looks(task: LookTask, reporter: Reporter) -> None:
    """Runs in a sandbox without Keras. Hands over {variant, target, look} for each; `look` is the result of `of_gpu` or
    `of_ethos`.
    """
    reporter.stage(Stage.EVALUATE)
    for variant, path in task.paths.items():
        with open(path, "rb") as file:
            content = file.read()
        for target in task.targets:
            look = of_gpu(content) if target == names.GPU else of_ethos(path, target)
            reporter.result({"variant": variant, "target": target, "look": look})


def of_gpu(content: bytes) -> dict[str, Any]:
    """{fits, why, lacking}: whether all operators fit the GPU delegate, by TensorFlow's analyzer; `lacking` lists those that do
    not, in its words.
    """
    import tensorflow as tf

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            tf.lite.experimental.Analyzer.analyze(model_content=content, gpu_compatibility=True)
    except Exception as error:  # noqa: BLE001  # a third-party parser may raise anything
        return {"fits": False, "why": f"the analyzer cannot read it: {error}"[:_MOST_WORDS], "lacking": []}
    lacking = [
        line.partition("GPU COMPATIBILITY WARNING:")[2].strip()
        for line in said.getvalue().splitlines()
        if "GPU COMPATIBILITY" in line
    ]
    lacking = list(dict.fromkeys(line for line in lacking if line and not line.startswith("Subgraph")))
    return {"fits": not lacking, "why": "; ".join(lacking)[:_MOST_WORDS] or None, "lacking": lacking[:20]}


def of_ethos(path: str, target: str) -> dict[str, Any]:
    """{fits, why, npu_share, sram_bytes, cycles, inferences_per_s}: Vela's estimates; `fits` where any operator runs on the
    NPU.
    """
    try:
        from ethosu.vela import vela
    except ImportError:
        return {"fits": False, "why": f"ethos-u-vela is not installed: pip install '{_VELA_EXTRA}'"}
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                vela.main([path, "--accelerator-config", target, "--output-dir", folder])
        except (Exception, SystemExit) as error:  # noqa: BLE001  # its message is the result
            words = (_last_line(said.getvalue()) or str(error))[:_MOST_WORDS]
            return {"fits": False, "why": f"Vela cannot compile it: {words}"}
        summary = _summary(folder)
    counts = {side: int(count) for side, count in _SHARE.findall(said.getvalue())}
    total = sum(counts.values())
    share = counts.get("NPU", 0) / total if total else None
    why = None if share == 1.0 else f"{counts.get('CPU', 0)} of {total} operators fall back to the CPU"
    return {"fits": bool(counts.get("NPU")), "why": why, "npu_share": share, **summary}


def _summary(folder: str) -> dict[str, Any]:
    """From Vela's table: memory in bytes, cycles, and inferences per second."""
    for path in glob.glob(os.path.join(folder, "*_summary_*.csv")):
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        if rows:
            row = rows[-1]
            kilobytes = _number(row.get("sram_memory_used"))
            return {
                "sram_bytes": None if kilobytes is None else int(kilobytes * 1024),
                "cycles": _number(row.get("cycles_total")),
                "inferences_per_s": _number(row.get("inferences_per_second")),
            }
    return {}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
