"""A user's file for the loading tests: custom classes and builders, as people write them beside their checkpoints.

Under `import keras` stands what the process says it is: Keras 3, or tf_keras for files written before Keras 3.
"""

from __future__ import annotations

import os

import keras
import tensorflow as tf


@keras.utils.register_keras_serializable(package="loading_models")
class TwoLayers(keras.Model):
    """Subclassed, with dropout, BatchNorm and a `training` argument."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = keras.layers.Dense(units, activation="relu")
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.5)
        self.second = keras.layers.Dense(3)

    def call(self, inputs, training=None):
        x = self.norm(self.first(inputs), training=training)
        return self.second(self.dropout(x, training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.utils.register_keras_serializable(package="loading_models")
class WithoutTraining(TwoLayers):
    """A `call` that takes no `training`; the layers inside still must compute inference."""

    def call(self, inputs):  # type: ignore[override]  # mypy reads our TwoLayers, Keras does not mind
        return self.second(self.dropout(self.norm(self.first(inputs))))


@keras.utils.register_keras_serializable(package="loading_models")
class BuiltInInit(keras.Model):
    """Makes its variables itself; what it takes is known to its `call` only."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)
        self.dense.build((None, 5))
        self.built = True

    def call(self, features):
        return {"scores": self.dense(features)}

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.utils.register_keras_serializable(package="loading_models")
class DictModel(keras.Model):
    """Dict in, nested dict out."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left = keras.layers.Dense(4, activation="tanh")
        self.right = keras.layers.Dense(4)

    def call(self, inputs):
        left, right = self.left(inputs["left"]), self.right(inputs["right"])
        return {"sum": left + right, "parts": {"left": left, "right": right}}


@keras.utils.register_keras_serializable(package="loading_models")
class AlwaysNoisy(keras.layers.Layer):
    """Random whether or not it is training, as augmentation layers written in a hurry are."""

    def __init__(self, scale=0.3, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs + self.scale * tf.random.normal(tf.shape(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def leaky(x):
    """What the fixture's "<lambda>" computes."""
    return tf.nn.leaky_relu(x, alpha=0.3)


def build_mlp(units=8):
    """For weights-only files: a Keras 3 model."""
    return _mlp(keras, units)


def build_tf_keras_mlp(units=8):
    import tf_keras

    return _mlp(tf_keras, units)


def _mlp(library, units):
    layers = library.layers
    return library.Sequential(
        [
            library.Input((5,), name="features"),
            layers.Dense(units, activation="relu", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(3, name="scores"),
        ]
    )


def build_by_file_name(checkpoint):
    """The width stands in the file's name: units_12.weights.h5."""
    return build_mlp(int(os.path.basename(checkpoint).split(".")[0].split("_")[1]))


def build_by_folder_name(checkpoint):
    """The width stands in the name of a folder above the file: units_12/last/model.weights.h5."""
    return build_mlp(int(os.path.basename(os.path.dirname(os.path.dirname(checkpoint))).split("_")[1]))


def build_subclassed(units=8):
    return TwoLayers(units)


def build_tf_keras_rnn():
    import tf_keras

    return tf_keras.Sequential([tf_keras.layers.LSTM(4, input_shape=(6, 3), name="lstm"), tf_keras.layers.Dense(2, name="out")])


def build_tf_keras_rnns():
    import tf_keras

    return _rnns(tf_keras)


def build_keras_3_rnns():
    return _rnns(keras)


def _rnns(library):
    layers = library.layers
    steps = library.Input((6, 3), name="steps")
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="lstm"), name="both")(steps)
    return library.Model(steps, layers.Dense(2, name="out")(layers.GRU(3, reset_after=True, name="gru")(x)))


def build_keras_tower():
    layers = [keras.layers.Dense(4, activation="tanh", name="hidden"), keras.layers.Dense(3, activation="tanh", name="scores")]
    return keras.Sequential([keras.Input((5,), name="features"), *layers])


class Affine(tf.Module):
    """No Keras at all, for tf.train.Checkpoint."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(tf.zeros([5, 3]), name="w")
        self.b = tf.Variable(tf.zeros([3]), name="b")

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32, name="features")])
    def __call__(self, features):
        return {"scores": tf.matmul(features, self.w) + self.b}


def build_affine():
    return Affine()


def build_tf1_graph():
    """TensorFlow 1 style: a function that asks for its variables by name."""

    def graph(features):
        with tf.compat.v1.variable_scope("tower"):
            w = tf.compat.v1.get_variable("w", [5, 3])
            b = tf.compat.v1.get_variable("b", [3])
        return {"scores": tf.nn.softmax(tf.matmul(features, w) + b)}

    return graph
