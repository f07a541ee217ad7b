"""A checkpoint in memory: loaded by what wrote it, traced once, inference only. Runs inside sandboxes."""

from liteferry.loading.model import LoadedModel, LoadSpec

__all__ = ["LoadSpec", "LoadedModel"]
