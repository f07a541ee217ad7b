"""What TFX's tutorials call a module file: a preprocessing_fn for Transform, and a run_fn for a Trainer whose model embeds it."""

import os

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft


def preprocessing_fn(inputs):
    """Raw features -> features of the model."""
    return {"scaled": tft.scale_to_z_score(tf.reshape(inputs["x"], [-1, 4]))}


class Served(tf.Module):
    """A linear model behind the transform graph: serving_default takes serialized tf.Examples, `device` takes what was
    transformed.
    """

    def __init__(self, transform_output):
        self.transform = tft.TFTransformOutput(transform_output)
        self.layer = self.transform.transform_features_layer()
        self.raw_spec = self.transform.raw_feature_spec()
        weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
        self.weights = tf.Variable(weights)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        raw = tf.io.parse_example(examples, self.raw_spec)
        return self.device(self.layer(raw)["scaled"])

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="scaled")])
    def device(self, scaled):
        return {"scores": tf.nn.softmax(scaled @ self.weights)}


def run_fn(fn_args):
    """Called by Trainer: leaves a SavedModel in `Format-Serving`."""
    served = Served(fn_args.transform_output)
    os.makedirs(fn_args.serving_model_dir, exist_ok=True)
    tf.saved_model.save(served, fn_args.serving_model_dir, {"serving_default": served.serve, "device": served.device})
