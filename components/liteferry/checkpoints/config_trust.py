"""Finds what a serialized architecture would make a loader do besides building layers. It is read as data, before any loader sees
it.

Loaders resolve the names in a config: tf_keras imports any module and takes any symbol from it, `TFOpLambda` takes any symbol of
TensorFlow (`io.gfile.rmtree` is one), Lambda layers unmarshal bytecode. The rules are lists of allowed names (`config_names`,
`tf_symbols`): an unknown name is refused. Sources: CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905, CVE-2025-9906,
CVE-2025-12058.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from liteferry.checkpoints.config_nodes import judge
from liteferry.checkpoints.config_objects import FILE_OPS, LAMBDA, Finding, Users
from liteferry.errors import ModelError, ReasonCode, Stage

__all__ = ["FILE_OPS", "LAMBDA", "Finding", "findings", "refuse"]


def findings(config: Any, *, offered: Collection[str] = (), modules: Collection[str] = ()) -> list[Finding]:
    """Everything in a config that does more than build layers, each once.

    Args:
      config: parsed JSON.
      offered: names the user's code provides; such a name is the user's, whichever module the config gives.
      modules: names of modules that the user trusts as a whole.
    """
    judged = judge(config, Users(offered=offered, modules=modules))
    return list(dict.fromkeys(found for found in judged if isinstance(found, Finding)))


def refuse(path: str, found: Collection[Finding], *, trust: Collection[str]) -> None:
    """Raises LOAD_UNSAFE for findings that the job does not trust."""
    closed = [finding for finding in found if finding.opened_by not in trust]
    if not closed:
        return
    shown = "; ".join(finding.what for finding in closed[:5]) + (f"; and {len(closed) - 5} more" if len(closed) > 5 else "")
    openers = sorted({finding.opened_by for finding in closed if finding.opened_by})
    if any(finding.opened_by is None for finding in closed):
        advice = "no setting allows this; ask its author for a clean file"
    else:
        advice = f"if you trust its author, add `trust: [{', '.join(openers)}]` to the job file"
    message = f"{path} would make its loader do more than build layers: {shown}. Nothing was run; {advice}"
    raise ModelError(ReasonCode.LOAD_UNSAFE, Stage.LOAD, message)
