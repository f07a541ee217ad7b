"""A float flatbuffer -> the other variants, each in hundredths of a second, by the AI Edge quantizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from liteferry.errors import ModelError, ReasonCode, Stage

FLOAT32 = "float32"


def _float16_recipe() -> Any:
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING
    )
    return manager.get_quantization_recipe()


def _dynamic_int8_recipe() -> Any:
    from ai_edge_quantizer import recipe

    return recipe.dynamic_wi8_afp32()


_RECIPES: dict[str, Callable[[], Any]] = {"float16": _float16_recipe, "dynamic_int8": _dynamic_int8_recipe}

NAMES = (FLOAT32, *_RECIPES)


def make(variant: str, float_content: bytes) -> bytes:
    """One variant of a float flatbuffer; `float32` is the flatbuffer itself.

    Raises:
      ModelError: CONVERT_FAILED with the quantizer's words.
    """
    if variant == FLOAT32:
        return float_content
    from ai_edge_quantizer import quantizer

    try:
        worker = quantizer.Quantizer(bytearray(float_content), _RECIPES[variant]())
        return bytes(worker.quantize(enable_progress_report=False, enable_progress_bar=False).quantized_model)
    except Exception as error:
        raise ModelError(
            ReasonCode.CONVERT_FAILED, Stage.CONVERT, f"{variant}: the AI Edge quantizer refused: {type(error).__name__}: {error}"
        ) from error
