"""A user's own models: subclassed, of several arguments and outputs, with layers in lists and dicts. Written for Keras 3; for
Keras 2 the import line changes.
"""

from __future__ import annotations

import keras
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="truth")


@register
class Subclassed(keras.Model):
    """One input, one output."""

    def __init__(self, units=5, **settings):
        super().__init__(**settings)
        self.units = units
        self.first, self.second = keras.layers.Dense(units, activation="relu"), keras.layers.Dense(units)
        self.norm = keras.layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.norm(self.second(self.first(inputs)), training=training)

    def get_config(self):
        return {"units": self.units}


@register
class Towers(keras.Model):
    """A dict in, a nested dict out; integer ids; a layer that is called twice."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.embedding = keras.layers.Embedding(50, 4)
        self.shared, self.top = keras.layers.Dense(4), keras.layers.Dense(2)

    def call(self, inputs):
        user, item = (self.shared(self.embedding(inputs[name] % 50)) for name in ("user_id", "item_id"))
        return {"scores": {"user": self.top(user), "item": self.top(item)}, "distance": tf.reduce_sum(user * item, axis=-1)}


@register
class SideBySide(keras.Model):
    """Two arguments, the second optional."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.left, self.right = keras.layers.Dense(3), keras.layers.Dense(3, activation="tanh")

    def call(self, image, tabular=None):
        answer = self.left(image)
        return answer if tabular is None else answer + self.right(tabular)


@register
class Outputs(keras.Model):
    """A tuple of a vector, whole numbers and a copy of the input."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.top = keras.layers.Dense(3)

    def call(self, inputs):
        scores = self.top(inputs)
        return scores, tf.argmax(scores, axis=-1), inputs


@register
class Functional(keras.Model):
    """A subclass that is put together like a Functional model."""

    def __init__(self, units=4, **settings):
        x = keras.Input((4,), name="x")
        hidden = keras.layers.Dense(units, activation="tanh", name="hidden")(x)
        super().__init__(x, keras.layers.Dense(2, name="y")(hidden), **settings)
        self.units = units

    def get_config(self):
        return {"units": self.units}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@register
class Block(keras.layers.Layer):
    """Layers in a list, of which some are there twice."""

    def __init__(self, depth=2, **settings):
        super().__init__(**settings)
        self.depth = depth
        shared = keras.layers.Dense(4, activation="tanh")
        self.parts = [shared, keras.layers.LayerNormalization(), shared, *[keras.layers.Dense(4) for _ in range(depth)]]

    def build(self, shape):
        for part in self.parts:
            if not part.built:
                part.build(shape)
        self.built = True

    def call(self, inputs):
        for part in self.parts:
            inputs = inputs + part(inputs)
        return inputs

    def get_config(self):
        return {**super().get_config(), "depth": self.depth}


@register
class Deep(keras.Model):
    """Blocks in a list and in a dict, three levels down."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.blocks = [Block(1), Block(2)]
        self.heads = {
            "b": keras.layers.Dense(2),
            "a": keras.Sequential([keras.layers.Dense(3), keras.layers.BatchNormalization()]),
        }

    def call(self, inputs, training=None):
        for block in self.blocks:
            inputs = block(inputs)
        return {"b": self.heads["b"](inputs), "a": self.heads["a"](inputs, training=training)}
