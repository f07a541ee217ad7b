"""What the suites of all orchestrators share: the small fleet, and which of the suites are to be run.

Each needs packages that are not LiteFerry's, so `make test-tfx`, `test-tfx-full`, `test-airflow`, `test-kfp` and `test-proof`
make environments from the locks in this folder and name their suite in LITEFERRY_ORCHESTRATOR. Elsewhere the suites are not
collected.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TFX_LOCAL = Path(__file__).resolve().parents[2] / "pipelines" / "tfx_local.py"
SUITE_OF = {
    "test_tfx_local": "tfx",
    "test_tfx_full": "tfx-full",
    "test_airflow": "airflow",
    "test_kubeflow": "kfp",
    "test_proof_tools": "proof",
}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """A suite is only collected where its packages are: it imports them at its top."""
    suite = SUITE_OF.get(collection_path.stem)
    return True if suite and suite not in os.environ.get("LITEFERRY_ORCHESTRATOR", "").split(",") else None


@pytest.fixture(scope="session")
def tfx_local() -> Any:
    """`pipelines/tfx_local.py` as a module; imports Beam and TFX."""
    spec = importlib.util.spec_from_file_location("tfx_local", TFX_LOCAL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def launch(tfx_local: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs it with flags, in this process: the imports take longer than the run."""
    monkeypatch.setattr(sys, "argv", [str(TFX_LOCAL)])  # TFX reads its own flags off the command line
    return lambda *flags: int(tfx_local.main([str(flag) for flag in flags]))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that write_fleet.py writes."""
    out = tmp_path_factory.mktemp("fleet")
    subprocess.run([sys.executable, Path(__file__).with_name("write_fleet.py"), out], check=True, capture_output=True)
    return out
