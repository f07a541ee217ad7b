"""Writes models of TensorFlow Model Optimization, which knows Keras 2 alone, into argv[1]: one that is pruned and still has its
wrappers, and one that was trained for quantisation.
"""

from __future__ import annotations

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

RNG = np.random.default_rng(0)


def network() -> tf_keras.Model:
    inputs = tf_keras.Input((4,), name="x")
    hidden = tf_keras.layers.Dense(8, "relu", name="hidden")(inputs)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(3, name="scores")(hidden))


def main(out: str) -> None:
    os.makedirs(out, exist_ok=True)
    rows = RNG.normal(size=(64, 4)).astype(np.float32)
    pruned = tfmot.sparsity.keras.prune_low_magnitude(network())
    aware = tfmot.quantization.keras.quantize_model(network())
    for name, model, callbacks in (
        ("pruned", pruned, [tfmot.sparsity.keras.UpdatePruningStep()]),
        ("aware", aware, []),
    ):
        model.compile("adam", "mse")
        model.fit(rows, RNG.normal(size=(64, 3)), epochs=1, verbose=0, callbacks=callbacks)
        model.save(f"{out}/{name}.h5")
        np.savez(f"{out}/{name}_rows.npz", x=rows)
        np.savez(f"{out}/{name}_expected.npz", answers=model(rows, training=False).numpy())


if __name__ == "__main__":
    main(sys.argv[1])
