"""What the suites of all orchestrators share: the small fleet, and which of the suites are to be run.

Each needs packages that are not LiteFerry's, so `make test-tfx`, `test-tfx-full`, `test-airflow` and `test-kfp` make environments
from the locks in this folder and name their suite in LITEFERRY_ORCHESTRATOR. Elsewhere the suites are not collected.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE_OF = {"test_tfx_local": "tfx", "test_tfx_full": "tfx-full", "test_airflow": "airflow", "test_kubeflow": "kfp"}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """A suite is only collected where its packages are: it imports them at its top."""
    suite = SUITE_OF.get(collection_path.stem)
    return True if suite and suite not in os.environ.get("LITEFERRY_ORCHESTRATOR", "").split(",") else None


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that write_fleet.py writes."""
    out = tmp_path_factory.mktemp("fleet")
    subprocess.run([sys.executable, Path(__file__).with_name("write_fleet.py"), out], check=True, capture_output=True)
    return out
