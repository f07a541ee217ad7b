"""int4 weights with one scale for every 32 weights, for the operators where the AI Edge quantizer and LiteRT support it.

One scale per channel leaves sixteen values for weights of very different magnitude. Blocks exist for matrices whose rows divide
into them, so the rules of a recipe depend on the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

BLOCK = 32


def with_blocks(recipe: Any, content: bytes) -> Any:
    """A recipe of dynamic int4, with an added blockwise rule for each operator of a float flatbuffer that supports one; the
    recipe itself where none does.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    for operation, scope in _operators(content):
        manager.add_dynamic_config(
            regex=f"^{re.escape(scope)}$",
            operation_name=operation,
            num_bits=4,
            granularity=qtyping.QuantGranularity(f"BLOCKWISE_{BLOCK}"),
        )
    return manager.get_quantization_recipe()


def _operators(content: bytes) -> Iterator[tuple[Any, str]]:
    """Kind and scope (the name that recipes match) of each operator on a constant matrix whose rows divide into blocks."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as utils

    model = utils.read_model(bytearray(content))
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            operation = utils.TFL_OP_CODE_TO_NAME.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if operation not in utils.TFL_OP_TO_BLOCKWISE_WEIGHT_QUANTIZED_DIM:
                continue
            weights = subgraph.tensors[operator.inputs[1]]
            axis = utils.TFL_OP_TO_BLOCKWISE_WEIGHT_QUANTIZED_DIM[operation]
            is_constant = utils.get_tensor_data(weights, model.buffers) is not None
            if is_constant and len(weights.shape) == axis + 1 and weights.shape[axis] % BLOCK == 0:
                yield operation, utils.get_op_scope(operator, subgraph.tensors)
