"""Formats the output of `liteferry compare`: a table of statistics, the worst rows, the verdict, and the rows that the user
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.commands.compare.compared_row import ComparedRow
from liteferry.lenient import NONFINITE

# The statistics that fit in the table, most important first; --json has all of them.
_STATISTICS = (
    "example_count",
    "max_abs",
    "max_rel",
    "mean_abs",
    "rmse",
    "p50_abs",
    "p90_abs",
    "p99_abs",
    "p999_abs",
    "sqnr_db",
    "column_sqnr_db",
    "row_agreement",
    "class_recall",
    "cosine",
    "argmax_agreement",
    "top5_agreement",
    "exact_agreement",
    "nonfinite_reference",
    "nonfinite_candidate",
    "nonfinite_mismatch",
)


def text_of(facts: Mapping[str, Any], rows: Sequence[ComparedRow]) -> str:
    """The whole result as lines of text: `facts` as `Compared.as_json` has them, and the rows that were asked for."""
    lines = [*facts["notes"], f"{facts['row_count']:,} rows", ""]
    lines += _table(facts["parity"])
    if facts["worst_examples"]:
        lines += ["", "Worst rows:"]
        lines += [
            f"  {example['output']}: id {example['id']!r}, row {example['row']}, max_abs {_number(example['max_abs'])}"
            for example in facts["worst_examples"]
        ]
    for row in rows:
        lines += ["", *_row(row)]
    if rows:
        lines += ["", "Long arrays are cut here; --json prints every value."]
    lines += ["", *_verdict(facts)]
    return "\n".join(lines)


def _table(parity: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Statistics down, outputs across."""
    names = [name for name in _STATISTICS if any(stats.get(name) is not None for stats in parity.values())]
    cells = [["", *parity]] + [[name, *(_number(stats.get(name)) for stats in parity.values())] for name in names]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for first, *others in cells:
        yield "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))])


def _row(row: ComparedRow) -> Iterator[str]:
    yield f"Row {row.row}, id {row.id!r}:"
    for name, value in row.inputs.items():
        yield f"  input {name!r} {_array(value)}"
    for name, value in row.reference.items():
        yield f"  output {name!r}"
        yield f"    reference  {_array(value)}"
        yield f"    candidate  {_array(row.candidate[name]) if name in row.candidate else 'none'}"


def _array(value: np.ndarray) -> str:
    value = np.asarray(value)
    values = np.array2string(value, threshold=200, edgeitems=2, floatmode="unique", max_line_width=110).replace("\n", "\n      ")
    return f"{value.dtype} {value.shape}: {values}"


def _verdict(facts: Mapping[str, Any]) -> Iterator[str]:
    for gate in facts["gates"]:
        sign = "within" if gate["is_within"] else "NOT within"
        yield f"{gate['output']}: {gate['metric']} {_number(gate['observed'])}, {sign} {gate['limit']:g}"
    yield from (note for note in facts["notes"] if note.startswith(NONFINITE))
    if facts["reason"] is not None:
        yield f"{facts['reason']['code']}: {facts['reason']['message']}"
    yield f"Limits: the default gates of {facts['gates_of']}, and those given with --gate."
    yield "The candidate is within every gate." if facts["is_within"] else "The candidate is not within the gates."


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
