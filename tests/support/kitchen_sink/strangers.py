"""A file whose name is HTML, with metadata that holds a script: what pages have to show as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support import Run
from tests.support.kitchen_sink.part import Part

HOSTILE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"


def _job(folder: Path, demo: Run) -> dict[str, Any]:
    (folder / f"{HOSTILE}.keras").write_text(f"no checkpoint {SCRIPT}")
    np.savez(folder / "nothing.npz", image=np.zeros((2, 4), np.float32))
    metadata = {"note": SCRIPT, HOSTILE: "javascript:alert(3)"}
    return {
        "models": [{"checkpoints": f"{folder}/*.keras", "samples": "nothing", "metadata": metadata}],
        "samples": {"nothing": {"path": str(folder / "nothing.npz")}},
    }


PART = Part(name="strangers", writer="", job=_job)
