"""A layer whose code the demo's job file does not list."""

import keras


@keras.saving.register_keras_serializable(package="strangers")
class SecretSauce(keras.layers.Layer):
    """Broken on purpose: nobody has the code of this class any more."""

    def call(self, inputs):
        return inputs * 2.0
