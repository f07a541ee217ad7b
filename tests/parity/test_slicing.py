"""Statistics of slices: those of the slice's own rows, whatever the batches, shards and order; bounded, and honest about it."""

from __future__ import annotations

import functools
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteferry.config.job import SamplesSpec
from liteferry.evaluation.accumulator import StatsAccumulator
from liteferry.parity import slicing
from liteferry.parity.output_stats import OutputStats
from liteferry.parity.slicing import Slices, group_rows, slice_name
from liteferry.samples.formats.rows import ColumnSpec
from liteferry.samples.sample_set import SampleSet
from liteferry.samples.slice_columns import columns_of_slices

ROWS = 120
RANDOM = np.random.default_rng(0)
REFERENCE = RANDOM.normal(size=(ROWS, 6))
CANDIDATE = REFERENCE + 0.1 * RANDOM.normal(size=REFERENCE.shape)
COLUMNS: dict[str, np.ndarray] = {
    "label": RANDOM.integers(0, 7, size=ROWS),
    "country": np.array([b"CH", b"FR", b"\xff"])[RANDOM.integers(0, 3, size=ROWS)],
}
SPECS = (("label",), ("country", "label"))


def direct(rows: np.ndarray) -> dict[str, Any]:
    compared = OutputStats.compare(reference=REFERENCE[rows], candidate=CANDIDATE[rows], ids=[""] * len(rows), first_row=0)
    return {"row_count": len(rows), "parity": {"y": compared.report()}}


def sliced(batches: Any) -> dict[tuple[str, ...], Slices]:
    comparison = StatsAccumulator(SPECS)
    for start, stop in batches:
        rows = slice(start, stop)
        comparison.add(
            {"y": REFERENCE[rows]},
            {"y": CANDIDATE[rows]},
            ids=[""] * (stop - start),
            rows=np.arange(start, stop),
            columns={name: column[rows] for name, column in COLUMNS.items()},
        )
    return comparison.finish_slices()


def test_each_equals_a_comparison_of_its_own_rows() -> None:
    found = sliced([(0, ROWS)])
    labels = found["label",].report(("label",))
    assert list(labels) == [f"label:{label}" for label in range(7)]
    for label in range(7):
        assert labels[f"label:{label}"] == direct(np.flatnonzero(COLUMNS["label"] == label))
    crossed = found["country", "label"].report(("country", "label"))
    rows = np.flatnonzero((COLUMNS["label"] == 3) & (COLUMNS["country"] == b"FR"))
    assert crossed["country_X_label:FR_X_3"] == direct(rows)
    assert "country_X_label:\\xff_X_3" in crossed, "bytes that are no text are spelled out, as TFMA's slices have them"
    assert sum(one["row_count"] for one in crossed.values()) == ROWS
    assert (found["label",].is_complete, found["label",].rows_not_listed()) == (True, 0)


@pytest.mark.parametrize("kept", [100, 3])
@given(choices=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_any_shards_and_order_are_the_whole_to_the_bit(kept: int, choices: Any) -> None:
    cuts = [0, *sorted(choices.sample(range(1, ROWS), choices.randint(0, 9))), ROWS]
    shards = list(itertools.pairwise(cuts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slicing, "SLICES_KEPT", kept)
        whole = sliced([(0, ROWS)])
        parts = [sliced([shard]) for shard in shards]
        choices.shuffle(parts)
        merged = {columns: functools.reduce(Slices.__add__, [part[columns] for part in parts]) for columns in SPECS}
        assert merged == whole
        assert {columns: Slices.from_json(json.loads(json.dumps(found.to_json()))) for columns, found in merged.items()} == whole
        assert {columns: list(found.stats) for columns, found in merged.items()} == {
            columns: list(found.stats) for columns, found in whole.items()
        }


def test_the_first_are_kept_and_the_rows_of_all_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "SLICES_KEPT", 3)
    found = sliced([(start, start + 1) for start in range(ROWS)])["label",]
    assert list(found.report(("label",))) == ["label:0", "label:1", "label:2"]
    assert (found.is_complete, found.rows_not_listed()) == (False, int(np.count_nonzero(COLUMNS["label"] > 2)))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        pytest.param(np.array([10, 9, 10]), ["c:9", "c:10"], id="numbers by size"),
        pytest.param(np.array([[2], [1]]), ["c:1", "c:2"], id="one value in a row of its own"),
        pytest.param(np.array([0.5, -0.0, 0.0, np.nan, np.nan]), ["c:0.0", "c:0.5", "c:nan"], id="floats"),
        pytest.param(np.array([True, False]), ["c:False", "c:True"], id="bool"),
        pytest.param(np.array(["b", "a", "b"], dtype=object), ["c:a", "c:b"], id="text"),
        pytest.param(np.array([b"\xff", b"\\xff"], dtype=object), ["c:\\xff"], id="bytes that read alike"),
    ],
)
def test_values(values: np.ndarray, names: list[str]) -> None:
    groups = group_rows([values])
    assert sorted(row for _, rows in groups for row in rows.tolist()) == list(range(len(values)))
    empty = OutputStats.empty()
    merged = Slices() + Slices(stats={key: {"y": empty} for key, _ in groups})
    assert [slice_name(("c",), key) for key in merged.stats] == names


def test_columns_that_cannot_cut_are_said() -> None:
    spec = SamplesSpec(path="x.npz", slices=(("label", "country"), (), ("gone",), ("image",), ("country", "label")))
    columns = {
        "label": ColumnSpec(dtype="int64", shape=()),
        "country": ColumnSpec(dtype="string", shape=(1,)),
        "image": ColumnSpec(dtype="float32", shape=(8, 8)),
    }
    found, problems = columns_of_slices(spec, SampleSet(path="x.npz", shards=(), columns=columns, row_count=1, digest=""))
    assert found == (("country", "label"),)
    assert [problem.partition(":")[0] for problem in problems] == ["slices [gone]", "slices [image]"]
    assert "has not one value for each row" in problems[1]
    assert columns_of_slices(None, None) == ((), ())
