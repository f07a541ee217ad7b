"""The signatures of a .tflite file besides the first: found by what the file's own metadata says, and run by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import together
from liteferry.tflite import flatbuffer
from liteferry.tflite.file_tensors import as_file_takes_it, as_model_gives_it
from liteferry.types import Contract, TensorContract

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoreSignature:
    """One signature besides the first. `inputs`: its own input name -> the name of its rows, see `loading.together`."""

    name: str
    inputs: Mapping[str, str]
    contract: Contract

    def tensors(self) -> list[TensorContract]:
        """Its inputs, by the names of their rows."""
        return [dataclasses.replace(tensor, name=self.inputs[tensor.name]) for tensor in self.contract.inputs]

    def run(self, interpreter: Any, rows: Arrays) -> dict[str, np.ndarray]:
        """Its answers, by the names that its outputs have in the union. LiteRT's signature runner takes a wrong rank without an
        error, and rows come here as they were bound to the model's shapes.
        """
        tensors = {tensor.name: tensor for tensor in self.contract.inputs}
        given = {own: as_file_takes_it(value, tensors[own]) for own, value in together.feed(rows, self.inputs).items()}
        found = interpreter.get_signature_runner(self.name)(**given)
        return {
            together.output_name(self.name, tensor.name): as_model_gives_it(found[tensor.name], tensor)
            for tensor in self.contract.outputs
        }


def of(content: bytes) -> list[MoreSignature]:
    """The signatures besides the first that the file was made with; empty for files of one, and for those of other tools.

    Raises:
      ModelError: CONVERT_FAILED where one is missing, or takes other inputs than when it was made.
    """
    names = together.names_in(flatbuffer.read_metadata(content))
    there, found = set(flatbuffer.signature_names(content)), []
    for name, inputs in names.items():
        own = flatbuffer.read_contract(content, name) if name in there else None
        if own is None or {tensor.name for tensor in own.inputs} != set(inputs):
            message = (
                f"the file should hold signature {name!r} with the inputs {', '.join(sorted(inputs)) or 'none'}, and does not"
            )
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message)
        found.append(MoreSignature(name=name, inputs=inputs, contract=own))
    return found


def contract(content: bytes) -> Contract:
    """The contract of a file that LiteFerry made, with all its signatures."""
    return dataclasses.replace(flatbuffer.read_contract(content), signatures={one.name: one.contract for one in of(content)})


def rows_by_signature(content: bytes, rows: Sequence[Arrays]) -> dict[str, list[dict[str, np.ndarray]]]:
    """Rows of all signatures of a file -> signature -> the rows that it takes, by its own input names."""
    first = [tensor.name for tensor in flatbuffer.read_contract(content).inputs]
    by_name = {flatbuffer.SIGNATURE_KEY: [{name: batch[name] for name in first} for batch in rows]}
    for one in of(content):
        by_name[one.name] = [together.feed(batch, one.inputs) for batch in rows]
    return by_name
