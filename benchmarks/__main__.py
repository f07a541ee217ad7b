"""`make bench`: LiteFerry beside what people write or use today, in turn, on this machine; medians, ratios and targets."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import against
from benchmarks.measure import HERE, Run, median, run_job, run_script
from benchmarks.measure import folder as temporary
from benchmarks.simulate import Family, around_s, families_of, simulate

_NAMES = ("mixed", "siblings", "parity", "overhead", "growth", "costs", "simulation")
_SECTIONS = (*_NAMES, "against")
_PARITY_TARGETS = {"mlp": "at least 20", "cnn_8x8": "at least 20"}
_RUN_ONCE = ("costs", "simulation")
_FLEET_TARGETS = {"mixed": 5.0, "siblings": 9.0}
_PARITY_ROWS = {"mlp": 100_000, "cnn_8x8": 50_000, "cnn_28x28": 10_000}


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


_INTRODUCTION = _lines("""
Made by `make bench`; nothing here is from memory. For *mixed* and *siblings* both sides start from the same checkpoints and make
the same things: a SavedModel, the variants float32, float16, dynamic_int8 and int8, their comparison with the checkpoint on 512
rows.
The script is [benchmarks/tutorial.py](../benchmarks/tutorial.py): Keras's ExportArchive, `from_saved_model` once per variant,
batched
evaluation, one process. *mixed* is of three small and middle CNNs (plain, ResNet-8 and separable, 32x32x3), *siblings* of one
architecture (MobileNetV2, 64x64, alpha 0.5). Each architecture was trained for a minute, each model fine-tuned from there, and
default gates bless them: a failure would be looked into, which takes time that the script does not take. LiteFerry's time
includes its start-up, the proof in clean processes and the reports. The sides run in turn; compare the ratios, not the seconds.
""")
_FLEET_WORDS = _lines("""
In each round the script took another part of the fleet, every third model with three rounds, so that it took each
model once in all. Its time for the whole fleet is that of starting up and the first model, and for each further model the mean
of the others; the table has the median of the rounds. LiteFerry's is the median of runs of the whole fleet.
""")
_PARITY_WORDS = _lines("""
Rows per second of evaluation, batches of 1,000 on both sides, imports and a first run left out. LiteFerry: a SavedModel and two
variants against the checkpoint's answers, all statistics. TFMA: the two variants, by its own extractor, one metric. The MLP has
10 features, the small CNNs two convolutions, on images of 8x8 (as the demo's digits) and of 28x28. The larger the model, the more
of the time is that of running it, which is the same on both sides.
""")
_OVERHEAD_WORDS = _lines("""
CPU seconds on *siblings* against the bare sum of what cannot be avoided: the C++ conversion of each frozen graph once, and the
reference, and the variants, invoked on the rows. The target is not met. Any tool that starts new processes and compares three
sides must add to that sum: starting up (TensorFlow in two processes, Keras, Beam; taken from a run of one tiny model) and running
the SavedModel on the same rows. The rest is building and tracing, reading and proving each checkpoint, freezing, quantising and
saving in Python, costs and reports.
""")
_COSTS_WORDS = _lines("""
What one model takes of one process, by size: an MLP, a small CNN, MobileNetV2 (alpha 0.5), ResNet50, all on 512 rows of 64x64x3.
The first of a chunk of siblings is built and traced, each further one brings its weights. The same variants as above.
""")
_SIMULATION_WORDS = _lines("""
`python -m benchmarks.simulate`, calibrated on two models of each size class, against runs of a larger fleet of the same classes
that it knows nothing of but its size. The small fleet's reports and wall time with one worker of one process say what a model
takes, and what starting and ending do; its models' times with two workers, against those with one, how much slower everything is
when two share this machine.
""")
_GROWTH_WORDS = _lines("""
Tiny checkpoints of one architecture, 256 rows, one variant; then one small CNN and more and more rows of 16x16x3 numbers in
Parquet.
""")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the chosen benchmarks and prints their tables; `--write` puts them into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", default=",".join(_NAMES), help="which, comma-separated (default: %(default)s)")
    parser.add_argument("--count", type=int, default=24, help="models per fleet (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default: %(default)s)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of parity's rows and growth's models and rows (default: all)"
    )
    parser.add_argument(
        "--against",
        metavar="REVISION",
        help="only mixed and siblings, on the code of this commit and of the checkout in turn (about half an hour)",
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    arguments = parser.parse_args(argv)
    if arguments.against:
        return _against(parser, arguments)
    for name, section in _sections(arguments.count, arguments.rounds, arguments.scale).items():
        if name in arguments.only.split(","):
            lines = section()
            print("\n".join(lines), flush=True)
            if arguments.write:
                runs = "one run" if name in _RUN_ONCE else f"medians of {arguments.rounds}"
                _write(name, [*lines, "", f"Measured on {_today()}, {runs}, on: {_machine()}."])
    return 0


def _against(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Exit status 1 where a fleet takes more than it may; 2 with usage where the revision or a fleet is unknown."""
    try:
        fleets = against.fleets_of(arguments.only, every=_NAMES)
        revision = against.commit_of(arguments.against)
    except ValueError as error:
        parser.error(str(error))
    found = against.measure(revision, fleets=fleets, count=arguments.count, rounds=arguments.rounds)
    lines = against.section(revision, found)
    print("\n".join(lines), flush=True)
    if arguments.write:
        _write("against", [*lines, "", f"Measured on {_today()}, medians of {arguments.rounds}, on: {_machine()}."])
    return 0 if all(one.is_met for one in found) else 1


def _sections(count: int, rounds: int, scale: float) -> dict[str, Callable[[], list[str]]]:
    return {
        "mixed": lambda: _fleet("mixed", count, rounds),
        "siblings": lambda: _fleet("siblings", count, rounds),
        "parity": lambda: _parity(rounds, scale),
        "overhead": lambda: _overhead(count, rounds),
        "growth": lambda: _growth(rounds, scale),
        "costs": lambda: _costs(max(2, count // 3)),
        "simulation": lambda: _simulation(max(3, count // 3)),
    }


def _fleet(name: str, count: int, rounds: int) -> list[str]:
    """The script's side takes the next part of the fleet in each round, LiteFerry's the whole fleet every time."""
    with temporary(name) as folder:
        run_script("fleets.py", name, folder, count)
        script, ours = [], []
        for number in range(rounds):  # in turn, so that a slow spell of the machine hits both
            spent = run_script("tutorial.py", folder, os.path.join(folder, f"script-{number}"), number, rounds).json()
            script.append([_whole_fleet(spent, count, side) for side in (0, 1)])
            ours.append(run_job(os.path.join(folder, "job.yaml"), os.path.join(folder, f"ours-{number}")))
    theirs = [median(one[side] for one in script) for side in (0, 1)]
    wall, cpu = median(run.wall_s for run in ours), median(run.cpu_s for run in ours)
    return [
        f"## {name}",
        "",
        f"{count} models. " + _FLEET_WORDS[0],
        *_FLEET_WORDS[1:],
        "",
        "| | script | LiteFerry | ratio | target |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| wall, s | {theirs[0]:.0f} | {wall:.0f} | {theirs[0] / wall:.1f} | at least {_FLEET_TARGETS[name]:.0f} |",
        f"| CPU, s | {theirs[1]:.0f} | {cpu:.0f} | {theirs[1] / cpu:.1f} | |",
    ]


def _whole_fleet(spent: Mapping[str, Any], count: int, side: int) -> float:
    """Seconds, wall (side 0) or CPU (1), that the script would take for the whole fleet."""
    models = [seconds[side] for seconds in spent["models_s"]]
    return float(spent["start_s"][side] + models[0] + (count - 1) * statistics.mean(models[1:] or models))


def _parity(rounds: int, scale: float) -> list[str]:
    lines = [
        "## parity",
        "",
        *_PARITY_WORDS,
        "",
        "| model | rows | TFMA, rows/s | LiteFerry, rows/s | ratio | target |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, full in _PARITY_ROWS.items():
        rows = max(2000, int(full * scale))
        found = []
        for _ in range(rounds):
            with temporary("parity") as folder:
                found.append(run_script("parity.py", kind, folder, rows).json())
        theirs, ours = (median(one[side] for one in found) for side in ("tfma", "liteferry"))
        ratio = median(one["liteferry"] / one["tfma"] for one in found)
        lines.append(f"| {kind} | {rows:,} | {theirs:,.0f} | {ours:,.0f} | {ratio:.0f} | {_PARITY_TARGETS.get(kind, '')} |")
    return lines


def _overhead(count: int, rounds: int) -> list[str]:
    ours, bare, starts = [], [], []
    with temporary("overhead") as folder, temporary("start") as tiny:
        run_script("fleets.py", "siblings", folder, count)
        run_script("fleets.py", "tiny", tiny, 1)
        for number in range(rounds):
            out = os.path.join(folder, f"ours-{number}")
            ours.append(run_job(os.path.join(folder, "job.yaml"), out).cpu_s)
            bare.append(run_script("unavoidable.py", folder, out).json())
            starts.append(run_job(os.path.join(tiny, "job.yaml"), os.path.join(tiny, f"out-{number}")).cpu_s)
    served = [one.pop("saved_model") for one in bare]
    sums = [sum(one.values()) for one in bare]
    wider = [sum(parts) for parts in zip(sums, served, starts, strict=True)]
    ratio, to_wider = (median(took / least for took, least in zip(ours, floor, strict=True)) for floor in (sums, wider))
    parts = [*(median(one[name] for one in bare) for name in bare[0]), *map(median, (sums, ours))]
    return [
        "## overhead",
        "",
        *_OVERHEAD_WORDS,
        "",
        "| conversion | reference | variants | sum | LiteFerry | ratio | target |",
        "| ---: " * 7 + "|",
        f"| {' | '.join(f'{seconds:.1f}' for seconds in parts)} | {ratio:.2f} | at most 1.6 |",
        "",
        "| start | SavedModel | with the sum | LiteFerry | ratio |",
        "| ---: " * 5 + "|",
        f"| {' | '.join(f'{median(seconds):.1f}' for seconds in (starts, served, wider, ours))} | {to_wider:.2f} |",
    ]


def _growth(rounds: int, scale: float) -> list[str]:
    models = {count: _repeat("tiny", max(1, int(count * scale)), rounds) for count in (10, 100, 1000)}
    per_model = {count: median(run.wall_s for run, _ in found) / max(1, int(count * scale)) for count, found in models.items()}
    lines = [
        "## growth",
        "",
        *_GROWTH_WORDS,
        "",
        "| checkpoints | wall, s | s per model | to 100 | target | driver's peak, MB |",
        "| ---: " * 6 + "|",
    ]
    for count, found in models.items():
        ratio, target = f"{per_model[count] / per_model[100]:.2f}", "at most 1.20" if count == 1000 else ""
        wall, peak = median(run.wall_s for run, _ in found), median(_driver_peak(run) for run, _ in found)
        lines.append(
            f"| {max(1, int(count * scale)):,} | {wall:.0f} | {per_model[count]:.2f} | {ratio} | {target} | {peak / 1e6:.0f} |"
        )
    rows = {count: _repeat("rows", max(1, int(count * scale)), rounds) for count in (1000, 10_000, 100_000)}
    peaks = {count: median(max(peak, _driver_peak(run)) for run, peak in found) for count, found in rows.items()}
    lines += ["", "| rows | peak of any process, MB | to 1x | target |", "| ---: " * 4 + "|"]
    for count, peak in peaks.items():
        target = "at most 1.30" if count == 100_000 else ""
        lines.append(f"| {max(1, int(count * scale)):,} | {peak / 1e6:.0f} | {peak / peaks[1000]:.2f} | {target} |")
    return lines


def _repeat(fleet: str, count: int, rounds: int) -> list[tuple[Run, int]]:
    """Runs of one fleet, each with the largest peak memory that any of its models' sandboxes had, in bytes."""
    found = []
    with temporary("growth") as folder:
        run_script("fleets.py", fleet, folder, count)
        for number in range(rounds):
            out = os.path.join(folder, f"out-{number}")
            done = run_job(os.path.join(folder, "job.yaml"), out)
            reports = [json.loads(path.read_text()) for path in Path(out).glob("models/*/report.json")]
            expected = count if fleet == "tiny" else 1  # the other fleet's count is of rows
            assert len(reports) == expected, f"{len(reports)} reports of {expected} models"
            found.append((done, max(report["peak_memory_bytes"] for report in reports)))
            shutil.rmtree(out)
    return found


def _costs(count: int) -> list[str]:
    with temporary("costs") as folder:
        run_script("fleets.py", "classes", folder, count)
        run_job(os.path.join(folder, "job.yaml"), os.path.join(folder, "out"))
        classes = _classes(os.path.join(folder, "out"))
    lines = [
        "## costs",
        "",
        *_COSTS_WORDS,
        "",
        "| class | models | checkpoint, MB | first, s | further, s | peak memory, GB | published, MB | files |",
        "| --- |" + " ---: |" * 7,
    ]
    for name, reports in classes.items():
        (family,) = families_of(reports)
        sizes = [median(report["checkpoint"]["bytes"] for report in reports), median(_published(report) for report in reports)]
        lines.append(
            f"| {name} | {len(reports)} | {sizes[0] / 1e6:.1f} | {family.first_s:.1f} | {family.next_s:.1f} "
            f"| {family.peak_bytes / 1e9:.2f} | {sizes[1] / 1e6:.1f} | {len(reports[0]['files'])} |"
        )
    return lines


def _simulation(count: int) -> list[str]:
    """Of one or two workers, the seconds that runs of a small fleet and of the whole one take; the latter also simulated."""
    took: dict[tuple[str, int], float] = {}
    families: dict[tuple[str, int], list[Family]] = {}
    with temporary("simulation") as folder:
        for fleet, models in (("small", 2), ("whole", count)):
            run_script("fleets.py", "classes", os.path.join(folder, fleet), models)
        for workers in (1, 2):
            for fleet in ("small", "whole"):  # one after the other, so that a slow spell of the machine hits both
                out = os.path.join(folder, f"{fleet}-{workers}")
                flags = ("--direct_running_mode=multi_processing", f"--direct_num_workers={workers}", "--processes=1")
                took[fleet, workers] = run_job(os.path.join(folder, fleet, "job.yaml"), out, *flags).wall_s
                families[fleet, workers] = families_of([report for group in _classes(out).values() for report in group])
    around = around_s(families["small", 1], took_s=took["small", 1], processes=1)
    slowdowns = {1: 1.0, 2: _slowdown(families["small", 1], families["small", 2])}
    whole = [
        dataclasses.replace(costs, count=family.count)
        for costs, family in zip(families["small", 1], families["whole", 1], strict=True)
    ]
    models = sum(family.count for family in whole)
    lines = [
        "## simulation",
        "",
        *_SIMULATION_WORDS,
        "",
        f"{models} models. Start and end: {around:.0f} s. Two workers on this machine: {slowdowns[2]:.2f} times slower.",
        "",
        "| workers | measured, s | simulated, s | ratio | target |",
        "| ---: " * 5 + "|",
    ]
    for workers, slowdown in slowdowns.items():
        found = simulate(whole, workers=workers, processes=1, around_s=around, slowdown=slowdown, is_static=True)
        measured = took["whole", workers]
        lines.append(f"| {workers} | {measured:.0f} | {found.wall_s:.0f} | {found.wall_s / measured:.2f} | 0.85 to 1.15 |")
    return lines


def _slowdown(alone: Sequence[Family], together: Sequence[Family]) -> float:
    """How many times longer the first of each chunk took; with two workers of two models each, both are."""
    return sum(family.first_s for family in together) / sum(family.first_s for family in alone)


def _classes(out: str) -> dict[str, list[Any]]:
    """Reports by the names of the size classes."""
    found: dict[str, list[Any]] = {}
    for path in sorted(Path(out).glob("models/*/report.json")):
        found.setdefault(path.parent.name.split("_")[1], []).append(json.loads(path.read_text()))
    return found


def _published(report: Mapping[str, Any]) -> int:
    return sum(file["bytes"] for file in report["files"].values())


def _driver_peak(run: Run) -> int:
    return int(run.json()["driver_peak_bytes"])


def _machine() -> str:
    processor = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next((line.partition(":")[2].strip() + ", " for line in file if line.startswith("model name")), "")
    return f"{processor}{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d")


def _write(name: str, section: Sequence[str]) -> None:
    """Puts one section into docs/benchmarks.md; the others stay as they were measured."""
    path = os.path.join(os.path.dirname(HERE), "docs", "benchmarks.md")
    known = {name: "\n".join(section) + "\n"}
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        for part in file.read().split("\n## ")[1:]:
            known.setdefault(part.splitlines()[0], f"## {part.rstrip()}\n")
    ordered = [known[other] for other in _SECTIONS if other in known]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(["# Benchmarks\n", "\n".join(_INTRODUCTION) + "\n", *ordered]))


if __name__ == "__main__":
    sys.exit(main())
