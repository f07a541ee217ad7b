"""No bytes of a model pass through Beam: what the launcher and its workers take does not grow with the models."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.packages import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")

BIG_BYTES = 100_000_000
COUNT = 2
# Less than one model's weights by far: a single copy of a single model, anywhere, shows.
MOST_MORE_BYTES = 40_000_000

WRITE = """
import sys, keras
folder, width, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((width,), name="x"), keras.layers.Dense(width, name="y")])
for number in range(count):  # siblings with other weights would do; what counts is bytes
    model.layers[0].kernel[0, :].assign(keras.random.normal((width,)))
    model.save(f"{folder}/model_{number}.keras")
"""


@dataclasses.dataclass
class Peaks:
    """Resident memory at its highest, in bytes, of the launcher and of Beam's worker; the size of the smallest model written."""

    launcher: int = 0
    worker: int = 0
    model: int = 0


def fleet(folder: Path, *, width: int) -> Path:
    folder.mkdir()
    subprocess.run([sys.executable, "-c", WRITE, str(folder), str(width), str(COUNT)], check=True, capture_output=True)
    np.savez(folder / "rows.npz", x=np.random.default_rng(0).normal(size=(8, width)).astype(np.float32))
    (folder / "job.yaml").write_text(
        "models: [{checkpoints: '*.keras'}]\nsamples: {rows: {path: rows.npz}}\n"
        "variants: [float32]\nevaluation: {latency: false}\n"
    )
    return folder


def peak_bytes(pid: int) -> int:
    """The kernel's own mark of the highest resident size so far, which no look in between can miss; 0 for one that is gone."""
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), flags=re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(match[1]) * 1024 if match else 0


def workers_of(pid: int) -> Iterator[int]:
    """Beam's worker processes, which a shell starts; sandboxes are their grandchildren and have other command lines."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                program, *words = process.cmdline() or [""]
                if "python" in program and "apache_beam.runners.worker.sdk_worker_main" in words:
                    yield process.pid


def run(folder: Path) -> Peaks:
    """A worker process besides the launcher, so that what each of them holds is apart; watched to its end."""
    command = [sys.executable, "-m", "liteferry", "run", "--config", str(folder / "job.yaml"), "--output", str(folder / "out")]
    config = ROOT / "runner_configs" / "direct_multiprocess.yaml"
    more = ["--runner_config", str(config), "--direct_num_workers=1", "--processes=1"]
    peaks = Peaks()
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([*command, *more], stdout=log, stderr=log)
        while process.poll() is None:
            peaks.launcher = max(peaks.launcher, peak_bytes(process.pid))
            peaks.worker = max(peaks.worker, *map(peak_bytes, workers_of(process.pid)), 0)
            time.sleep(0.1)
    assert process.returncode == 0, (folder / "log").read_text()
    sizes = [path.stat().st_size for path in folder.glob("out/models/*/tflite/float32.tflite")]
    assert len(sizes) == COUNT
    peaks.model = min(sizes)
    return peaks


HOLD = """
import time
held = bytearray(80_000_000)
del held
print("let go", flush=True)
time.sleep(60)
"""


def test_memory_that_was_held_for_a_moment_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = peak_bytes(process.pid)
        process.kill()
    assert seen > 80_000_000


@pytest.mark.nightly
def test_memory_of_launcher_and_workers_does_not_grow_with_the_models(tmp_path: Path) -> None:
    tiny, big = run(fleet(tmp_path / "tiny", width=16)), run(fleet(tmp_path / "big", width=5000))
    assert big.model >= BIG_BYTES > 1000 * tiny.model, "the fleets are not what this test needs"
    assert min(tiny.launcher, tiny.worker) > 50_000_000, "that is no Python with Beam: the wrong processes were watched"
    assert big.launcher - tiny.launcher < MOST_MORE_BYTES, (tiny, big)
    assert big.worker - tiny.worker < MOST_MORE_BYTES, (tiny, big)
