"""Statistics of the differences between a candidate's output and the reference's; they merge to the same bits in any order.

Counts are integers, sums are reduced per example and then added exactly (`exact_sum`), percentiles come from fixed buckets;
ratios and roots are computed once, in `OutputStats.report`. Values are never repaired: elements that are not finite are
counted, and only elements that are finite on both sides enter differences. Text is compared for equality only.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from liteferry.parity import constant_rows, exact_sum
from liteferry.parity.class_stats import ClassStats
from liteferry.parity.column_errors import Column, ColumnStats, Scale, decibels, fold, scale_of, worst_column
from liteferry.parity.exact_sum import ExactSum, Extremes, finite_or_none, share
from liteferry.parity.histograms import DistanceHistogram
from liteferry.parity.row_powers import RowPowers
from liteferry.parity.scatter import ScatterSample
from liteferry.parity.statistics import STATISTICS, Statistic
from liteferry.parity.statistics.base import Block
from liteferry.parity.worst_examples import WORST_EXAMPLES, RowErrors, WorstExample, worst_of

_ZERO = ExactSum()
_NO_DISTANCES = DistanceHistogram()
_NO_CLASSES = ClassStats()
_NO_PAIRS = ScatterSample()
_NO_COLUMNS = ColumnStats()
_NO_ROWS = RowPowers()
# Keeps the float64 temporaries of one step in the cache (8 arrays of 0.5 MB), whatever the batch.
BLOCK_ELEMENTS = 1 << 16
_COUNTS: tuple[str, ...] = ("example_count", "element_count", "compared_count", "mismatch_count", "overflowing_rows")
_COUNTS += ("nonfinite_reference", "nonfinite_candidate", "nonfinite_mismatch")
_SUMS = ("error_sum", "squared_error_sum", "squared_reference_sum", "squared_candidate_sum", "product_sum")
_WORST_COLUMN = ("worst_column", "worst_column_last", "worst_column_spread", "worst_column_rmse")
_PART_METRICS = ("column_sqnr_db", *_WORST_COLUMN, "columns_judged", "row_agreement", "rows_lost")
_SUM_METRICS = ("mean_abs", "rmse", "sqnr_db", "cosine")


_QUANTILES = {"p50": 500, "p90": 900, "p99": 990, "p999": 999}


class Kind(str, enum.Enum):
    """The kind of an output's values; it decides which metrics are defined."""

    FLOAT = "float"
    INTEGER = "integer"  # bool, too
    TEXT = "text"


def _zeros() -> dict[str, Statistic]:
    return {one.name: one.zero() for one in STATISTICS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputStats:
    """Mergeable statistics of one output, reference against candidate. Build with `compare`, read with `report`."""

    kind: Kind | None = None  # None before the first row
    rank: int | None = None
    example_count: int = 0
    element_count: int = 0
    compared_count: int = 0  # elements that are finite on both sides; all elements of text
    mismatch_count: int = 0  # elements not equal; the same NaN or infinity on both sides is equal
    nonfinite_reference: int = 0
    nonfinite_candidate: int = 0
    nonfinite_mismatch: int = 0
    overflowing_rows: int = 0  # rows whose sums leave float64; one makes every metric that needs a sum undefined
    error_sum: ExactSum = _ZERO
    squared_error_sum: ExactSum = _ZERO
    squared_reference_sum: ExactSum = _ZERO
    squared_candidate_sum: ExactSum = _ZERO
    product_sum: ExactSum = _ZERO
    max_abs: float = 0.0
    reference_range: Extremes | None = None  # smallest and largest finite element, exact ints for integers
    candidate_range: Extremes | None = None
    reference_row: str | None = None  # the digest of the only row that occurs, see `constant_rows`
    candidate_row: str | None = None
    histogram: DistanceHistogram = _NO_DISTANCES
    classes: ClassStats = _NO_CLASSES
    columns: ColumnStats = _NO_COLUMNS  # of floating point outputs
    rows: RowPowers = _NO_ROWS  # likewise
    scatter: ScatterSample = _NO_PAIRS
    worst: tuple[WorstExample, ...] = ()
    more: Mapping[str, Statistic] = dataclasses.field(default_factory=_zeros)  # statistics of parity/statistics, by name

    @classmethod
    def empty(cls) -> OutputStats:
        """Statistics of no rows: merging with them changes nothing."""
        return cls()

    @classmethod
    def compare(
        cls,
        *,
        reference: npt.NDArray[Any],
        candidate: npt.NDArray[Any],
        ids: Sequence[str],
        first_row: int = 0,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> OutputStats:
        """Compares one batch.

        Args:
          reference, candidate: (examples, ...) arrays of one shape; both floating point (float16 and bfloat16 are widened to
            float64, a complex number counts as two elements), both integer or bool (compared exactly), or both text.
          ids: one name per example, for `worst_examples`.
          first_row: number of the batch's first example in the whole sample set; breaks ties between examples.
          rows: ascending numbers of the examples, where they do not count up from `first_row`.

        Raises:
          ValueError: shapes, kinds of dtype or the number of ids differ.
        """
        reference, candidate = np.asarray(reference), np.asarray(candidate)
        compare_block = _compare_text if check_comparable(reference, candidate, ids) is Kind.TEXT else _compare_numbers
        step = max(1, BLOCK_ELEMENTS // max(1, math.prod(reference.shape[1:])))
        stats = cls.empty()
        numbers = np.arange(first_row, first_row + len(reference)) if rows is None else rows
        for start in range(0, max(1, len(reference)), step):
            part = slice(start, start + step)
            stats = stats.merge(compare_block(reference[part], candidate[part], ids[part], numbers[part]))
        return stats

    def merge(self, other: OutputStats) -> OutputStats:
        """The statistics of both together. Raises ValueError if they are of outputs of different kind or rank."""
        if self.kind is None or other.kind is None:
            return other if self.kind is None else self
        if (self.kind, self.rank) != (other.kind, other.rank):
            raise ValueError(
                f"cannot merge statistics of a rank {self.rank} {self.kind.value} output with those of a rank {other.rank} "
                f"{other.kind.value} output; merge statistics of one output only"
            )
        return OutputStats(
            kind=self.kind,
            rank=self.rank,
            **{name: getattr(self, name) + getattr(other, name) for name in (*_COUNTS, *_SUMS)},
            max_abs=max(self.max_abs, other.max_abs),
            reference_range=exact_sum.merge_extremes(self.reference_range, other.reference_range),
            candidate_range=exact_sum.merge_extremes(self.candidate_range, other.candidate_range),
            reference_row=constant_rows.merge(self.reference_row, other.reference_row),
            candidate_row=constant_rows.merge(self.candidate_row, other.candidate_row),
            histogram=self.histogram + other.histogram,
            classes=self.classes + other.classes,
            columns=self.columns + other.columns,
            rows=self.rows + other.rows,
            scatter=self.scatter + other.scatter,
            worst=tuple(sorted((*self.worst, *other.worst), key=WorstExample.order)[:WORST_EXAMPLES]),
            more={name: one + other.more[name] for name, one in self.more.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into equal statistics. Floats are exact: finite ones by `repr`, max_abs in hex."""
        return {
            "kind": self.kind and self.kind.value,
            "rank": self.rank,
            **{name: getattr(self, name) for name in _COUNTS},
            **{name: getattr(self, name).to_json() for name in _SUMS},
            "max_abs": self.max_abs.hex(),  # may be infinite, which JSON cannot say
            "reference_range": self.reference_range and list(self.reference_range),
            "candidate_range": self.candidate_range and list(self.candidate_range),
            "reference_row": self.reference_row,
            "candidate_row": self.candidate_row,
            **{name: getattr(self, name).to_json() for name in ("histogram", "classes", "columns", "rows", "scatter")},
            "more": {name: one.to_json() for name, one in self.more.items()},
            "worst": [{**dataclasses.asdict(example), "max_abs": example.max_abs.hex()} for example in self.worst],
        }

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> OutputStats:
        """The inverse of `to_json`."""
        fields: dict[str, Any] = {name: ExactSum.from_json(item) if name in _SUMS else item for name, item in encoded.items()}
        fields |= {name: tuple(encoded[name]) for name in ("reference_range", "candidate_range") if encoded[name]}
        fields["kind"] = Kind(encoded["kind"]) if encoded["kind"] else None
        fields["max_abs"] = float.fromhex(encoded["max_abs"])
        fields["histogram"] = DistanceHistogram.from_json(encoded["histogram"])
        fields["more"] = {one.name: one.from_json(encoded["more"][one.name]) for one in STATISTICS}
        fields["classes"] = ClassStats.from_json(encoded["classes"])
        fields["columns"] = ColumnStats.from_json(encoded["columns"])
        fields["rows"] = RowPowers.from_json(encoded["rows"])
        fields["scatter"] = ScatterSample.from_json(encoded["scatter"])
        fields["worst"] = tuple(
            WorstExample(
                **{
                    **row,
                    "max_abs": float.fromhex(row["max_abs"]),
                    "reference": tuple(row["reference"]),
                    "candidate": tuple(row["candidate"]),
                }
            )
            for row in encoded["worst"]
        )
        return cls(**fields)

    def worst_examples(self) -> list[dict[str, Any]]:
        """At most five `{id, row, max_abs, reference, candidate}`, worst first; examples that agree exactly are left out.

        Examples with a non-finite mismatch or unequal text come first. `max_abs` is null where no finite number says it.
        """
        is_text = self.kind is Kind.TEXT
        return [
            {
                "id": example.id,
                "row": example.row,
                "max_abs": None if is_text else finite_or_none(example.max_abs),
                "reference": list(example.reference),
                "candidate": list(example.candidate),
            }
            for example in self.worst
        ]

    def stored(self) -> dict[str, Any]:
        """The statistics that a verdict needs: `report`, and under `worst_examples` the rows with the largest errors."""
        return {**self.report(), "worst_examples": self.worst_examples()}

    def report(self) -> dict[str, Any]:
        """The finished metrics, JSON-ready: never NaN or infinite, null where a metric is not defined. See docs/gates.md."""
        has_distance = self.kind is not Kind.TEXT and self.compared_count > 0
        max_abs_reference = float(max(map(abs, self.reference_range))) if self.reference_range else None
        parts = self.columns.columns() if has_distance and not self.overflowing_rows else []
        scale = self._scale(parts)
        return {
            "kind": self.kind.value if self.kind else None,
            "rank": self.rank,
            "example_count": self.example_count,
            "element_count": self.element_count,
            "compared_count": self.compared_count,
            "mismatch_count": self.mismatch_count,
            "exact_agreement": share(self.element_count - self.mismatch_count, self.element_count),
            "max_abs": finite_or_none(self.max_abs) if has_distance else None,
            "max_rel": exact_sum.relative(self.max_abs, max_abs_reference) if has_distance else None,
            "max_abs_reference": max_abs_reference,
            **(self._sum_metrics(scale) if has_distance and not self.overflowing_rows else dict.fromkeys(_SUM_METRICS)),
            **{f"{name}_abs": _quantile(self.histogram, rank, self.max_abs) for name, rank in _QUANTILES.items()},
            "error_histogram": self.histogram.by_binade(),
            **self._part_metrics(parts, scale),
            **self.classes.report(),
            **{metric: value for one in self.more.values() for metric, value in one.report().items()},
            "nonfinite_reference": self.nonfinite_reference,
            "nonfinite_candidate": self.nonfinite_candidate,
            "nonfinite_mismatch": self.nonfinite_mismatch,
            "constant_reference": self._is_constant(self.reference_range),
            "constant_candidate": self._is_constant(self.candidate_range),
            "zero_reference": self.reference_range == (0, 0),
            "zero_candidate": self.candidate_range == (0, 0),
            "same_rows_reference": self._has_same_rows(self.reference_row),
            "same_rows_candidate": self._has_same_rows(self.candidate_row),
        }

    def _scale(self, found: Sequence[Column]) -> Scale | None:
        if not found or self.reference_range is None:
            return None
        low, high = self.reference_range
        return scale_of(found, low=low, high=high, width=self.columns.width)

    def _part_metrics(self, found: Sequence[Column], scale: Scale | None) -> dict[str, Any]:
        """Metrics of rows and of columns of the last axis; null where there is nothing to measure."""
        if scale is None:
            return dict.fromkeys(_PART_METRICS) | {"columns_judged": 0}
        worst_db, worst, judged = worst_column(found, scale)
        rows = self.rows.row_count() if scale.varies else 0
        lost = self.rows.lost(scale) if rows else None
        shown = dict.fromkeys(_WORST_COLUMN) if worst is None else _column_shown(worst)
        return {
            "column_sqnr_db": worst_db,
            **shown,
            "columns_judged": judged,
            "row_agreement": share(rows - (lost or 0), rows),
            "rows_lost": lost,
        }

    def _sum_metrics(self, scale: Scale | None) -> dict[str, float | None]:
        power, noise = self.squared_reference_sum, self.squared_error_sum
        values = (
            self.error_sum.mean(self.compared_count),
            math.sqrt(noise.mean(self.compared_count)),
            exact_sum.decibels(signal=power, noise=noise),
            exact_sum.cosine(product=self.product_sum, left_square=power, right_square=self.squared_candidate_sum),
        )
        metrics = dict(zip(_SUM_METRICS, values, strict=True))
        if scale is not None and scale.varies and not scale.is_unit and metrics["sqnr_db"] is not None:
            mean_noise = noise.mean(self.compared_count)
            metrics["sqnr_db"] = decibels(scale.spread_power, mean_noise)
        return metrics

    def _is_constant(self, extremes: Extremes | None) -> bool:
        return self.example_count >= 2 and extremes is not None and extremes[0] == extremes[1]

    def _has_same_rows(self, row: str | None) -> bool:
        return self.example_count >= 2 and self.element_count > 0 and bool(row)


def _column_shown(column: Column) -> dict[str, Any]:
    spread, rmse = math.sqrt(column.spread_power), math.sqrt(column.noise_power)
    return dict(zip(_WORST_COLUMN, (column.first, column.last, spread, rmse), strict=True))


def _quantile(histogram: DistanceHistogram, per_mille: int, largest: float) -> float | None:
    edge = histogram.quantile(per_mille)
    return None if edge is None else finite_or_none(min(edge, largest))


def _kind_of(dtype: np.dtype[Any]) -> Kind | None:
    if dtype.kind in "biu" or dtype.name in ("int2", "uint2", "int4", "uint4"):
        return Kind.INTEGER
    if dtype.kind in "fc" or dtype.name.startswith(("bfloat16", "float")):  # ml_dtypes registers these as kind "V"
        return Kind.FLOAT
    return Kind.TEXT if dtype.kind in "USOT" else None


def check_comparable(reference: npt.NDArray[Any], candidate: npt.NDArray[Any], ids: Sequence[str]) -> Kind:
    """The kind of both sides. Raises ValueError if shapes, kinds of dtype or the number of ids differ."""
    if reference.shape != candidate.shape or reference.ndim == 0:
        raise ValueError(
            f"the reference has shape {reference.shape}, the candidate {candidate.shape}; they need one shape, examples first"
        )
    if len(ids) != len(reference):
        raise ValueError(f"{len(ids)} ids for {len(reference)} examples; give one id per example")
    kind = _kind_of(reference.dtype)
    if kind is None or kind is not _kind_of(candidate.dtype) or (reference.dtype.kind == "c") != (candidate.dtype.kind == "c"):
        raise ValueError(
            f"the reference has dtype {reference.dtype}, the candidate {candidate.dtype}; they need to be both floating point, "
            f"both complex, both integer or bool, or both text"
        )
    return kind


def _compare_text(
    reference: npt.NDArray[Any], candidate: npt.NDArray[Any], ids: Sequence[str], rows: npt.NDArray[np.int64]
) -> OutputStats:
    def as_bytes(element: object) -> object:  # TensorFlow hands out bytes where NumPy may hold str: the same text
        return element.encode() if isinstance(element, str) else element

    width = math.prod(reference.shape[1:])
    left_rows, right_rows = (
        [[as_bytes(element) for element in row] for row in side.reshape(len(side), width).tolist()]
        for side in (reference, candidate)
    )
    pairs = zip(itertools.chain(*left_rows), itertools.chain(*right_rows), strict=True)
    unequal = np.array([left != right for left, right in pairs], dtype=bool).reshape(reference.shape)
    is_broken = np.asarray(unequal.any(axis=tuple(range(1, reference.ndim))))
    return OutputStats(
        kind=Kind.TEXT,
        rank=reference.ndim,
        example_count=len(reference),
        element_count=reference.size,
        compared_count=reference.size,
        mismatch_count=int(np.count_nonzero(unequal)),
        reference_row=constant_rows.of_text(left_rows, reference.shape[1:]),
        candidate_row=constant_rows.of_text(right_rows, candidate.shape[1:]),
        worst=worst_of(
            RowErrors(ids=ids, rows=rows, max_abs=np.zeros(len(reference)), is_broken=is_broken), left_rows, right_rows
        ),
    )


def _compare_numbers(
    reference: npt.NDArray[Any], candidate: npt.NDArray[Any], ids: Sequence[str], rows: npt.NDArray[np.int64]
) -> OutputStats:
    kind = _kind_of(reference.dtype)
    left_numbers, right_numbers = (exact_sum.as_matrix(side, is_integer=kind is Kind.INTEGER) for side in (reference, candidate))
    left, right = left_numbers.astype(np.float64, copy=False), right_numbers.astype(np.float64, copy=False)
    raw = left, right
    left_finite, right_finite = np.isfinite(left), np.isfinite(right)
    broken = excluded = ~(left_finite & right_finite)
    excluded_count = int(np.count_nonzero(excluded))
    if excluded_count:
        broken = excluded & ~exact_sum.same(left, right)
    classes = _NO_CLASSES
    if kind is Kind.INTEGER:
        classes = ClassStats.of_values(left_numbers, left_numbers == right_numbers)
    elif reference.dtype.kind != "c" and reference.ndim >= 2 and reference.shape[-1] >= 2:
        classes = ClassStats.of(left, right, broken if excluded_count else None, classes=reference.shape[-1])
    if excluded_count:  # they are counted; as zeros on both sides they add nothing to any sum
        left, right = np.where(excluded, 0.0, left), np.where(excluded, 0.0, right)
    with np.errstate(over="ignore", invalid="ignore"):
        is_integer = kind is Kind.INTEGER
        distances = exact_sum.integer_distances(left_numbers, right_numbers) if is_integer else np.abs(left - right)
        squares = distances**2, left**2
        parts = _NO_COLUMNS
        if kind is Kind.FLOAT and reference.dtype.kind != "c" and left.size:
            width = reference.shape[-1] if reference.ndim > 1 else 1
            parts, squares = _by_columns(left, *squares, excluded if excluded_count else None, width=width)
        terms = (distances.copy(), *squares, right**2, left * right)
        sums = np.stack([exact_sum.row_sums(matrix) for matrix in terms])
    block = Block(reference=left, candidate=right, distances=distances, excluded=excluded if excluded_count else None)
    is_summable = np.isfinite(sums).all(axis=0)
    nonfinite_mismatch = int(np.count_nonzero(broken))
    return OutputStats(
        kind=kind,
        rank=reference.ndim,
        example_count=len(left),
        element_count=left.size,
        compared_count=left.size - excluded_count,
        mismatch_count=int(np.count_nonzero(distances)) + nonfinite_mismatch,
        nonfinite_reference=left.size - int(np.count_nonzero(left_finite)),
        nonfinite_candidate=left.size - int(np.count_nonzero(right_finite)),
        nonfinite_mismatch=nonfinite_mismatch,
        overflowing_rows=int(np.count_nonzero(~is_summable)),
        **{name: ExactSum.of(row_values[is_summable]) for name, row_values in zip(_SUMS, sums, strict=True)},
        max_abs=float(distances.max(initial=0.0)),
        reference_range=exact_sum.extremes_of(left_numbers, left_finite),
        candidate_range=exact_sum.extremes_of(right_numbers, right_finite),
        reference_row=constant_rows.of_numbers(left_numbers, reference.shape[1:]),
        candidate_row=constant_rows.of_numbers(right_numbers, candidate.shape[1:]),
        histogram=DistanceHistogram.of(distances[~excluded] if excluded_count else distances),
        classes=classes,
        columns=parts,
        rows=RowPowers.of(sums[1][is_summable], sums[2][is_summable], width=left.shape[1]) if parts.width else _NO_ROWS,
        scatter=ScatterSample.of(*raw, rows=rows),
        worst=worst_of(_row_errors(distances, broken, ids, rows), left_numbers, right_numbers),
        more={one.name: one.of(block) for one in STATISTICS},
    )


def _row_errors(
    distances: npt.NDArray[np.float64], broken: npt.NDArray[np.bool_], ids: Sequence[str], rows: npt.NDArray[np.int64]
) -> RowErrors:
    return RowErrors(ids=ids, rows=rows, max_abs=distances.max(axis=1, initial=0.0), is_broken=np.asarray(broken.any(axis=1)))


def _by_columns(
    left: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    powers: npt.NDArray[np.float64],
    excluded: npt.NDArray[np.bool_] | None,
    *,
    width: int,
) -> tuple[ColumnStats, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Statistics by columns of (rows, elements) matrices, and the squared errors and squares of the reference that remain to be
    summed by rows. OVERWRITES `errors` and `powers`.
    """
    positions = left.shape[1] // width
    errors, powers = fold(errors, width=width), fold(powers, width=width)
    reference = fold(left.copy() if positions > 1 else left, width=width)
    is_summable = np.isfinite(errors).all(axis=1) & np.isfinite(powers).all(axis=1) & np.isfinite(reference).all(axis=1)
    missing = None if excluded is None else fold(excluded.astype(np.float64), width=width)
    summed = (reference, powers, errors)
    if not is_summable.all():  # such rows make every metric that needs a sum undefined anyway
        summed = (reference[is_summable], powers[is_summable], errors[is_summable])
        missing = None if missing is None else missing[is_summable]
    found = ColumnStats.of(summed, missing, width=width, positions=positions)
    return found, (errors.copy(), powers.copy())
