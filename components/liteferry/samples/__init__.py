"""Reads sample files as batches of rows that fit a model's signature."""

from typing import TYPE_CHECKING

from liteferry.types import on_first_use

if TYPE_CHECKING:
    from liteferry.samples.batches import read_batches
    from liteferry.samples.binding import Binding, bind
    from liteferry.samples.opening import open_samples
    from liteferry.samples.sample_set import Batch, SampleSet, Shard

__all__ = ["Batch", "Binding", "SampleSet", "Shard", "bind", "open_samples", "read_batches"]

__getattr__ = on_first_use(
    __name__,
    {
        "read_batches": "batches",
        **dict.fromkeys(("Binding", "bind"), "binding"),
        "open_samples": "opening",
        **dict.fromkeys(("Batch", "SampleSet", "Shard"), "sample_set"),
    },
)
