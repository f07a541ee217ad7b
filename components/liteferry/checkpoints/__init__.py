"""Checkpoints: tell what they are without running anything, load each kind with what wrote it."""

from liteferry.checkpoints.detect import CheckpointFacts, Kind, detect, examine, look
from liteferry.checkpoints.load import load
from liteferry.checkpoints.model import LoadedModel, LoadSpec

__all__ = ["CheckpointFacts", "Kind", "LoadSpec", "LoadedModel", "detect", "examine", "load", "look"]
