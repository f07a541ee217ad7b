"""What `test_detect.py` and `test_config_scan.py` have written by Keras 3 and tf_keras themselves, in a sandbox."""

from __future__ import annotations

import os
from typing import Any

from liteferry.sandbox import Reporter


def write_one_model_in_every_format(folder: str, _: Reporter) -> None:
    import keras
    import tensorflow as tf
    import tf_keras

    os.chdir(folder)
    new = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    new.save("keras3.keras")
    new.save("keras3_legacy.h5")
    new.save_weights("keras3.weights.h5")
    old = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
    old.save("keras2.keras")
    old.save("keras2.h5")
    old.save_weights("keras2_legacy_weights.h5", save_format="h5")
    old.save("keras2_saved_model", save_format="tf")
    tf.saved_model.save(tf.Module(), "saved_model")


def write_lambdas(folder: str, _: Reporter) -> None:
    """Lambda layers of every kind, in every format that takes them. The bytecode would leave a file behind if it ran."""
    import keras
    import tf_keras

    os.chdir(folder)

    def twice(x: Any) -> Any:
        return x * 2

    for library, name in ((keras, "keras3"), (tf_keras, "keras2")):
        lambdas = {
            "bytecode": library.layers.Lambda(lambda x: x * 2, name="doubling"),
            "named": library.layers.Lambda(twice, name="doubling", output_shape=(3,)),
        }
        if library is tf_keras:
            lambdas["mask"] = library.layers.Lambda(twice, mask=lambda x, mask: mask, name="doubling")
            lambdas["shape"] = library.layers.Lambda(twice, output_shape=lambda shape: shape, name="doubling")
        for kind, layer in lambdas.items():
            model = library.Sequential([library.Input((3,)), layer])
            model.save(f"{name}_{kind}.keras")
            model.save(f"{name}_{kind}.h5")
        inner = library.Sequential([library.Input((3,)), library.layers.Lambda(lambda x: x, name="deep_inside")], name="inner")
        library.Sequential([library.Input((3,)), inner]).save(f"{name}_nested.keras")


def digest_architectures(_: Any, reporter: Reporter) -> None:
    """Digests of configs of models that differ in one thing from the base, built again and again: counters of names go up."""
    import json

    import keras
    import tf_keras

    from liteferry.checkpoints.config_scan import architecture_digest

    for library in (keras, tf_keras):
        layers = library.layers

        def functional(*, units: int = 4, activation: str = "relu", swap: bool = False, first: str | None = None) -> Any:
            x = library.Input((4,))  # noqa: B023  # called in this round of the loop
            a = layers.Dense(units, activation=activation, name=first)(x)  # noqa: B023
            b = layers.Dense(4, activation="tanh")(x)  # noqa: B023
            y = layers.Concatenate()([b, a] if swap else [a, b])  # noqa: B023
            return library.Model(x, layers.Dense(2)(y))  # noqa: B023

        def shared(*, is_shared: bool) -> Any:
            x, dense, other = library.Input((4,)), layers.Dense(4), layers.Dense(4)  # noqa: B023
            return library.Model(x, (dense if is_shared else other)(dense(x)))  # noqa: B023

        trained = functional()
        trained.compile(optimizer="adam", loss="mse")
        frozen = functional()
        frozen.trainable = False
        models = {
            "base": functional(),
            "again": functional(),
            "trained": trained,
            "frozen": frozen,
            "units": functional(units=5),
            "activation": functional(activation="gelu"),
            "wiring": functional(swap=True),
            "a name": functional(first="chosen"),
            "the same name": functional(first="chosen"),
            "layer shared": shared(is_shared=True),
            "layer not shared": shared(is_shared=False),
            "called relu": library.Sequential([library.Input((4,)), layers.Activation("relu", name="relu")]),
            "called tanh": library.Sequential([library.Input((4,)), layers.Activation("tanh", name="tanh")]),
            "full precision": library.Sequential([library.Input((4,)), layers.Dense(2)]),
            "mixed precision": library.Sequential([library.Input((4,)), layers.Dense(2, dtype="mixed_float16")]),
            "another input": library.Sequential([library.Input((5,)), layers.Dense(2)]),
        }
        digests = {}
        for name, model in models.items():
            config = library.saving.serialize_keras_object(model)
            digests[name] = architecture_digest(json.loads(json.dumps(config, default=str)))
        reporter.result(digests)
