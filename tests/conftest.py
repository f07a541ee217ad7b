"""What every test process needs before it imports anything heavy."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.checkpoints import fixtures_checkpoints, fixtures_hostile
from tests.support import Run, arguments_of_three, liteferry, packages
from tests.support.emulators import _gcs_server, _s3_server, gs, s3  # noqa: F401  # fixtures
from tests.support.kitchen_sink import run as run_kitchen_sink
from tests.support.programs import run_program
from tests.support.shared import made_once, run_once
from tests.support.stores import memory_store, shared_store, store  # noqa: F401  # fixtures
from tests.support.tiers import (  # noqa: F401  # hooks
    _no_process_in_a_unit_test,
    pytest_collection_modifyitems,
    pytest_terminal_summary,
)

# Set here, not in a fixture: TensorFlow and gRPC read these once, when they are imported, and sandbox processes inherit them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the numbers in the tests are a CPU's
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # Beam's threads and forks do not mix

# No deadline: a machine with two cores is slow in bursts. In CI the same examples every time, so that red means a change did it.
hypothesis.settings.register_profile("liteferry", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("liteferry")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every hostile checkpoint of `fixtures_hostile`, in a folder of its name."""
    out = tmp_path_factory.mktemp("hostile")  # not shared by workers: some tests let an attack happen there
    subprocess.run([sys.executable, fixtures_hostile.__file__, str(out)], check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every checkpoint of `fixtures_checkpoints`, in a folder of its name, written by two processes."""

    def make(out: Path) -> None:
        for library in fixtures_checkpoints.WRITERS:
            run_program(Path(fixtures_checkpoints.__file__), library, out, folder=out)

    return made_once(tmp_path_factory, "checkpoints", make)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`liteferry demo --with_broken`, run once for the whole session."""
    return run_once(tmp_path_factory, "demo", lambda out: liteferry("demo", "--output", out, "--with_broken"))


@pytest.fixture(scope="session")
def kitchen_sink(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of many small models; which, `tests/support/kitchen_sink` says."""
    return run_once(tmp_path_factory, "kitchen_sink", lambda out: run_kitchen_sink(out.parent, demo))


@pytest.fixture(scope="session")
def three(demo: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three of the demo's checkpoints as float32, on the disk: what other ways to run them are held against."""
    return run_once(tmp_path_factory, "three", lambda out: liteferry(*arguments_of_three(demo), "--output", out))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from it."""
    return made_once(tmp_path_factory, "build", packages.build)
