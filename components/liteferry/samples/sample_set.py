"""Records of the sample data: a set of rows, its shards, and one batch of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from liteferry.samples.formats.rows import ColumnSpec
from liteferry.samples.subsampling import NamedRows, Selection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Consecutive rows of one file, or a selection of them. `first_row` counts over all files of the set, `row_in_file` over this
    file alone; the shard covers `row_count` rows from there. `more`: shards read together with it, where `take` leaves few rows.
    `stamp`, `copy`: for a file on a store, its version when it was opened, and the path of a local copy.
    """

    path: str
    first_row: int
    row_count: int
    row_in_file: int = 0
    selection: Selection | NamedRows | None = None
    more: tuple[Shard, ...] = ()
    stamp: str | None = None
    copy: str | None = None

    def taken(self) -> int:
        """The number of rows that the shard yields."""
        own = self.row_count
        if self.selection is not None:
            own = int(np.count_nonzero(self.selection.chosen(self.first_row, self.row_count)))
        return own + sum(part.taken() for part in self.more)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSet:
    """The contents of the files of one `samples` entry. `digest`: sha256:<hex> over the names and the bytes of the files.
    `row_count`: rows that are run; `rows_in_files`: all rows in the files, if the job takes only some. `has_records`: every
    file is a TFRecord file, whose records themselves may feed an input.
    """

    path: str
    shards: tuple[Shard, ...]
    columns: Mapping[str, ColumnSpec]
    row_count: int
    digest: str
    rows_in_files: int | None = None
    has_records: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Rows [first_row, first_row + len(ids)) of a set, or those that `rows` lists where the job takes some of them.

    `inputs`: input name -> C-contiguous array (rows, ...) in the signature's dtype, possibly read-only; strings are object
    arrays of bytes, as TensorFlow takes them. `label`, `extras`: (rows, ...) in the columns' own dtypes. `filled`: column -> rows
    that had no value and got its default.
    """

    inputs: dict[str, np.ndarray]
    ids: tuple[str, ...]
    first_row: int
    label: np.ndarray | None
    extras: dict[str, np.ndarray]
    rows: np.ndarray | None = None
    filled: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def row_numbers(self) -> np.ndarray:
        """(rows,) ascending int64: the number of each row in the whole set."""
        return np.arange(self.first_row, self.first_row + len(self.ids)) if self.rows is None else self.rows
