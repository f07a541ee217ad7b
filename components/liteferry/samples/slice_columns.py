"""The columns by which a report slices its rows, checked against the sample data before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec
    from liteferry.parity.slicing import Columns
    from liteferry.samples.sample_set import SampleSet


def columns_of_slices(spec: SamplesSpec | None, sample_set: SampleSet | None) -> tuple[tuple[Columns, ...], tuple[str, ...]]:
    """The lists of columns that define parity slices, each sorted by name, and a sentence for each that cannot be used."""
    usable: list[Columns] = []
    problems: list[str] = []
    if spec is None or sample_set is None:
        return (), ()
    for listed in spec.slices:
        columns = tuple(sorted(set(listed)))
        missing = [name for name in columns if name not in sample_set.columns]
        wide = [name for name in columns if name not in missing and not _has_one_value(sample_set.columns[name].shape)]
        if missing or wide:
            why = (
                f"the samples have no column {missing[0]!r}" if missing else f"column {wide[0]!r} has not one value for each row"
            )
            problems.append(f"slices [{', '.join(columns)}]: {why}, so there are no parity statistics of these slices")
        elif columns and columns not in usable:
            usable.append(columns)
    return tuple(usable), tuple(problems)


def _has_one_value(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 0 or (len(shape) == 1 and shape[0] == 1)
