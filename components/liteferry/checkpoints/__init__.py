"""Determines what a checkpoint is and what code it would run, without running any of it."""

from typing import TYPE_CHECKING

from liteferry.types import on_first_use

if TYPE_CHECKING:
    from liteferry.checkpoints.detection import CheckpointFacts, Kind, detect, examine, look

__all__ = ["CheckpointFacts", "Kind", "detect", "examine", "look"]

__getattr__ = on_first_use(
    __name__,
    {
        **dict.fromkeys(("CheckpointFacts", "Kind", "detect", "examine", "look"), "detection"),
    },
)
