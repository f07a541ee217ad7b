"""The demo user's own code: what a team would keep beside its checkpoints and name under `modules` in the job file."""

import os

import keras


@keras.saving.register_keras_serializable(package="digits")
class LearnedContrast(keras.layers.Layer):
    """Scales its input by one learned factor per channel."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.start)
        self.factor = self.add_weight(name="factor", shape=(input_shape[-1],), initializer=initializer)

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@keras.saving.register_keras_serializable(package="digits")
class DigitNet(keras.Model):
    """A subclassed model around a custom layer."""

    def __init__(self, units=64, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.contrast = LearnedContrast(start=1.5)
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.dropout = keras.layers.Dropout(0.2)
        self.digit = keras.layers.Dense(10, activation="softmax")

    def call(self, image, training=None):
        hidden = self.hidden(self.flatten(self.contrast(image)))
        return self.digit(self.dropout(hidden, training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def build_compact(units):
    """The model whose checkpoint holds weights only."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )


@keras.saving.register_keras_serializable(package="digits")
class RestlessNoise(keras.layers.Layer):
    """Broken on purpose: an augmentation that ignores `training`."""

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs), stddev=0.2)


@keras.saving.register_keras_serializable(package="digits")
class AbortsWhenTraced(keras.layers.Layer):
    """Broken on purpose: brings its process down, as the converter's native code sometimes does."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs):
        os.abort()
