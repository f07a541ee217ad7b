"""Loads a checkpoint with the library that wrote it, and traces its inference once. Runs inside sandboxes only."""

from liteferry.loading.model import LoadedModel, LoadSpec

__all__ = ["LoadSpec", "LoadedModel"]
