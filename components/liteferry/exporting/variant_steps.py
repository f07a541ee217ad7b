"""The ways to make a quantised variant of one lowered model, in the order in which they are tried."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping

from liteferry.loading.tracing import TracedModel
from liteferry.tflite import quantize, tf_quantize
from liteferry.tflite.ladder import Step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The sources of variants: the float file, its trace, and batches of rows to calibrate on, which are read only when needed.
    `recipes`: the user's, by the name of their variant.
    """

    file: tf_quantize.FloatFile
    traced: TracedModel
    rows: Callable[[], quantize.Rows]
    options: quantize.QuantizationOptions
    recipes: Mapping[str, str]


def first(source: Source, name: str) -> Iterator[Step]:
    """The ways that cannot abort: the quantizer; and before it TensorFlow's converter, if training has set the ranges of the
    activations.
    """
    if name in tf_quantize.TRAINED and name not in source.recipes and tf_quantize.has_trained_ranges(source.file, source.traced):
        make = functools.partial(tf_quantize.with_trained_ranges, name, source.file, source.options)
        yield Step(name=f"{name} by {tf_quantize.NAME}, with the trained ranges", quantizer=tf_quantize.NAME, make=make)
    ways = [quantize.PLAIN] if name in source.recipes else quantize.ways(name, source.file.content)
    for way in ways:
        options = dataclasses.replace(source.options, way=way)
        make = functools.partial(
            quantize.make, name, source.file.content, rows=source.rows, options=options, recipes=source.recipes
        )
        words = f"{name} by {quantize.QUANTIZER}{', ' if way.name else ''}{way.name}"
        yield Step(name=words, quantizer=quantize.QUANTIZER, make=make, is_refinement=way.algorithm is not None)


def last(source: Source, name: str) -> list[Step]:
    """The ways that may abort: TensorFlow's converter and its calibrator."""
    make = functools.partial(
        tf_quantize.make,
        name,
        source.file,
        rows=source.rows,
        options=source.options,
    )
    return [Step(name=f"{name} by {tf_quantize.NAME}", quantizer=tf_quantize.NAME, make=make)]
