"""A float flatbuffer -> the other variants, each in hundredths of a second, by the AI Edge quantizer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.tflite import flatbuffer, more_signatures
from liteferry.tflite.blockwise_int4 import with_blocks

FLOAT32 = "float32"
QUANTIZER = "the AI Edge quantizer"

Rows = Sequence[Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One way to use the quantizer. `name`: in the report, empty for its plain recipe. `keep_float`: operators that stay float.
    `algorithm`: of the quantizer's, which chooses the scales of weights.
    """

    name: str = ""
    keep_float: tuple[str, ...] = ()
    algorithm: str | None = None


PLAIN = Way()


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizationOptions:
    """`integer_io`: fully quantised variants take and give integers, for hardware that has no floats; otherwise they convert
    floats inside.

    `calibration_rows`: how many of the first sample rows are used to calibrate the ranges of activations. `way`: one of `ways`.
    """

    integer_io: bool = False
    calibration_rows: int = 128
    way: Way = PLAIN


def _ready_made(name: str) -> Callable[[], Any]:
    def recipe() -> Any:
        from ai_edge_quantizer import recipe as recipes

        return getattr(recipes, name)()

    return recipe


def _float16() -> Any:
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    manager = recipe_manager.RecipeManager()
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    manager.add_weight_only_config(regex=".*", operation_name=everything, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    return manager.get_quantization_recipe()


_RECIPES: dict[str, Callable[[], Any]] = {
    "float16": _float16,
    "dynamic_int8": _ready_made("dynamic_wi8_afp32"),
    "weight_only_int8": _ready_made("weight_only_wi8_afp32"),
    "dynamic_int4": _ready_made("dynamic_wi4_afp32"),
    "weight_only_int4": _ready_made("weight_only_wi4_afp32"),
    "int8": _ready_made("static_wi8_ai8"),
    "int16x8": _ready_made("static_wi8_ai16"),
}

NAMES = (FLOAT32, *_RECIPES)
CALIBRATED = ("int8", "int16x8")
_NARROW = ("dynamic_int4", "weight_only_int4")
FRAGILE = (*CALIBRATED, *_NARROW)
"""Variants that lose float arithmetic or most digits of the weights: errors show in their answers."""
_WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "EMBEDDING_LOOKUP", "BATCH_MATMUL")
_IN_BLOCKS = "dynamic_int4"  # the quantizer has no blockwise scales for weights that are dequantised


# Comparisons must be exact: NOT_EQUAL(x, x) tests for NaN, which integers do not have.
_COMPARISONS = ("EQUAL", "NOT_EQUAL")
# Divisions, roots and selections with masks of huge numbers have a range that no scale can represent.
_ILL_RANGED = (*_COMPARISONS, "SELECT", "SELECT_V2", "MAXIMUM", "DIV", "RSQRT", "SQRT", "SQUARED_DIFFERENCE", "REDUCE_MIN")
_ALGORITHMS = ("MSE", "OCTAV")


def ways(variant: str, float_content: bytes) -> Iterator[Way]:
    """Ways to make a variant with the quantizer, its plain recipe first, then the ways that can make a difference for this
    model.
    """
    yield PLAIN
    if variant in CALIBRATED:
        there = flatbuffer.count_operators(float_content)
        comparisons, ill_ranged = (tuple(name for name in names if name in there) for names in (_COMPARISONS, _ILL_RANGED))
        for kept in dict.fromkeys((comparisons, ill_ranged)):
            if kept:
                yield Way(name=f"{', '.join(kept)} left float", keep_float=kept)
    if variant in FRAGILE:
        for algorithm in _ALGORITHMS:
            yield Way(name=f"its {algorithm} algorithm", algorithm=algorithm)


def make(
    variant: str,
    float_content: bytes,
    *,
    rows: Callable[[], Rows],
    options: QuantizationOptions,
    recipes: Mapping[str, str] | None = None,
) -> bytes:
    """One variant of a float flatbuffer; `float32` is the flatbuffer itself.

    Args:
      rows: batches of sample rows by input name, read only where activations have to be calibrated.
      recipes: the user's, as JSON, by the name of the variant; used unchanged, inputs and outputs included.

    Raises:
      ModelError: SAMPLES_MISSING without rows to calibrate on, CONVERT_FAILED with the quantizer's message.
    """
    if variant == FLOAT32:
        return float_content
    from ai_edge_quantizer import quantizer

    try:
        recipe = json.loads(recipes[variant]) if recipes and variant in recipes else _RECIPES[variant]()
        if variant in CALIBRATED and not options.integer_io:
            recipe = _with_float_io(recipe)
        elif variant == _IN_BLOCKS:
            recipe = with_blocks(recipe, float_content)
        recipe = _in_a_way(recipe, options.way)
        worker = quantizer.Quantizer(bytearray(float_content), recipe)
        if not worker.need_calibration:
            return quantized(worker, None)
        found = _rows_for(variant, rows)
        return quantized(worker, ranges(worker, found) if variant in CALIBRATED else _ranges(worker, found))
    except ModelError:
        raise
    except Exception as error:
        message = f"{variant}: {QUANTIZER} refused: {type(error).__name__}: {error}"
        raise ModelError(ReasonCode.CONVERT_FAILED, Stage.CONVERT, message) from error


def _rows_for(variant: str, rows: Callable[[], Rows]) -> Rows:
    found = rows()
    if not found:
        message = (
            f"{variant} quantises activations and needs sample rows to see their range; "
            "give the model `samples`, or drop the variant"
        )
        raise ModelError(ReasonCode.SAMPLES_MISSING, Stage.CONVERT, message)
    return found


def _with_float_io(recipe: Any) -> Any:
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        manager.add_quantization_config(regex=".*", operation_name=end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return manager.get_quantization_recipe()


def _in_a_way(recipe: Any, way: Way) -> Any:
    if way == PLAIN:
        return recipe
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    if way.algorithm is not None:  # for the operators that it knows; the plain recipe stands for the others
        for rule in recipe:
            if rule["algorithm_key"] == AlgorithmName.MIN_MAX_UNIFORM_QUANT:
                _add_algorithm(manager, rule, AlgorithmName[way.algorithm])
    for name in way.keep_float:
        manager.add_quantization_config(
            regex=".*", operation_name=qtyping.TFLOperationName[name], algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    return manager.get_quantization_recipe()


def _add_algorithm(manager: Any, rule: Mapping[str, Any], algorithm: Any) -> None:
    from ai_edge_quantizer import qtyping

    config = qtyping.OpQuantizationConfig.from_dict(rule["op_config"])
    for name in _WEIGHTED:
        with contextlib.suppress(ValueError):  # the quantizer does not support this operator in this form
            manager.add_quantization_config(
                regex=rule["regex"], operation_name=qtyping.TFLOperationName[name], op_config=config, algorithm_key=algorithm
            )


def ranges(worker: Any, rows: Rows) -> Any:
    """The smallest and largest value of each activation, by the fastest correct method."""
    return _ranges_by_the_kernels(worker, rows) or _ranges(worker, rows)


def quantized(worker: Any, ranges: Any) -> bytes:
    """The quantizer's file; suppresses its prints to standard output."""
    return bytes(worker.quantize(ranges, enable_progress_report=False, enable_progress_bar=False).quantized_model)


def _ranges(worker: Any, rows: Rows, *, by_the_kernels: bool = False) -> Any:
    """Ranges of the activations: the smallest and largest value in any row.

    Not the quantizer's default, a moving average: that depends on the order of the rows and cuts off values that only few of them
    show. On the demo's CNN the default gave int8 an error of 0.52, this gives 0.011.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    modes = calibrator.CalibrationMode
    calibration = calibrator.Calibrator(
        worker._float_model_buffer,
        num_threads=1,
        mode=modes.CALIBRATION_PROFILER_BASED if by_the_kernels else modes.CALIBRATION_PRESERVE_ALL_TENSORS,
        qsv_update_func=qsv_utils.min_max_update,
    )
    calibration.calibrate(more_signatures.rows_by_signature(worker._float_model_buffer, rows), worker._recipe_manager)
    return calibration.get_model_qsvs()


# The quantizer's own search leaves out values beyond this: paddings and masks of minus infinity.
_LARGEST_IN_RANGE = 3e38


def _ranges_by_the_kernels(worker: Any, rows: Rows) -> Any:
    """The same ranges, bit for bit, taken while the kernels run instead of copying every tensor out: a fifth of the time.

    None where the results would differ: with more than one subgraph, or with values that the quantizer leaves out.
    """
    from ai_edge_litert import schema_py_generated as schema

    if schema.Model.GetRootAs(worker._float_model_buffer, 0).SubgraphsLength() != 1:
        return None
    try:
        found = _ranges(worker, rows, by_the_kernels=True)
    except (RuntimeError, ValueError):
        return None
    as_float32 = {name: {end: np.asarray(value, np.float32) for end, value in ends.items()} for name, ends in found.items()}
    values = np.array([value.item() for ends in as_float32.values() for value in ends.values()])
    return as_float32 if np.all(np.abs(values) < _LARGEST_IN_RANGE) else None
