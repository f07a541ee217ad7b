"""Tests with packages that are not LiteFerry's: `make test-packages` makes their environment from the lock in this folder and
sets LITEFERRY_PACKAGES. Elsewhere they are not collected.
"""

from __future__ import annotations

import os
from pathlib import Path


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name.startswith("test_real") and "LITEFERRY_PACKAGES" not in os.environ else None
