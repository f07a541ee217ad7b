"""The part of the job file that names more signatures for the SavedModel."""

from __future__ import annotations

from typing import Annotated

import pydantic
from pydantic import AfterValidator, Field, Strict

from liteferry.config.value_types import CodeReference, FilePath, FrozenDict, FrozenMapping, Record, Text

_DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "string", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "complex64", "complex128"),
)
_RESERVED = {
    "serving_default": "is the model itself; choose another name",
    "serve_examples": "is written by `serve_examples: true` beside `checkpoints`; choose another name",
}


def _identifiers(mapping: FrozenDict) -> FrozenDict:
    for name in mapping:
        if not name.isidentifier():
            raise ValueError(f"holds the name {name!r}; TensorFlow takes letters, digits and _ only")
    return mapping


def _not_reserved(mapping: FrozenDict) -> FrozenDict:
    for name in mapping:
        if name in _RESERVED:
            raise ValueError(f"holds {name!r}, which {_RESERVED[name]}")
    return _identifiers(mapping)


def _known_dtype(dtype: str) -> str:
    if dtype not in _DTYPES:
        raise ValueError(f"is not a dtype; write one of {', '.join(_DTYPES)}")
    return dtype


class TensorConfig(Record):
    """One tensor that a signature takes."""

    dtype: Annotated[Text, AfterValidator(_known_dtype)] = "float32"
    """float32, int64, string and so on; bytes are string."""
    shape: tuple[Annotated[int, Strict(), Field(gt=0)] | None, ...] = (None,)
    """With the rows' dimension first; null where it is free. [null]: one value for each row."""


class SignatureConfig(Record):
    """A signature besides serving_default: a method of the model, or a function around it."""

    method: Text | None = None
    """Method of the loaded model that is called with the inputs."""
    function: CodeReference | None = None
    """module:function, called with the model and the inputs; one that takes the model alone returns the function to serve."""
    inputs: Annotated[FrozenMapping[TensorConfig], AfterValidator(_identifiers)] = Field(default_factory=FrozenDict)
    """Input -> dtype and shape. Left out: the model's own inputs."""
    assets: Annotated[FrozenMapping[FilePath], AfterValidator(_identifiers)] = Field(default_factory=FrozenDict)
    """Name -> file to store in the SavedModel, for example a vocabulary."""

    @pydantic.model_validator(mode="after")
    def _one_of_two(self) -> SignatureConfig:
        if (self.method is None) == (self.function is None):
            raise ValueError("needs either `method` or `function`, one of the two")
        return self


Signatures = Annotated[FrozenMapping[SignatureConfig], AfterValidator(_not_reserved)]
