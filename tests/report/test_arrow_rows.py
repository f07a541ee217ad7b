"""The fleet's rows as a table: the values and types of `pyarrow.array`, without its import of pandas."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from liteferry.report.arrow_rows import table_of

SCHEMA = pa.schema(
    [
        pa.field("model_id", pa.string(), nullable=False),
        pa.field("bytes", pa.int64()),
        pa.field("error", pa.float64()),
        pa.field("is_blessed", pa.bool_()),
    ]
)
TEXTS = ["plain", "", "null", "2026-11-30", "two\nlines", 'a "quoted" \\ name', "\u2028 ü 漢 \U0001f6a2", "1e5", "x" * 3_000_000]


def _row(name, size=1, error=0.5, is_blessed=True):
    return {"model_id": name, "bytes": size, "error": error, "is_blessed": is_blessed}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [_row(text) for text in TEXTS],
        [_row("a", 2**63 - 1), _row("b", -(2**63)), _row("c", 0)],
        [_row("a", error=value) for value in (1e-308, 5e-324, 1.7976931348623157e308, 0.1, -0.0, 3.0)],
        [_row("a", error=float(value)) for value in ("inf", "-inf", "1.5")],
        [_row("a", None, None, None), _row("b")],
        [{"model_id": "a"}, _row("b") | {"more": 1}],
    ],
    ids=["no rows", "texts", "integers", "floats", "infinity", "nulls", "missing and other keys"],
)
def test_the_table_has_the_values_and_the_schema(rows):
    table = table_of(rows, SCHEMA)
    expected = [[row.get(name) for name in SCHEMA.names] for row in rows]
    assert [list(row.values()) for row in table.to_pylist()] == expected
    assert table.schema == SCHEMA


def test_pandas_is_not_imported():
    program = (
        "import sys, pyarrow as pa; from liteferry.report.arrow_rows import table_of; "
        "table_of([{'a': 'text', 'b': None}], pa.schema({'a': pa.string(), 'b': pa.float64()})); "
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
