"""A layer of somebody else's, which the demo's job file does not offer."""

import keras


@keras.saving.register_keras_serializable(package="strangers")
class SecretSauce(keras.layers.Layer):
    """Broken on purpose: nobody has the code of this class any more."""

    def call(self, inputs):
        return inputs * 2.0
