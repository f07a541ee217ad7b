"""A mix assigns a format to each operator's weights. This module makes the .tflite file of a mix.

Activations stay float, or are quantised while the file runs: the formats of weights decide a file's size, and those can be chosen
operator by operator without any calibration.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tflite import quantize
from liteferry.tflite.blockwise_int4 import BLOCK

INT4, INT8, FLOAT16, FLOAT32 = FORMATS = ("int4", "int8", "float16", "float32")
"""Smallest first."""
BITS: Mapping[str, int] = {INT4: 4, INT8: 8, FLOAT16: 16, FLOAT32: 32}

Mix = Mapping[str, str]
"""Name of an operator -> format of its weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighted:
    """An operator with constant weights. `name`: what recipes match, made of the tensors that it gives. `formats`: those in
    which the quantizer can hold its weights, smallest first, float32 last. `is_static`: its output must be quantised too, as
    for a table lookup. `buffer`: where the file has the weights; operators that share them can only have one format.
    """

    name: str
    operator: str
    elements: int
    formats: tuple[str, ...]
    divides_into_blocks: bool = False
    is_static: bool = False
    buffer: int | None = None

    def bytes_in(self, wanted: str) -> float:
        """The approximate size of its weights in bytes."""
        return self.elements * BITS[wanted] / 8


class Maker:
    """Makes files of mixes from one float flatbuffer."""

    def __init__(self, content: bytes, rows: Callable[[], quantize.Rows]) -> None:
        """`rows`: batches of sample rows by input name; used if an operator's output must be calibrated."""
        self.content = content
        self.operators = {one.name: one for one in _weighted(content) if len(one.formats) > 1}
        self._rows = rows

    def make(self, mix: Mix) -> bytes:
        """The file of a mix. Operators that it leaves out stay float32.

        Raises:
          ModelError: CONVERT_FAILED with the quantizer's words.
        """
        from ai_edge_quantizer import quantizer

        rules = self.recipe(mix)
        if not rules:
            return self.content
        try:
            worker = quantizer.Quantizer(bytearray(self.content), rules)
            ranges = quantize.ranges(worker, self._rows()) if worker.need_calibration else None
            return quantize.quantized(worker, ranges)
        except Exception as error:
            message = f"the AI Edge quantizer refused a mix: {type(error).__name__}: {error}"
            raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message) from error

    def recipe(self, mix: Mix) -> Any:
        """A mix as a recipe of the AI Edge quantizer, one rule for each operator that does not stay float32."""
        from ai_edge_quantizer import recipe_manager

        manager = recipe_manager.RecipeManager()
        for name, wanted in mix.items():
            if wanted != FLOAT32:
                _add(manager, self.operators[name], wanted)
        return manager.get_quantization_recipe()


def _weighted(content: bytes) -> Iterator[Weighted]:
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as utils

    model = utils.read_model(bytearray(content))
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            operation = utils.TFL_OP_CODE_TO_NAME.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if operation is None:
                continue
            sizes = [
                (math.prod(map(int, tensor.shape)), tensor)
                for index in operator.inputs
                if index >= 0
                and len((tensor := subgraph.tensors[index]).shape) > 1
                and utils.get_tensor_data(tensor, model.buffers) is not None
            ]
            if not sizes:
                continue
            elements, weights = max(sizes, key=lambda pair: pair[0])
            axis = utils.TFL_OP_TO_BLOCKWISE_WEIGHT_QUANTIZED_DIM.get(operation)
            found = Weighted(
                name=utils.get_op_scope(operator, subgraph.tensors),
                operator=str(operation.value),
                elements=elements,
                formats=(FLOAT32,),
                buffer=int(weights.buffer),
                divides_into_blocks=axis is not None and len(weights.shape) == axis + 1 and int(weights.shape[axis]) % BLOCK == 0,
            )
            found = dataclasses.replace(found, is_static=not _is_possible(found, INT8))
            yield dataclasses.replace(found, formats=tuple(wanted for wanted in FORMATS if _is_possible(found, wanted)))


def _is_possible(operator: Weighted, wanted: str) -> bool:
    from ai_edge_quantizer import recipe_manager

    if wanted == FLOAT32:
        return True
    try:
        _add(recipe_manager.RecipeManager(), operator, wanted)
    except (ValueError, KeyError):
        return False
    return True


def _add(manager: Any, operator: Weighted, wanted: str) -> None:
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    scope = {"regex": f"^{re.escape(operator.name)}$", "operation_name": qtyping.TFLOperationName(operator.operator)}
    if wanted == FLOAT16:
        manager.add_weight_only_config(**scope, num_bits=BITS[FLOAT16], algorithm_key=AlgorithmName.FLOAT_CASTING)
    elif wanted == INT4 and operator.divides_into_blocks:
        manager.add_dynamic_config(**scope, num_bits=4, granularity=qtyping.QuantGranularity(f"BLOCKWISE_{BLOCK}"))
    elif operator.is_static and wanted == INT8:
        manager.add_static_config(**scope, activation_num_bits=8, weight_num_bits=8)
    else:
        manager.add_dynamic_config(**scope, num_bits=BITS[wanted])
