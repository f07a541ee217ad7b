"""Models of every kind of inputs and outputs, with the answers that each gave before it was saved: `tensor_units` runs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MODULE = "tests.exporting.tensor_models"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
IDS = RNG.integers(10**9, 2 * 10**9, size=(30, 5))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A checkpoint, its sample columns, and what it answered: output -> array as `Calls.run` gives it, by the exported name."""

    path: str
    columns: Mapping[str, Any]
    answers: Mapping[str, Any]
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)


KINDS: dict[str, Callable[[Path], Kind]] = {}


def kind(function: Callable[[Path], Kind]) -> Callable[[Path], Kind]:
    KINDS[function.__name__] = function
    return function


def saved(folder: Path, model: Any, columns: Mapping[str, Any], answers: Mapping[str, Any], **more: Any) -> Kind:
    path = str(folder / "model.keras")
    model.save(path)
    return Kind(path=path, columns=columns, answers={name: array(value) for name, value in answers.items()}, **more)


def array(value: Any) -> np.ndarray:
    value = value.numpy() if hasattr(value, "numpy") else value
    return np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)


def per_call(*values: Any) -> np.ndarray:
    from liteferry.loading.call_groups import stack

    return stack([array(value) for value in values])


# --- outputs ---


@kind
def layer_called_twice(folder: Path) -> Kind:
    import keras

    a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    score, gap = keras.layers.Dense(3, name="dense"), keras.layers.Dense(3, name="dense_1")
    model = keras.Model([a, b], [score(a), score(b), gap(a - b)])
    y = model([X, X[::-1]])
    return saved(folder, model, {"left": X, "right": X[::-1]}, dict(zip(("dense", "dense_2", "dense_1"), y, strict=True)))


@kind
def states_of_a_recurrent_layer(folder: Path) -> Kind:
    import keras

    x = keras.Input((5, 3), name="x")
    model = keras.Model(x, keras.layers.LSTM(4, return_state=True, name="lstm")(x))
    rows = RNG.normal(size=(30, 5, 3)).astype(np.float32)
    return saved(folder, model, {"x": rows}, dict(zip(("lstm", "lstm_1", "lstm_2"), model(rows), strict=True)))


@kind
def nested_functional(folder: Path) -> Kind:
    import keras

    x = keras.Input((4,), name="x")
    a, b, c = (keras.layers.Dense(2, name=name)(x) for name in "abc")
    model = keras.Model(x, {"head": {"a": a, "more": [b, c]}, "a": c})
    y = model(X)
    return saved(
        folder,
        model,
        {"x": X},
        {"head/a": y["head"]["a"], "head/more/0": y["head"]["more"][0], "head/more/1": y["a"], "a": y["a"]},
    )


@kind
def input_and_twin_as_outputs(folder: Path) -> Kind:
    import keras

    x, key = keras.Input((4,), name="x"), keras.Input((1,), name="key", dtype="int64")
    score = keras.layers.Dense(3, name="score")(x)
    model = keras.Model([x, key], {"score": score, "again": score, "key_out": key})
    keys = np.arange(30)[:, None] + 2**40
    y = model([X, keys])
    return saved(folder, model, {"x": X, "key": keys}, {"score": y["score"], "again": y["score"], "key_out": keys})


def subclassed(name: str, answers: Callable[[Any], Mapping[str, Any]], *, rows: Any = X) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        from tests.exporting import tensor_models

        model = getattr(tensor_models, name)()
        return saved(folder, model, {"x": rows}, answers(model(rows)))

    return make


KINDS["nested_two_deep_with_none_and_clash"] = subclassed(
    "Nested",
    lambda y: {"head/a": y["head"]["a"], "head/more/0": y["head"]["more"][0], "head/a_1": y["head/a"]},
)
KINDS["lists_two_deep_with_none"] = subclassed(
    "Lists", lambda y: {"output_0": y[0], "output_1/0": y[1][0], "output_1/1/0": y[1][1][0]}
)
KINDS["namedtuple"] = subclassed("Named", lambda y: y._asdict())
KINDS["constants_and_scalars"] = subclassed(
    "Constants",
    lambda y: {name: value if name == "y" else per_call(value) for name, value in y.items()},
)
KINDS["ragged"] = subclassed(
    "Ragged",
    lambda y: {"y": y["y"], "big/values": per_call(y["big"].flat_values), "big/row_splits": per_call(y["big"].row_splits)},
)
SPARSE = ("indices", "values", "dense_shape")
KINDS["sparse"] = subclassed(
    "Sparse",
    lambda y: {"y": y["y"], **{f"few/{name}": per_call(getattr(y["few"], name)) for name in SPARSE}},
)
KINDS["detections"] = subclassed("Detections", lambda y: {name: per_call(value) for name, value in y.items()})
KINDS["types"] = subclassed("Types", dict)
KINDS["empty"] = subclassed("Empty", dict)


# --- batches ---


def fixed_batch(batch: int) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        import keras

        x = keras.Input((4,), batch_size=batch, name="x")
        flat = keras.ops.reshape(keras.layers.Dense(3)(x), (batch * 3,))
        model = keras.Model(x, keras.layers.Dense(2, name="y")(keras.ops.reshape(flat, (batch, 3))))
        whole = np.concatenate([X, np.repeat(X[-1:], -len(X) % batch, axis=0)])
        y = np.concatenate([model(whole[start : start + batch]) for start in range(0, len(whole), batch)])[: len(X)]
        return saved(folder, model, {"x": X}, {"y": y})

    return make


KINDS.update({f"batch_of_{batch}": fixed_batch(batch) for batch in (1, 4, 100)})


@kind
def squeezed_batch_of_1(folder: Path) -> Kind:
    import tensorflow as tf

    module = tf.Module()
    module.w = tf.Variable(RNG.normal(size=(4, 3)).astype(np.float32))
    spec = [tf.TensorSpec([1, 4], tf.float32, name="x")]
    module.f = tf.function(lambda x: {"y": tf.squeeze(x @ module.w, 0), "top": tf.reduce_max(x @ module.w)}, input_signature=spec)
    answers = [module.f(X[row : row + 1]) for row in range(30)]
    tf.saved_model.save(module, str(folder / "m"), signatures=module.f)
    stacked = {name: np.stack([one[name].numpy() for one in answers]) for name in ("y", "top")}
    return Kind(path=str(folder / "m"), columns={"x": X}, answers=stacked)


@kind
def detections_of_batch_1(folder: Path) -> Kind:
    import tensorflow as tf

    module = tf.Module()
    spec = [tf.TensorSpec([1, 4, 1], tf.float32, name="x")]
    module.f = tf.function(lambda x: {"found": tf.boolean_mask(x[0], x[0, :, 0] > 0.0)}, input_signature=spec)
    rows = X[:, :, None]
    tf.saved_model.save(module, str(folder / "m"), signatures=module.f)
    answers = per_call(*(module.f(rows[row : row + 1])["found"] for row in range(30)))
    return Kind(path=str(folder / "m"), columns={"x": rows}, answers={"found": answers})


def stateful(library: str, layer: str, batch: int) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        import importlib

        keras = importlib.import_module(library)
        x = keras.Input((5, 3), batch_size=batch, name="x")
        model = keras.Model(x, keras.layers.Dense(2, name="y")(getattr(keras.layers, layer)(4, stateful=True)(x)))
        rows, found = RNG.normal(size=(10, 5, 3)).astype(np.float32), []
        for start in range(0, 10, batch):
            piece = rows[start : start + batch]
            (one,) = [one for one in model.layers if type(one).__name__ == layer]
            one.reset_states() if library == "tf_keras" else one.reset_state()
            padded = np.concatenate([piece, np.repeat(piece[-1:], batch - len(piece), axis=0)])
            found.append(np.asarray(model(padded))[: len(piece)])
        return saved(folder, model, {"x": rows}, {"y": np.concatenate(found)})

    return make


KINDS["stateful_tf_keras"] = stateful("tf_keras", "LSTM", 1)
KINDS["stateful_keras"] = stateful("keras", "GRU", 4)


# --- inputs ---


def called(name: str, columns: Mapping[str, Any], call: Callable[[Any], Any], **more: Any) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        from tests.exporting import tensor_models

        model = getattr(tensor_models, name)()
        return saved(folder, model, columns, {"output_0": call(model)}, **more)

    return make


MASK = RNG.integers(0, 2, size=(30, 5)).astype(bool)
SIDE = RNG.normal(size=(30, 6)).astype(np.float32)
ROLES = {"x": X, "label": np.arange(30.0), "weight": np.ones(30), "id": np.arange(30)}
KINDS["big_ids"] = called("Ids", {"ids": IDS}, lambda model: model(IDS))
KINDS["mask_stays_away"] = called("Ids", {"ids": IDS, "mask": MASK}, lambda model: model(IDS))
KINDS["mask_is_asked_for"] = called(
    "Ids", {"ids": IDS, "mask": MASK}, lambda model: model(IDS, mask=MASK), inputs={"ids": "ids", "mask": "mask"}
)
KINDS["other_length_than_built"] = called("Ids", {"ids": IDS}, lambda model: (model(IDS[:, :2]), model(IDS))[1])
KINDS["nested_dict"] = called(
    "Features",
    {"user": IDS[:, 0], "price": X[:, :2]},
    lambda model: model({"price": X[:, :2], "ids": {"user": IDS[:, 0]}}),
)
KINDS["list_without_names"] = called("Pair", {"one": X, "two": X[::-1]}, lambda model: model([X, X[::-1]]))
KINDS["list_in_the_jobs_order"] = called(
    "Pair", {"one": X[::-1], "two": X}, lambda model: model([X, X[::-1]]), inputs={"two": "two", "one": "one"}
)
KINDS["two_arguments"] = called("TwoArguments", {"image": X, "tabular": SIDE}, lambda model: model(X, tabular=SIDE))
KINDS["second_argument_stays_away"] = called("TwoArguments", {"image": X}, lambda model: model(X))
KINDS["first_column_of_another_name"] = called(
    "TwoArguments", {"picture": X, "tabular": SIDE}, lambda model: model(X, tabular=SIDE)
)
KINDS["keyword_only"] = called("KeywordOnly", {"image": X, "tabular": SIDE}, lambda model: model(X, tabular=SIDE))
KINDS["roles_stay_away"] = called("Labelled", ROLES, lambda model: model(X))
KINDS["a_role_is_asked_for"] = called(
    "Labelled", ROLES, lambda model: model(X, weight=np.ones(30)), inputs={"x": "x", "weight": "weight"}
)
WORDS = np.array(["a", "dog", "größe", "x" * 9] * 6)
KINDS["text"] = called("Letters", {"text": WORDS}, lambda model: model(np.array([word.encode() for word in WORDS], object)))


def of_dtype(dtype: str) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        import keras
        import tensorflow as tf

        x = keras.Input((4,), name="x", dtype=dtype)
        model = keras.Model(x, keras.layers.Dense(2, name="y", dtype=dtype if dtype == "float64" else "float32")(x))
        rows = X.astype(np.float64) if dtype == "float64" else X
        return saved(folder, model, {"x": rows}, {"y": model(tf.cast(rows, dtype))})

    return make


KINDS.update({f"input_{dtype}": of_dtype(dtype) for dtype in ("float16", "bfloat16", "float64")})


@kind
def optional_input_stays_away(folder: Path) -> Kind:
    import keras

    x, more = keras.Input((4,), name="x"), keras.Input((4,), name="extra", optional=True)

    model = keras.Model({"x": x, "extra": more}, _add_if_there()(keras.layers.Dense(4)(x), more))
    return saved(folder, model, {"x": X}, {"add_if_there": model({"x": X, "extra": None})})


def _add_if_there() -> Any:
    from tests.exporting import tensor_layers

    return tensor_layers.AddIfThere(name="add_if_there")


@kind
def names_that_are_no_scopes(folder: Path) -> Kind:
    import keras

    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="größe y")(keras.layers.Flatten(name="flat it")(x)))
    return saved(folder, model, {"x": X}, {"größe y": model(X)})
