"""In a sandbox with Keras: small models that the first way does not serve, through the ladder of lowerings and that of
variants.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Rows = Mapping[str, np.ndarray]
RANDOM = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A model that was loaded, traced and lowered, on its rows."""

    model: Any
    traced: Any
    content: bytes | None
    lowered: Any
    rows: Rows

    def steps(self, which: Callable[..., Any], variant: str, **options: Any) -> list[Any]:
        from liteferry.exporting.variant_steps import Source
        from liteferry.tflite.quantize import QuantizationOptions
        from liteferry.tflite.tf_quantize import FloatFile

        assert self.content is not None
        source = Source(
            file=FloatFile(content=self.content, model=self.model, lowered=self.lowered),
            traced=self.traced,
            rows=lambda: [
                {name: value[at : at + (self.lowered.batch or 64)] for name, value in self.rows.items()}
                for at in range(0, 64, self.lowered.batch or 64)
            ],
            options=QuantizationOptions(**options),
            recipes={},
        )
        return list(which(source, variant))

    def trial(self) -> Any:
        from liteferry.tflite.trial import Trial

        few = {name: value[:8] for name, value in self.rows.items()}
        return Trial(rows=few, expected=self.traced.run(few))

    def off(self, content: bytes) -> dict[str, float]:
        """Signal to noise in decibels, by output, on all rows."""
        from liteferry.parity.output_stats import OutputStats
        from liteferry.tflite import runners

        expected, observed = self.traced.run(self.rows), runners.LiteRTRunner(content).run(self.rows)
        ids = [str(row) for row in range(len(next(iter(expected.values()))))]
        found = {}
        for name, wanted in expected.items():
            stats = OutputStats.compare(reference=wanted, candidate=observed[name], ids=ids, rows=np.arange(len(ids)))
            measured = stats.report()["sqnr_db"]
            found[name] = 999.0 if measured is None else measured
        return found


def made(path: str, rows: Rows, *, twin: bool = False, rounds_inputs: bool = False) -> Made:
    from liteferry import checkpoints
    from liteferry.loading import float_twin, loaders, tracing
    from liteferry.loading.model import LoadSpec
    from liteferry.tflite import lowering

    model = loaders.load(path, checkpoints.examine(path), LoadSpec(), sample_columns=())
    if twin:
        found = float_twin.of(model, rounds_inputs=rounds_inputs)
        assert found is not None
        model = found.model
    traced = tracing.trace(model)
    few = {name: value[:8] for name, value in rows.items()}
    content, lowered = lowering.lower(
        lowering.Source(model=model, traced=traced, rows=few),
        options=lowering.LoweringOptions(),
        sibling=None,
        metadata={"made": "here"},
    )
    return Made(model=model, traced=traced, content=content, lowered=lowered, rows=rows)


def _saved(name: str, function: Callable[..., Any], spec: Any, **state: Any) -> str:
    import tensorflow as tf

    module = tf.Module()
    for key, value in state.items():
        setattr(module, key, value)
    path = os.path.join(tempfile.mkdtemp(), name)
    serve = tf.function(functools.partial(function, module), input_signature=[spec])
    tf.saved_model.save(module, path, signatures={"serving_default": serve.get_concrete_function()})
    return path


def handed_through() -> dict[str, Any]:
    """An input that comes back beside the answer, and one tensor under two names."""
    import keras

    x, key = keras.Input((6,), name="x"), keras.Input((1,), name="key", dtype="int64")
    score = keras.layers.Dense(3, activation="softmax", name="score")(x)
    path = os.path.join(tempfile.mkdtemp(), "keyed.keras")
    keras.Model([x, key], {"score": score, "again": score, "key_out": key}).save(path)
    return _lowered(made(path, {"x": RANDOM.normal(size=(32, 6)).astype("float32"), "key": np.arange(32)[:, None]}))


def table() -> dict[str, Any]:
    """A hash table from words to numbers in front of the weights."""
    import tensorflow as tf

    words = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64))

    def serve(module: Any, word: Any) -> dict[str, Any]:
        return {"y": module.table.lookup(word)}

    path = _saved("table", serve, tf.TensorSpec([None], tf.string, name="word"), table=tf.lookup.StaticHashTable(words, 7))
    return _lowered(made(path, {"word": np.array([b"a", b"b", b"c", b"a"] * 8, object)}))


def assigned() -> dict[str, Any]:
    """A variable that every call masks anew, as a pruned model in its wrappers does."""
    import tensorflow as tf

    def serve(module: Any, x: Any) -> dict[str, Any]:
        with tf.control_dependencies([module.w.assign(module.w * module.mask)]):
            return {"y": tf.matmul(x, module.w)}

    weights = RANDOM.normal(size=(6, 3)).astype("float32")
    state = {"w": tf.Variable(weights), "mask": tf.Variable((weights > 0).astype("float32"))}
    path = _saved("assigned", serve, tf.TensorSpec([None, 6], tf.float32, name="x"), **state)
    return _lowered(made(path, {"x": RANDOM.normal(size=(32, 6)).astype("float32")}))


def _lowered(found: Made) -> dict[str, Any]:
    from liteferry.tflite import flatbuffer

    assert found.content is not None, [attempt.error for attempt in found.lowered.attempts]
    return {
        "attempts": [(attempt.lowering, attempt.error and attempt.error.code.value) for attempt in found.lowered.attempts],
        "outputs": [tensor.name for tensor in flatbuffer.read_contract(found.content).outputs],
        "metadata": flatbuffer.read_metadata(found.content),
        "off": found.off(found.content),
    }


def large_bias() -> dict[str, Any]:
    """int16 activations with a bias that 32 bits cannot hold: the quantizer cuts it, TensorFlow's converter does not."""
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((12,), name="x"), layers.Dense(32, "relu"), layers.Dense(1, name="hPa")])
    kernel, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.array([1013.25], np.float32)])
    path = os.path.join(tempfile.mkdtemp(), "pressure.keras")
    model.save(path)
    return _climbed(made(path, {"x": RANDOM.normal(size=(64, 12)).astype("float32")}), "int16x8")


def asks_for_nan() -> dict[str, Any]:
    """NOT_EQUAL(x, x) is how a graph asks for NaN; in integers there is none."""
    import tensorflow as tf

    def serve(module: Any, x: Any) -> dict[str, Any]:
        known = tf.where(tf.not_equal(x, x), tf.zeros_like(x), x)
        return {"y": tf.matmul(tf.nn.relu(tf.matmul(known, module.first)), module.second)}

    rows = RANDOM.normal(size=(64, 16)).astype("float32")
    rows[RANDOM.random(rows.shape) < 0.1] = np.nan
    state = {name: tf.Variable(RANDOM.normal(size=(16, 16)).astype("float32")) for name in ("first", "second")}
    return _climbed(made(_saved("nan", serve, tf.TensorSpec([None, 16], tf.float32, name="x"), **state), {"x": rows}), "int8")


def _climbed(found: Made, variant: str) -> dict[str, Any]:
    from liteferry.exporting import variant_steps
    from liteferry.tflite import held_quantized, ladder

    climb = ladder.climb(variant, found.steps(variant_steps.first, variant), found.trial())
    by_quantizer = climb
    if climb.may_go_on():
        climb = ladder.climb(variant, found.steps(variant_steps.last, variant), found.trial(), before=climb)
    assert climb.content is not None, climb.reasons
    return {
        "attempts": [(attempt.lowering, attempt.error and attempt.error.code.value) for attempt in climb.attempts],
        "quantizer": climb.quantizer,
        "holds": climb.holds,
        "first_db": by_quantizer.margin_db,
        "off": found.off(climb.content),
        "operators": held_quantized.read(climb.content)["operators"],
        "bytes": len(climb.content),
    }


def trained_ranges() -> dict[str, Any]:
    """A graph that fake-quantises, as quantisation-aware training leaves it, beside TensorFlow's own conversion of it."""
    import tensorflow as tf

    from liteferry.exporting import variant_steps
    from liteferry.tflite import runners

    def fake(value: Any, limit: float) -> Any:
        return tf.quantization.fake_quant_with_min_max_vars(value, -limit, limit, num_bits=8)

    def serve(module: Any, x: Any) -> dict[str, Any]:
        hidden = tf.matmul(fake(x, 3.0), tf.quantization.fake_quant_with_min_max_vars(module.w, -1.0, 1.0, narrow_range=True))
        return {"y": fake(tf.nn.relu(fake(hidden, 6.0)), 6.0)}

    state = {"w": tf.Variable(RANDOM.normal(size=(16, 8), scale=0.3).astype("float32"))}
    path = _saved("trained", serve, tf.TensorSpec([1, 16], tf.float32, name="x"), **state)
    found = made(path, {"x": RANDOM.normal(size=(64, 16)).astype("float32")})
    converter = tf.lite.TFLiteConverter.from_saved_model(path)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    writers = bytes(converter.convert())
    facts = _climbed(found, "int8")
    ours = found.steps(variant_steps.first, "int8")[0].make()
    answers = [next(iter(runners.LiteRTRunner(content).run(found.rows).values())) for content in (ours, writers)]
    return {**facts, "writers_bytes": len(writers), "apart": float(np.abs(answers[0] - answers[1]).max())}


def counted_loop() -> dict[str, Any]:
    """An LSTM in a SavedModel, whose loop nobody's layers can unroll: written out, it computes the same, and calibrates."""
    import tf_keras

    from liteferry.tflite import tf_quantize

    model = tf_keras.Sequential([tf_keras.Input((6, 4), name="x"), tf_keras.layers.LSTM(8), tf_keras.layers.Dense(3, name="y")])
    path = os.path.join(tempfile.mkdtemp(), "saved_lstm")
    model.save(path, save_format="tf")
    found = made(path, {"x": RANDOM.normal(size=(64, 6, 4)).astype("float32")})
    first = {name: value[:1] for name, value in found.rows.items()}
    unrolled = found.lowered.frozen.unrolled(first, most_steps=6).convert()
    refused = None
    try:
        found.lowered.frozen.unrolled(first, most_steps=5)
    except Exception as error:  # noqa: BLE001  # the test reads its words
        refused = str(error)
    facts = _climbed(found, "int8")
    return {**facts, "unrolled_off": found.off(unrolled), "loops": tf_quantize.has_loops(unrolled), "refused": refused}


def twins() -> dict[str, Any]:
    """Format -> how far the float32 twin is from the model, whether the model is afterwards what it was, and what the file
    holds.
    """
    import keras

    from liteferry import checkpoints
    from liteferry.loading import float_twin, loaders, tracing
    from liteferry.loading.model import LoadSpec
    from liteferry.tflite import flatbuffer

    layers = keras.layers
    answer: dict[str, Any] = {}
    rows = {"image": RANDOM.normal(size=(32, 8, 8, 3)).astype("float32")}
    for kind in ("float32", "mixed_float16", "mixed_bfloat16", "float16", "float64", "int8", "int4", "float8"):
        keras.utils.set_random_seed(1)
        quantised = kind in ("int8", "int4", "float8")
        keras.config.set_dtype_policy("float32" if quantised else kind)
        parts = [layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.Flatten(), layers.Dense(64, "relu")]
        model = keras.Sequential([keras.Input((8, 8, 3), name="image"), *parts, layers.Dense(5, name="scores")])
        if quantised:
            model.quantize(kind)
        path = os.path.join(tempfile.mkdtemp(), f"{kind}.keras")
        model.save(path)
        keras.config.set_dtype_policy("float32")
        loaded = loaders.load(path, checkpoints.examine(path), LoadSpec(), sample_columns=())
        twin = float_twin.of(loaded)
        if twin is None:
            answer[kind] = None
            continue
        before = tracing.trace(loaded).run(rows)["scores"]
        found = made(path, rows, twin=True)
        after = tracing.trace(loaded).run(rows)["scores"]
        assert found.content is not None, [attempt.error for attempt in found.lowered.attempts]
        answer[kind] = {
            "of": twin.facts.of,
            "limit": twin.facts.max_rel_limit,
            "off": tracing.relative_distance(before.astype("float32"), found.traced.run(rows)["scores"]),
            "is_as_before": bool(np.array_equal(before, after)),
            "weights": flatbuffer.count_weights(found.content),
            "file_off": found.off(found.content),
        }
    return answer


def rounding_twins() -> dict[str, Any]:
    """Format -> how far the twins of deep models are that round what layers are given and that do not, and what the file of the
    former holds. `float8`: how many of float8's numbers, and of floats between them, the arithmetic rounds as a cast does.
    """
    import keras
    import ml_dtypes

    from liteferry import checkpoints
    from liteferry.exporting import variant_steps
    from liteferry.loading import float_twin, loaders, rounded_inputs, tracing
    from liteferry.loading.model import LoadSpec

    layers = keras.layers
    answer: dict[str, Any] = {}
    for kind in ("int8", "float8"):
        keras.utils.set_random_seed(1)
        x = keras.Input((6, 16), name="x")
        hidden = layers.EinsumDense("abc,cd->abd", (6, 24), activation="tanh")(x)
        hidden = layers.Flatten()(hidden)
        for _ in range(6):
            hidden = layers.Dense(32, "relu")(hidden)
        model = keras.Model(x, layers.Dense(5, name="scores")(hidden))
        model.quantize(kind)
        path = os.path.join(tempfile.mkdtemp(), f"{kind}.keras")
        model.save(path)
        rows = {"x": RANDOM.normal(size=(64, 6, 16)).astype("float32")}
        loaded = loaders.load(path, checkpoints.examine(path), LoadSpec(), sample_columns=())
        wanted = tracing.trace(loaded).run(rows)["scores"]
        off = {}
        for rounds in (False, True):
            twin = float_twin.of(loaded, rounds_inputs=rounds)
            assert twin is not None and twin.may_round
            off[rounds] = tracing.relative_distance(wanted, tracing.trace(twin.model).run(rows)["scores"])
        found = made(path, rows, twin=True, rounds_inputs=True)
        assert found.content is not None, [attempt.error for attempt in found.lowered.attempts]
        again = tracing.trace(loaded).run(rows)["scores"]
        answer[kind] = {
            "off": off[False],
            "rounding_off": off[True],
            "file_off": found.off(found.content),
            "float16_off": found.off(found.steps(variant_steps.first, "float16")[0].make()),
            "is_as_before": bool(np.array_equal(wanted, again)),
            "left_behind": sorted(name for layer in loaded.keep._flatten_layers() for name in vars(layer) if name == "call"),
        }
    every = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    between = RANDOM.normal(size=20000) * 2.0 ** RANDOM.integers(-10, 9, 20000)
    values = np.concatenate([every[np.isfinite(every)], between])
    rounded = rounded_inputs.to_float8(values.astype(np.float32), 1.0).numpy()
    cast = np.clip(values.astype(np.float32), -448, 448).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    return {**answer, "unlike_a_cast": int((rounded != cast).sum())}


def microcontroller() -> dict[str, Any]:
    """A small CNN's files as a microcontroller runs them, beside what LiteRT answers; {missing} without tflite-micro."""
    import importlib.util

    import keras

    from liteferry.errors import ModelError
    from liteferry.exporting import variant_steps
    from liteferry.tflite import micro, runners

    if importlib.util.find_spec("tflite_micro") is None:
        return {"missing": True}
    layers = keras.layers
    parts = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(5, name="scores")]
    model = keras.Sequential([keras.Input((8, 8, 3), name="image"), *parts])
    path = os.path.join(tempfile.mkdtemp(), "cnn.keras")
    model.save(path)
    found = made(path, {"image": RANDOM.normal(size=(12, 8, 8, 3)).astype("float32")})
    assert found.content is not None
    files = {name: found.steps(variant_steps.first, name)[0].make() for name in ("float16", "dynamic_int8", "int8")}
    answer: dict[str, Any] = {}
    for name, content in {"float32": found.content, **files}.items():
        try:
            runner = micro.MicroRunner(content)
            there, here = (one.run(found.rows)["scores"] for one in (runner, runners.LiteRTRunner(content)))
            answer[name] = {"arena_bytes": runner.arena_bytes, "shape": there.shape, "off": float(np.abs(there - here).max())}
        except ModelError as error:
            answer[name] = {"code": error.reason.code.value, "message": error.reason.message}
    return answer


CASES = (
    *(handed_through, table, assigned, large_bias, asks_for_nan, trained_ranges, counted_loop, twins, rounding_twins),
    microcontroller,
)


def run(names: tuple[str, ...], reporter: Any) -> None:
    """Hands over {case, ...} for each."""
    for case in CASES:
        if case.__name__ in names:
            reporter.result({"case": case.__name__, "found": case()})
