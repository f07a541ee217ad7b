"""Writes models of other packages than Keras, as their own code does, into argv[1]: KerasHub's tasks and backbones as presets and
as an archive; Orbax folders of Keras's callback; a SavedModel with an operation of TensorFlow Text.

Beside each: NAME_rows.npz with its inputs, and NAME_expected.npz with the live model's answers.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf
import tensorflow_text

RNG = np.random.default_rng(0)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox"]


def keep(out: str, name: str, model: Any, rows: dict[str, Any]) -> None:
    inputs = next(iter(rows.values())) if len(rows) == 1 else rows
    np.savez(f"{out}/{name}_rows.npz", **rows)
    np.savez(f"{out}/{name}_expected.npz", answers=np.asarray(model(inputs, training=False)))


def write_presets(out: str) -> None:
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        use_pre_activation=False,
        image_shape=(16, 16, 3),
    )
    converter = keras_hub.layers.ResNetImageConverter(image_size=(16, 16))
    preprocessor = keras_hub.models.ResNetImageClassifierPreprocessor(image_converter=converter)
    task = keras_hub.models.ResNetImageClassifier(backbone=backbone, num_classes=3, preprocessor=preprocessor)
    images = {"image": RNG.uniform(0, 1, (32, 16, 16, 3)).astype(np.float32)}
    task.save_to_preset(f"{out}/image_task")
    backbone.save_to_preset(f"{out}/image_backbone")
    keep(out, "image_task", task, images)
    keep(out, "image_backbone", backbone, images)

    tokenizer = keras_hub.models.BertTokenizer(vocabulary=VOCABULARY)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=9, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=8
    )
    task = keras_hub.models.BertTextClassifier(backbone=backbone, num_classes=2, preprocessor=preprocessor)
    tokens = {
        "token_ids": RNG.integers(0, 9, (32, 8)).astype(np.int32),
        "segment_ids": np.zeros((32, 8), np.int32),
        "padding_mask": np.ones((32, 8), np.int32),
    }
    task.save_to_preset(f"{out}/text_task")
    task.save(f"{out}/text_archive.keras")
    keep(out, "text_task", task, tokens)
    keep(out, "text_archive", task, tokens)


def dense_model() -> Any:
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, "relu", name="hidden")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, "softmax", name="scores")(keras.layers.Dropout(0.3)(hidden)))


def nested_model() -> Any:
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh"), keras.layers.LayerNormalization()], name="enc")
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, keras.layers.Dense(3, name="scores")(encoder(inputs)))


def write_orbax(out: str) -> None:
    rows = {"x": RNG.normal(size=(64, 4)).astype(np.float32)}
    labels = RNG.integers(0, 3, 64)
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "orbax_whole": (dense_model, {"max_to_keep": 3}),
        "orbax_nested": (nested_model, {}),
        "orbax_weights": (dense_model, {"save_weights_only": True}),
    }
    for name, (build, settings) in kinds.items():
        model = build()
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=name == "orbax_nested"))
        callback = keras.callbacks.OrbaxCheckpoint(f"{out}/{name}", **settings)
        model.fit(rows["x"], labels, epochs=3, verbose=0, callbacks=[callback])
        keep(out, name, model, rows)


class Words(tf.Module):
    """Scores texts by their words."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(RNG.normal(size=(16, 2)).astype(np.float32))
        self.tokenizer = tensorflow_text.WhitespaceTokenizer()

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def score(self, text: Any) -> Any:
        words = self.tokenizer.tokenize(text)
        ids = tf.ragged.map_flat_values(tf.strings.to_hash_bucket_fast, words, 16)
        return {"scores": tf.reduce_sum(tf.gather(self.weights, ids), axis=1)}


def write_text(out: str) -> None:
    model = Words()
    tf.saved_model.save(model, f"{out}/words", signatures={"serving_default": model.score})
    texts = np.array(["the quick fox", "brown", "a fox a fox", "the"] * 8)
    np.savez(f"{out}/words_rows.npz", text=texts)
    np.savez(f"{out}/words_expected.npz", answers=model.score(tf.constant(texts))["scores"].numpy())


if __name__ == "__main__":
    folder = os.path.abspath(sys.argv[1])  # Orbax takes no other
    os.makedirs(folder, exist_ok=True)
    write_presets(folder)
    write_orbax(folder)
    write_text(folder)
