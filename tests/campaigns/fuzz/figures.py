"""The table that a run of the fuzzer writes into docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.campaigns.fuzz.campaign import Tally

_BEGIN, _END = "<!-- made by make fuzz -->", "<!-- end of make fuzz -->"
WHAT = {
    "keras": "`.keras` archives: zip structure, JSON, HDF5 inside; the search for siblings",
    "h5": "HDF5 checkpoints: headers, attributes, links, configs",
    "archive": "`.zip` and `.tar.gz` with checkpoints inside",
    "saved_model": "SavedModel folders: graph, index, links",
    "tf_checkpoint": "TensorFlow checkpoints (`.index`)",
    "tflite": "`.tflite` files",
    "samples": "Parquet, npz, Arrow IPC, TFRecord, schemas",
    "image": "encoded images",
    "job": "job files, recipes, eval configs",
    "runner_config": "runner configurations",
    "out": "an OUT with damaged reports: `show`, `verify`, `report`, resume",
}


def table(tallies: Mapping[str, Tally], loads: Tally | None, *, seed: int, wall_s: float, cpu_s: float, loads_s: float) -> str:
    lines = [
        "| inputs | read | facts or rows | LiteFerry's errors | ends of a reader process | findings | slowest | most memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(WHAT[kind], tally) for kind, tally in tallies.items()]
    if loads is not None:
        lines.append(_row("full loads in the sandbox, of the first six kinds", loads, timed=False))
    total = sum(tally.inputs for tally in tallies.values())
    said = f"Seed {seed}: {total:,} inputs in {wall_s / 60:.0f} minutes"
    if loads is not None:
        said += f", beside them {loads.inputs:,} full loads in {loads_s / 60:.0f} minutes"
    return "\n".join([f"{said}; {cpu_s / 60:.0f} minutes of processor time on two cores that other work shared.", "", *lines])


def _row(what: str, tally: Tally, *, timed: bool = True) -> str:
    good = sum(count for word, count in tally.words.items() if _is_good(word))
    ends = sum(tally.contained.values())
    slowest = f"{tally.slowest_s:.1f} s" if timed else "–"
    numbers = (tally.inputs, good, tally.inputs - good - ends - len(tally.findings), ends, len(tally.findings))
    return f"| {what} | {' | '.join(f'{number:,}' for number in numbers)} | {slowest} | {tally.peak_bytes / 1e6:.0f} MB |"


def _is_good(word: str) -> bool:
    return not any(part.isupper() or part.endswith("Error") for part in word.replace(",", "").split()[:1])


def write(path: Path, text: str) -> None:
    """Puts the table between its two marks."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"{path} has no {_BEGIN} ... {_END}")
    path.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")


def words(tallies: Iterable[Tally]) -> str:
    """A line for each kind: how often which answer was given."""
    lines = []
    for tally in tallies:
        told = ", ".join(f"{word} {count}" for word, count in tally.words.most_common(12))
        lines.append(
            f"{tally.kind}: {tally.inputs:,} inputs, {tally.cpu_s:.0f} s of CPU, slowest {tally.slowest_s:.2f} s, "
            f"{tally.peak_bytes / 1e6:.0f} MB at most, {len(tally.findings)} findings; {told}; contained {dict(tally.contained)}"
        )
    return "\n".join(lines)
