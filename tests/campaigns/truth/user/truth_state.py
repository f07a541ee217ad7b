"""Models whose state is more than their variables, and models of a user's own code."""

from __future__ import annotations

from typing import Any

import numpy as np
import truth_layers
import truth_subclasses
from truth_models import ROWS, Made, architecture, chain, floats

WHOLE = ("keras", "h5", "zip", "saved_model")
ARCHIVES = ("keras", "zip", "saved_model")  # an HDF5 file has no place for this state


def _uneven(data: np.random.Generator, columns: int) -> np.ndarray:
    spread = np.array([1, 5, 50, 500][:columns])
    return (data.normal(size=(ROWS, columns)) * spread * data.uniform(0.5, 2.0, columns) + 6.0 * spread).astype(np.float32)


def _normalised(k: Any, values: np.ndarray, **settings: Any) -> Any:
    layer = k.layers.Normalization(**settings)
    layer.adapt(values)
    return layer


@architecture()
def normalization(k, data):
    values = _uneven(data, 4)
    made = chain(k, data, (4,), _normalised(k, values, name="norm"), k.layers.Dense(3, name="y"))
    return Made(model=made.model, columns={"x": values})


@architecture()
def normalization_nested(k, data):
    values = _uneven(data, 4)
    base = k.Sequential([k.Input((4,)), _normalised(k, values), k.layers.Dense(3, "relu")], name="backbone")
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, k.layers.Dense(2, name="y")(base(x))), columns={"x": values})


@architecture()
def normalization_nested_twice(k, data):
    values = _uneven(data, 4)
    inner = k.Sequential([k.Input((4,)), _normalised(k, values), k.layers.Dense(3, "relu")], name="inner")
    a = k.Input((4,))
    outer = k.Model(a, k.layers.Concatenate()([inner(a), k.layers.Dense(2)(a)]), name="outer")
    x = k.Input((4,), name="x")
    return Made(model=k.Model(x, k.layers.Dense(2, name="y")(outer(x))), columns={"x": values})


@architecture()
def normalization_whole_axis(k, data):
    values = _uneven(data, 3)
    made = chain(k, data, (3,), _normalised(k, values, axis=None), k.layers.Dense(2))
    return Made(model=made.model, columns={"x": values})


@architecture()
def normalization_two_axes(k, data):
    values = data.normal(2.0, 3.0, size=(ROWS, 4, 3)).astype(np.float32)
    return Made(
        model=chain(k, data, (4, 3), _normalised(k, values, axis=(1, 2)), k.layers.Flatten(), k.layers.Dense(2)).model,
        columns={"x": values},
    )


@architecture()
def normalization_inverted(k, data):
    made = chain(k, data, (4,), k.layers.Dense(4), _normalised(k, _uneven(data, 4), invert=True))
    return made


@architecture()
def normalization_given(k, data):
    return chain(k, data, (3,), k.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]), k.layers.Dense(2))


@architecture()
def discretization(k, data):
    layer = k.layers.Discretization(num_bins=4)
    layer.adapt(data.normal(size=(200, 1)).astype(np.float32))
    return chain(k, data, (3,), layer, k.layers.Embedding(5, 3), k.layers.Flatten(), k.layers.Dense(2))


@architecture()
def discretization_given(k, data):
    layer = k.layers.Discretization(bin_boundaries=[-0.5, 0.1, 0.7], output_mode="multi_hot")
    return chain(k, data, (3,), layer, k.layers.Dense(2))


@architecture()
def category_encoding(k, data):
    x = k.Input((1,), dtype="int64", name="x")
    hot = k.layers.CategoryEncoding(num_tokens=6, output_mode="one_hot")(x)
    return Made(model=k.Model(x, k.layers.Dense(2)(hot)), columns={"x": data.integers(0, 6, (ROWS, 1))})


def _words(data: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Words to adapt to, of an order of their own, and the rows."""
    known = data.permutation(["red", "green", "blue", "white", "black", "pink"])[:4]
    adapted = np.repeat(known, np.arange(len(known), 0, -1))
    return adapted, data.choice([*known, "nobody knows"], (ROWS, 1))


def _text(k: Any, data: np.random.Generator, layer: Any, *after: Any) -> Made:
    adapted, rows = _words(data)
    layer.adapt(adapted)
    x = k.Input((1,), dtype="string", name="words")
    y = layer(x)
    for one in after:
        y = one(y)
    return Made(model=k.Model(x, y), columns={"words": rows})


@architecture(is_lite=False)
def string_lookup(k, data):
    on = k.layers
    return _text(k, data, on.StringLookup(), on.Embedding(8, 3), on.Flatten(), on.Dense(2))


@architecture(is_lite=False)
def string_lookup_hot(k, data):
    return _text(k, data, k.layers.StringLookup(output_mode="multi_hot", num_oov_indices=2), k.layers.Dense(2))


@architecture(is_lite=False)
def string_lookup_given(k, data):
    on = k.layers
    x = k.Input((1,), dtype="string", name="words")
    known = [str(word) for word in data.permutation(["red", "green", "blue", "white"])]
    y = on.Dense(2)(on.Flatten()(on.Embedding(6, 3)(on.StringLookup(vocabulary=known)(x))))
    return Made(model=k.Model(x, y), columns={"words": data.choice([*known, "none"], (ROWS, 1))})


@architecture(is_lite=False)
def text_vectorization(k, data):
    on = k.layers
    return _text(k, data, on.TextVectorization(output_sequence_length=3), on.Embedding(9, 3), on.Flatten(), on.Dense(2))


@architecture(is_lite=False)
def text_vectorization_idf(k, data):
    return _text(k, data, k.layers.TextVectorization(output_mode="tf_idf", ngrams=2), k.layers.Dense(2))


@architecture(is_lite=False)
def integer_lookup(k, data):
    on = k.layers
    ids = data.permutation([101, 202, 303, 404, 10**12])[:4]
    layer = on.IntegerLookup()
    layer.adapt(np.repeat(ids, np.arange(4, 0, -1)))
    x = k.Input((1,), dtype="int64", name="ids")
    y = on.Dense(2)(on.Flatten()(on.Embedding(6, 3)(layer(x))))
    return Made(model=k.Model(x, y), columns={"ids": data.choice([*ids, 7], (ROWS, 1))})


@architecture(is_lite=False)
def hashing(k, data):
    on = k.layers
    x = k.Input((1,), dtype="string", name="words")
    y = on.Dense(2)(on.Flatten()(on.Embedding(5, 3)(on.Hashing(num_bins=5, salt=[13, 37])(x))))
    return Made(model=k.Model(x, y), columns={"words": _words(data)[1]})


@architecture(own_code=True)
def own_scale(k, data):
    return chain(k, data, (5,), truth_layers.Scale(), k.layers.Dense(3), truth_layers.FrozenScale())


@architecture(own_code=True)
def own_experts(k, data):
    return chain(k, data, (5,), truth_layers.Experts(2), k.layers.Dense(3))


@architecture(own_code=True, files=ARCHIVES)
def own_table(k, data):
    layer = truth_layers.Remembers(name="table")
    layer.adapt(data.normal(size=(9, 4)))
    return chain(k, data, (4,), layer, k.layers.Dense(3))


@architecture(own_code=True, files=ARCHIVES)
def own_asset(k, data):
    layer = truth_layers.FromAsset(name="asset")
    layer.factor = float(data.uniform(2, 5))
    return chain(k, data, (4,), layer, k.layers.Dense(3))


@architecture(own_code=True)
def own_derived(k, data):
    layer = truth_layers.Whitens(name="whitens")
    made = chain(k, data, (4,), layer, k.layers.Dense(3))
    layer.adapt(data.normal(size=(50, 4)) * data.uniform(0.5, 9.0, 4))
    return chain(k, data, (4,), layer, *made.model.layers[1:])


@architecture(own_code=True)
def own_around(k, data):
    inner = k.layers.Dense(4, "tanh", name="inner")
    return chain(k, data, (4,), truth_layers.Around(inner, truth_layers.bump), truth_layers.Around(k.layers.Dense(4), "gelu"))


@architecture(own_code=True)
def own_named_as_library(k, data):
    return chain(k, data, (4,), k.layers.Dense(4, "relu"), k.layers.ReLU(), k.layers.Dense(3, "gelu"))


@architecture(own_code=True, files=("keras", "zip"), only="keras")
def own_and_library_of_one_name(k, data):
    layers = [k.layers.Dense(4, "relu"), truth_layers.Dense(), k.layers.Dense(3, truth_layers.relu)]
    return chain(k, data, (4,), *layers)


@architecture(own_code=True)
def own_forgetful(k, data):
    return chain(k, data, (4,), truth_layers.Forgets(2.5), k.layers.Dense(3))


@architecture(own_code=True)
def own_cell(k, data):
    return chain(k, data, (5, 3), k.layers.RNN(truth_layers.MinimalCell(4)), k.layers.Dense(2))


@architecture(own_code=True, files=("keras", "zip", "weights_h5", "checkpoint", "saved_model"))
def own_subclassed(k, data):
    return Made(model=truth_subclasses.Subclassed(5), columns={"x": floats(data, 4)})


@architecture(own_code=True, files=("keras", "zip", "weights_h5", "checkpoint"))
def own_towers(k, data):
    high = {"user_id": data.integers(10**9, 2 * 10**9, (ROWS,)), "item_id": data.integers(10**8, 10**9, (ROWS,))}
    return Made(model=truth_subclasses.Towers(), columns=high, feed=lambda model, columns: model(columns))


@architecture(own_code=True, files=("keras", "zip", "weights_h5"))
def own_two_arguments(k, data):
    columns = {"image": floats(data, 4), "tabular": floats(data, 4)}
    feed = lambda model, columns: model(columns["image"], tabular=columns["tabular"])  # noqa: E731
    return Made(model=truth_subclasses.SideBySide(), columns=columns, feed=feed)


@architecture(own_code=True, files=("keras", "zip", "weights_h5", "checkpoint"))
def own_outputs(k, data):
    return Made(model=truth_subclasses.Outputs(), columns={"x": floats(data, 4)})
