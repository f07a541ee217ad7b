"""Determines what a checkpoint is and what code it would run, without running any of it."""

from liteferry.checkpoints.detection import CheckpointFacts, Kind, detect, examine, look

__all__ = ["CheckpointFacts", "Kind", "detect", "examine", "look"]
