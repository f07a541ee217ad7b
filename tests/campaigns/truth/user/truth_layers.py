"""A user's own layers, one for each way of keeping state. Written for Keras 3; for Keras 2 the import line changes."""

from __future__ import annotations

import json
import os

import keras
import numpy as np
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="truth")


@register
class Scale(keras.layers.Layer):
    """Variables and nothing else."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(shape[-1],), initializer="zeros")
        super().build(shape)

    def call(self, inputs):
        return inputs * self.scale + self.shift


@register
class FrozenScale(Scale):
    """The same, one of the variables not trainable and made first."""

    def build(self, shape):
        self.shift = self.add_weight(name="shift", shape=(shape[-1],), initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")
        self.built = True


@register
class Experts(keras.layers.Layer):
    """Layers in a list and in a dict, variables in a list."""

    def __init__(self, count=3, **settings):
        super().__init__(**settings)
        self.count = count
        self.experts = [keras.layers.Dense(4, activation="tanh") for _ in range(count)]
        self.heads = {name: keras.layers.Dense(4) for name in ("zebra", "ant")}

    def build(self, shape):
        self.mix = [self.add_weight(name=f"mix_{number}", shape=(4,), initializer="ones") for number in range(self.count)]
        for expert in self.experts:
            expert.build(shape)
        for head in self.heads.values():
            head.build((shape[0], 4))
        super().build(shape)

    def call(self, inputs):
        mixed = tf.add_n([expert(inputs) * part for expert, part in zip(self.experts, self.mix, strict=True)])
        return self.heads["zebra"](mixed) - 2.0 * self.heads["ant"](mixed)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@register
class Remembers(keras.layers.Layer):
    """Keeps a table that is no variable, in the way Keras documents: save_own_variables and load_own_variables."""

    table = None

    def adapt(self, values):
        self.table = np.asarray(values, np.float32).mean(axis=0)

    def call(self, inputs):
        return inputs if self.table is None else inputs - self.table

    def save_own_variables(self, store):
        store["table"] = self.table

    def load_own_variables(self, store):
        self.table = np.array(store["table"])


@register
class FromAsset(keras.layers.Layer):
    """Keeps a factor in an asset file."""

    factor = 1.0

    def call(self, inputs):
        return inputs * self.factor

    def save_assets(self, folder):
        with open(os.path.join(folder, "factor.json"), "w", encoding="utf-8") as file:
            json.dump(float(self.factor), file)

    def load_assets(self, folder):
        with open(os.path.join(folder, "factor.json"), encoding="utf-8") as file:
            self.factor = json.load(file)


@register
class Whitens(keras.layers.Layer):
    """Derived state: what the graph reads is computed from the variable when it is loaded."""

    def build(self, shape):
        self.spread = self.add_weight(name="spread", shape=(shape[-1],), initializer="ones", trainable=False)
        self.factor = None
        super().build(shape)
        self.finalize_state()

    def adapt(self, values):
        self.spread.assign(np.asarray(values).std(axis=0) + 0.1)
        self.finalize_state()

    def finalize_state(self):
        self.factor = 1.0 / np.asarray(self.spread)

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.finalize_state()

    def call(self, inputs):
        return inputs * self.factor


@register
class Around(keras.layers.Layer):
    """Takes another layer as an argument, and a function by name."""

    def __init__(self, inner, activation="relu", **settings):
        super().__init__(**settings)
        self.inner = inner
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        self.inner.build(shape)
        self.built = True

    def call(self, inputs):
        return self.activation(self.inner(inputs)) + inputs

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner, "activation": keras.activations.serialize(self.activation)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("inner")), **config)


@register
class Forgets(keras.layers.Layer):
    """Its get_config loses an argument: no loader can know it."""

    def __init__(self, power=1.0, **settings):
        super().__init__(**settings)
        self.power = power

    def call(self, inputs):
        return inputs * self.power


@register
class Dense(keras.layers.Layer):
    """Named as Keras's own, and something else."""

    def call(self, inputs):
        return inputs * 3.0 + 1.0


@register
def relu(values):
    """Named as Keras's own, and something else."""
    return tf.nn.relu(values) * 0.5


@register
def bump(values):
    return tf.exp(-values * values)


@register
class MinimalCell(keras.layers.Layer):
    """A recurrent cell of the user's."""

    def __init__(self, units=4, **settings):
        super().__init__(**settings)
        self.units = self.state_size = self.output_size = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units))
        self.recurrent = self.add_weight(name="recurrent", shape=(self.units, self.units))
        self.built = True

    def call(self, inputs, states):
        answer = tf.tanh(tf.matmul(inputs, self.kernel) + tf.matmul(states[0], self.recurrent))
        return answer, [answer]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class Permutes(keras.layers.Layer):
    """Variables that are no floats, and one without axes."""

    def build(self, shape):
        self.order = self.add_weight(name="order", shape=(shape[-1],), dtype="int64", initializer="zeros", trainable=False)
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
        self.built = True

    def call(self, inputs):
        return tf.gather(inputs, tf.convert_to_tensor(self.order), axis=-1) * self.factor

    def compute_output_shape(self, shape):
        return shape


@register
class MeanOfKept(keras.layers.Layer):
    """Uses the mask that an embedding hands on."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return tf.reduce_mean(inputs, axis=1)
        kept = tf.cast(mask, inputs.dtype)[..., None]
        return tf.reduce_sum(inputs * kept, axis=1) / (tf.reduce_sum(kept, axis=1) + 1e-3)

    def compute_output_shape(self, shape):
        return (shape[0], shape[2])

    def compute_mask(self, inputs, mask=None):
        return None


@register
class RandomConstant(keras.layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.constant = np.random.default_rng().uniform(1.0, 9.0)

    def call(self, inputs):
        return inputs * self.constant


@register
class Untracked(keras.layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.factor = tf.Variable(1.0)

    def call(self, inputs):
        return inputs * self.factor
