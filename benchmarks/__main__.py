"""`make bench`: LiteFerry beside the script that people write today, in turn, on this machine; medians and ratios."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

_HERE = os.path.dirname(os.path.abspath(__file__))
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the chosen benchmarks and prints their table; `--write` puts it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", default="mixed,siblings", help="which, comma-separated (default: %(default)s)")
    parser.add_argument("--count", type=int, default=24, help="models per fleet (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    arguments = parser.parse_args(argv)
    lines = [
        "| fleet | models | script, s | LiteFerry, s | times as fast | script, CPU s | LiteFerry, CPU s |",
        "| --- " * 7 + "|",
    ]
    for fleet in arguments.only.split(","):
        lines.append(_measure(fleet, arguments.count, arguments.rounds))
        print(lines[-1], flush=True)
    if arguments.write:
        _write(lines, arguments.rounds)
    return 0


def _measure(fleet: str, count: int, rounds: int) -> str:
    folder = tempfile.mkdtemp(prefix=f"liteferry-bench-{fleet}-")
    try:
        _run([sys.executable, os.path.join(_HERE, "fleets.py"), fleet, folder, str(count)])
        script, ours = [], []
        for number in range(rounds):  # in turn, so that a slow spell of the machine hits both
            out = os.path.join(folder, f"script-{number}")
            script.append(_run([sys.executable, os.path.join(_HERE, "tutorial.py"), folder, out]))
            out = os.path.join(folder, f"ours-{number}")
            job = os.path.join(folder, "job.yaml")
            command = [sys.executable, "-m", "liteferry", "run", "--config", job, "--output", out, "--quiet"]
            ours.append(_run(command, accepted=(0, 1)))  # 1: untrained weights quantise badly, and the gates say so
        ratio = statistics.median(theirs[0] / mine[0] for theirs, mine in zip(script, ours, strict=True))
        figures = [statistics.median(run[index] for run in side) for index in (0, 1) for side in (script, ours)]
        return f"| {fleet} | {count} | {figures[0]:.0f} | {figures[1]:.0f} | {ratio:.1f} | {figures[2]:.0f} | {figures[3]:.0f} |"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], *, accepted: Sequence[int] = (0,)) -> tuple[float, float]:
    """Wall and CPU seconds of a command and all its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env={**os.environ, **_QUIET}, capture_output=True, text=True, check=False)
    if done.returncode not in accepted:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu


def _write(lines: Sequence[str], rounds: int) -> None:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    text = [
        "# Benchmarks",
        "",
        "Made by `make bench`; nothing here is from memory. Both sides start from the same checkpoints and make the same things:",
        "a SavedModel, the variants float32, float16, dynamic_int8 and int8, their comparison with the checkpoint on 512 rows.",
        "The script is [benchmarks/tutorial.py](../benchmarks/tutorial.py): Keras's ExportArchive, `from_saved_model` once per",
        "variant, batched evaluation, one process. LiteFerry's time includes its start-up, the proof in clean processes and the",
        "reports.",
        "",
        f"Medians of {rounds} runs in turn, on: {machine}. Compare the ratios, not the seconds.",
        "",
        *lines,
    ]
    path = os.path.join(os.path.dirname(_HERE), "docs", "benchmarks.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(text) + "\n")


if __name__ == "__main__":
    sys.exit(main())
