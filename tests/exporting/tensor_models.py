"""Classes of the models in `tensor_kinds`, in a module of their own: a checkpoint's code is named under `modules`."""

from __future__ import annotations

import collections
from typing import Any

import keras
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="tensor_models")
Detected = collections.namedtuple("Detected", ["boxes", "scores"])  # what people return


class Two(keras.Model):
    """Two Dense layers, of which the subclasses return something."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a, self.b = keras.layers.Dense(2, name="a"), keras.layers.Dense(3, name="b")


@register
class Nested(Two):
    def call(self, x: Any) -> Any:
        return {"head": {"a": self.a(x), "more": [self.b(x), None]}, "head/a": self.b(x) * 2.0}


@register
class Lists(Two):
    def call(self, x: Any) -> Any:
        return self.a(x), [self.b(x), (self.a(x) * 2.0,)], None


@register
class Named(Two):
    def call(self, x: Any) -> Any:
        return Detected(boxes=self.b(x), scores=self.a(x))


@register
class Constants(Two):
    def build(self, shape: Any) -> None:
        self.t = self.add_weight(shape=(3,), name="t", initializer="uniform")
        self.a.build(shape)
        self.built = True

    def call(self, x: Any) -> Any:
        y = self.a(x)
        return {
            "y": y,
            "prior": self.t * 2.0,
            "mean": keras.ops.mean(y),
            "rows": keras.ops.shape(x)[0],
            "version": tf.constant("v3"),
        }


@register
class Ragged(Two):
    def call(self, x: Any) -> Any:
        return {"y": self.a(x), "big": tf.ragged.boolean_mask(x, x > 0.0)}


@register
class Sparse(Two):
    def call(self, x: Any) -> Any:
        return {"y": self.a(x), "few": tf.sparse.from_dense(tf.nn.relu(x))}


@register
class Detections(Two):
    def call(self, x: Any) -> Any:
        y = self.b(x)
        return {"boxes": tf.boolean_mask(y, y[:, 0] > 0.0), "count": tf.reduce_sum(tf.cast(y[:, 0] > 0.0, tf.int32))}


@register
class Types(Two):
    def call(self, x: Any) -> Any:
        y = self.b(x)
        best = tf.argmax(y, -1)
        return {
            "best": best,
            "is_big": y > 0.5,
            "byte": tf.cast(tf.clip_by_value(y * 100.0, 0.0, 255.0), tf.uint8),
            "half": tf.cast(y, tf.bfloat16),
            "wave": tf.complex(y, -y),
            "label": tf.gather(tf.constant(["cat", "dog\0", "owl"]), best),
            "y": y,
        }


@register
class Empty(Two):
    def call(self, x: Any) -> Any:
        return {"y": self.a(x), "nothing": x[:, :0]}


@register
class Ids(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table, self.top = keras.layers.Embedding(97, 4), keras.layers.Dense(2)

    def call(self, ids: Any, mask: Any = None, training: bool = False) -> Any:
        y = self.table(keras.ops.mod(ids, 97))
        if mask is not None:
            y = y * keras.ops.cast(mask, "float32")[..., None]
        y = keras.ops.mean(y, axis=1) if len(y.shape) == 3 else y
        return self.top(y) + (100.0 if training else 0.0)


@register
class Features(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user, self.top = keras.layers.Embedding(97, 4), keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        price, user = inputs["price"], inputs["ids"]["user"]
        return self.top(keras.ops.concatenate([price, self.user(keras.ops.mod(user, 97))], axis=-1))


@register
class Pair(Two):
    def call(self, inputs: Any) -> Any:
        left, right = inputs
        return self.a(left) - 2.0 * self.a(right)


@register
class TwoArguments(Two):
    def call(self, image: Any, tabular: Any = None) -> Any:
        y = self.a(image)
        return y if tabular is None else y + keras.ops.tanh(self.b(tabular))[:, :2]


@register
class KeywordOnly(Two):
    def call(self, image: Any, *, tabular: Any, scale: float = 2.0) -> Any:
        return self.a(image) * scale + self.b(tabular)[:, :2]


@register
class Labelled(Two):
    """As losses inside of models are written: what belongs to training has a default."""

    def call(self, x: Any, label: Any = None, weight: Any = None, id: Any = None) -> Any:
        y = self.a(x)
        for more in (label, weight, id):
            y = y if more is None else y + keras.ops.cast(more, "float32")[:, None]
        return y


@register
class Letters(keras.Model):
    def call(self, text: Any) -> Any:
        return tf.cast(tf.strings.length(text), tf.float32)[:, None] * 0.5
