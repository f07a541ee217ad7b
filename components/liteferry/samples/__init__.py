"""Reads sample files as batches of rows that fit a model's signature."""

from liteferry.samples.batches import read_batches
from liteferry.samples.binding import Binding, bind
from liteferry.samples.opening import open_samples
from liteferry.samples.sample_set import Batch, SampleSet, Shard

__all__ = ["Batch", "Binding", "SampleSet", "Shard", "bind", "open_samples", "read_batches"]
