"""What `test_inspect.py` has written by the libraries themselves, in a sandbox, and what it asks them."""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np

from liteferry.sandbox import Reporter


def write_artifacts(folder: str, _: Reporter) -> None:
    """One artifact of every kind, each with something to tell."""
    import keras
    import tensorflow as tf
    import tf_keras

    os.chdir(folder)
    for library, name in ((keras, "keras3"), (tf_keras, "keras2")):
        _pictures(library).save(f"{name}.keras")
        _pictures(library).save(f"{name}.h5")
        _normalized(library).save(f"{name}_normalized.keras")
        _normalized(library).save(f"{name}_normalized.h5")
    for name in ("one", "two"):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)]).save(f"keras3_{name}.keras")
    _custom(tf_keras).save("keras2_custom.h5")
    _custom(keras).save("keras3_custom.keras")
    _pictures(keras).save_weights("keras3.weights.h5")
    _pictures(tf_keras).save_weights("keras2_legacy.h5")
    module = tf.Module()
    module.v = tf.Variable(tf.zeros([4, 3]), name="v")
    module.step = tf.Variable(tf.constant(3, tf.int64))
    scale = tf.function(lambda x: {"y": x @ module.v}, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="s")])
    def write(s: Any) -> Any:
        tf.io.write_file("marker", s)
        return {"written": s}

    tf.saved_model.save(module, "saved_model", signatures={"serving_default": scale})
    module.write = write
    tf.saved_model.save(module, "writes", signatures={"serving_default": scale, "write": write.get_concrete_function()})
    tf.train.Checkpoint(net=module, optimizer=_trained(tf_keras)).write("training")
    _write_tflite()


def _pictures(library: Any) -> Any:
    """Rescaling, augmentation, dropout and a Lambda."""
    layers = library.layers
    image = library.Input((8, 8, 3), name="image")
    x = layers.RandomFlip(name="flip")(layers.Rescaling(1 / 255.0, name="rescale")(image))
    x = layers.Lambda(lambda tensor: tensor * 2, name="twice", output_shape=(8, 8, 3))(x)
    x = layers.Dropout(0.5, name="drop")(layers.Flatten()(x))
    return library.Model(image, layers.Dense(3, name="label")(x))


def _normalized(library: Any) -> Any:
    """Two adapted Normalization layers, whose statistics are weights."""
    left, right = library.layers.Normalization(name="left_norm"), library.layers.Normalization(name="right_norm")
    left.adapt(np.array([[0.0], [20.0]], np.float32))  # mean 10, variance 100
    right.adapt(np.array([[-1.0], [1.0]], np.float32))  # mean 0, variance 1
    inputs = [library.Input((1,), name="left"), library.Input((1,), name="right")]
    joined = library.layers.Concatenate()([left(inputs[0]), right(inputs[1])])
    return library.Model(inputs, library.layers.Dense(1, name="y")(joined))


def _custom(library: Any) -> Any:
    class TheirLayer(library.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    def theirs(x: Any) -> Any:
        return x

    return library.Sequential(
        [library.Input((4,), name="x"), TheirLayer(name="own"), library.layers.Dense(2, activation=theirs, name="y")]
    )


def _trained(library: Any) -> Any:
    model = library.Sequential([library.Input((2,)), library.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.zeros([2, 2]), np.zeros([2, 1]), verbose=0)
    return model.optimizer


def _write_tflite() -> None:
    """A file of LiteFerry's own kind, one whose weights are int8, and one of somebody who gave it no signature."""
    import tensorflow as tf

    from liteferry.tflite import flatbuffer, rewriting

    weight = tf.constant(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    module = tf.Module()
    function = tf.function(lambda x: {"y": tf.matmul(x, weight)}, input_signature=[tf.TensorSpec([None, 64], tf.float32, "x")])
    module.serve = function
    concrete = function.get_concrete_function()
    plain = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()
    with open("plain.tflite", "wb") as file:
        file.write(_without_signature(plain))
    small = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    small.optimizations = [tf.lite.Optimize.DEFAULT]
    for name, content in {"float": plain, "int8": small.convert()}.items():
        contract = flatbuffer.read_contract(content)
        sides = {
            side: {tensor.name: tensor.tensor_name for tensor in tensors}
            for side, tensors in (("inputs", contract.inputs), ("outputs", contract.outputs))
        }
        with open(f"{name}.tflite", "wb") as file:
            file.write(rewriting.add_signature(content, **sides, metadata={"variant": name}))


def _without_signature(content: bytes) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tell_names(_: Any, reporter: Reporter) -> None:
    """The layers and activations that the installed libraries bring."""
    import keras
    import tf_keras
    from tf_keras.api._v1 import keras as v1

    layers, activations = set(), set()
    for library in (keras, tf_keras):
        for holder in (library, library.layers):
            found = {name: value for name, value in vars(holder).items() if inspect.isclass(value)}
            own = {name: value for name, value in found.items() if issubclass(value, library.layers.Layer)}
            layers |= own.keys() | {value.__name__ for value in own.values()}
        activations |= {name for name, value in vars(library.activations).items() if callable(value)}
    layers |= {name for name, value in vars(v1.layers).items() if inspect.isclass(value) and name != "InputSpec"}
    reporter.result({"layers": sorted(layers), "activations": sorted(activations - {"get", "serialize", "deserialize"})})


def tell_variables(prefix: str, reporter: Reporter) -> None:
    """What TensorFlow itself reads off a checkpoint."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    reporter.result({name: [shape, dtypes[name].name] for name, shape in reader.get_variable_to_shape_map().items()})
