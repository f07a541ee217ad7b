"""The part of the job file that says what a .tflite file tells the app that loads it."""

from __future__ import annotations

import os
from typing import Annotated

import pydantic
from pydantic import Field

from liteferry.config.value_types import FilePath, FrozenDict, FrozenMapping, Number, Record, Text


class TensorNotes(Record):
    """What is said of one input or output."""

    description: Text | None = None
    """In words."""
    mean: tuple[Number, ...] = ()
    """What an app subtracts from an input's values before the call: one number, or one for each channel."""
    std: tuple[Number, ...] = ()
    """What it then divides by; as many numbers as `mean`."""
    labels: FilePath | None = None
    """Text file with a label a line, one for each entry of the last axis."""
    vocabulary: FilePath | None = None
    """Text file with the words of a vocabulary, one a line."""

    @pydantic.model_validator(mode="after")
    def _mean_with_std(self) -> TensorNotes:
        if len(self.mean) != len(self.std):
            raise ValueError(f"has {len(self.mean)} numbers in `mean` and {len(self.std)} in `std`; give both, as many of each")
        if not all(self.std):
            raise ValueError("has a 0 in `std`, by which nothing can be divided")
        return self


class TfliteMetadata(Record):
    """TFLite Metadata of every variant."""

    name: Text | None = None
    """The model's name; left out, its model_id."""
    description: Text | None = None
    """In words."""
    author: Text | None = None
    """Who made it."""
    license: Text | None = None
    """Its license."""
    tensors: FrozenMapping[TensorNotes] = Field(default_factory=FrozenDict)
    """Input or output -> what is said of it."""
    files: Annotated[tuple[FilePath, ...], Field()] = ()
    """More files that travel in the .tflite file."""

    @pydantic.model_validator(mode="after")
    def _one_of_each_name(self) -> TfliteMetadata:
        paths: dict[str, str] = {}
        for path in self.all_files():
            if paths.setdefault(os.path.basename(path), path) != path:
                raise ValueError(f"names two files called {os.path.basename(path)}; a .tflite file holds one of each name")
        return self

    def all_files(self) -> list[str]:
        """The paths of all files."""
        notes = self.tensors.values()
        return [*self.files, *(path for one in notes for path in (one.labels, one.vocabulary) if path is not None)]
