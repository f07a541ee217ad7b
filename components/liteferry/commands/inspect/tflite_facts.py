"""Facts of a .tflite file: contract, operators, weights, and LiteFerry's embedded metadata. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tflite import flatbuffer

_MAX_BYTES = 2**31  # a flatbuffer's own limit; larger ones keep their weights behind it


def is_tflite(path: str) -> bool:
    """Whether to read a file as .tflite: its bytes say so, or its name does (then its bytes are broken)."""
    return flatbuffer.is_tflite(path) or (os.path.isfile(path) and path.endswith(".tflite"))


def describe(path: str) -> dict[str, Any]:
    """Facts of a .tflite file.

    Raises:
      ModelError: LOAD_CORRUPT when the file is not one. A malformed file may raise anything else; the calling process is there to
        contain that.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        content = file.read(_MAX_BYTES)
    if content[4:8] != flatbuffer.IDENTIFIER:
        what = f"{path} ({size:,} bytes): not a .tflite file, its identifier is {content[4:8]!r}; copy or convert it again"
        raise ModelError(ReasonCode.LOAD_CORRUPT, Stage.LOAD, what)
    operators = flatbuffer.count_operators(content)
    elements = flatbuffer.count_weights(content)
    total = sum(elements.values())
    quantised = sum(count for dtype, count in elements.items() if not dtype.startswith("float"))
    contract, has_signature = _contract(content)
    return {
        "has_signature": has_signature,
        "inputs": contract["inputs"],
        "outputs": contract["outputs"],
        "operators": operators,
        "needs_flex": any(name.startswith("Flex") for name in operators),
        "weights": {"elements": total, "dtypes": elements},
        "quantised_share": round(quantised / total, 4) if total else None,
        "liteferry": flatbuffer.read_metadata(content),
    }


def _contract(content: bytes) -> tuple[dict[str, Any], bool]:
    """Inputs and outputs by the first signature's names; by tensor names in a file that has no signature."""
    schema = flatbuffer.schema_module()
    model = schema.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() == 0:
        raise ValueError("it holds no graph")
    return dataclasses.asdict(flatbuffer.read_contract(content)), flatbuffer.has_signature(content)
