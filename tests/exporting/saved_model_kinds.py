"""SavedModels as others write them, for `tensor_units`: tag sets, ranks, TensorFlow 1's variables and tables, state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.exporting.tensor_kinds import KINDS, RNG, Kind, X, array, kind, per_call

W = RNG.normal(size=(4, 3)).astype(np.float32)


def module(folder: Path, call: Callable[..., Any], spec: list[Any], rows: dict[str, Any], **more: Any) -> Kind:
    import tensorflow as tf

    owner = tf.Module()
    owner.f = tf.function(call, input_signature=spec, **more.pop("function", {}))
    for name, value in more.pop("attributes", {}).items():
        setattr(owner, name, value)
    tf.saved_model.save(owner, str(folder / "m"), signatures=owner.f)
    answers = {name: array(value) for name, value in owner.f(*rows.values()).items()}
    scalars = {name: per_call(value) if value.ndim == 0 or len(value) != 30 else value for name, value in answers.items()}
    return Kind(path=str(folder / "m"), columns=rows, answers=scalars)


@kind
def unknown_rank(folder: Path) -> Kind:
    import tensorflow as tf

    call = lambda x: {"y": tf.reshape(x, [tf.shape(x)[0], -1])[:, :2] * 3.0}  # noqa: E731
    return module(folder, call, [tf.TensorSpec(None, name="x")], {"x": X})


@kind
def compiled_by_xla(folder: Path) -> Kind:
    import tensorflow as tf

    w = tf.Variable(W)
    call = lambda x: {"y": tf.nn.softmax(x @ w)}  # noqa: E731
    return module(
        folder, call, [tf.TensorSpec([None, 4], name="x")], {"x": X}, function={"jit_compile": True}, attributes={"w": w}
    )


@kind
def class_names_and_scalars(folder: Path) -> Kind:
    import tensorflow as tf

    def call(x: Any) -> Any:
        return {
            "y": x @ W,
            "classes": tf.constant(["cat", "dog", "owl\0"]),
            "version": tf.constant("v3"),
            "n": tf.shape(x)[0],
            "w": W,
        }

    return module(folder, call, [tf.TensorSpec([None, 4], name="x")], {"x": X})


@kind
def wide_and_narrow_types(folder: Path) -> Kind:
    import tensorflow as tf

    def call(x: Any, u: Any, b: Any) -> Any:
        return {"y": tf.cast(u, tf.float64) * x + tf.cast(b[:, None], tf.float64), "n": tf.shape(x)[0]}

    spec = [
        tf.TensorSpec([None, 4], tf.float64, name="x"),
        tf.TensorSpec([None, 4], tf.uint8, name="u"),
        tf.TensorSpec([None], tf.bool, name="b"),
    ]
    rows = {"x": X.astype(np.float64), "u": RNG.integers(0, 255, (30, 4)).astype(np.uint8), "b": X[:, 0] > 0}
    return module(folder, call, spec, rows)


# --- what is refused ---


@kind
def pieces_of_a_ragged_tensor(folder: Path) -> Kind:
    import tensorflow as tf

    owner = tf.Module()
    spec = [tf.RaggedTensorSpec([None, None], tf.float32, row_splits_dtype=tf.int64)]
    owner.f = tf.function(lambda r: {"y": tf.reduce_sum(r, axis=1)}, input_signature=spec)
    tf.saved_model.save(owner, str(folder / "m"), signatures=owner.f.get_concrete_function())
    return Kind(path=str(folder / "m"), columns={"r": X}, answers={"y": X.sum(1)})


@kind
def inputs_of_different_batches(folder: Path) -> Kind:
    import tensorflow as tf

    def call(x: Any, anchors: Any) -> Any:
        return {"y": x, "z": anchors}

    owner = tf.Module()
    spec = [tf.TensorSpec([4, 4], name="x"), tf.TensorSpec([9, 4], name="anchors")]
    owner.f = tf.function(call, input_signature=spec)
    tf.saved_model.save(owner, str(folder / "m"), signatures=owner.f)
    return Kind(path=str(folder / "m"), columns={"x": X, "anchors": X}, answers={"y": X})


# --- TensorFlow 1 ---


def graph(build: Callable[[Any, Any], tuple[dict[str, Any], dict[str, Any]]], rows: dict[str, Any]) -> Callable[[Path], Kind]:
    """`build`: v1 and the folder -> placeholders and outputs by name, in a graph of TensorFlow 1's own ways."""

    def make(folder: Path) -> Kind:
        import tensorflow as tf

        v1 = tf.compat.v1
        with v1.Graph().as_default(), v1.Session() as session:
            inputs, outputs = build(v1, folder)
            session.run([v1.global_variables_initializer(), v1.local_variables_initializer(), v1.tables_initializer()])
            for operation in v1.get_collection("before_saving"):
                session.run(operation)
            fill = v1.tables_initializer(name="fill") if v1.get_collection(v1.GraphKeys.TABLE_INITIALIZERS) else None
            v1.saved_model.simple_save(session, str(folder / "m"), inputs, outputs, legacy_init_op=fill)
            answers = session.run(outputs, {inputs[name]: value for name, value in rows.items()})
        return Kind(path=str(folder / "m"), columns=rows, answers=answers)

    return make


def _ref(v1: Any, folder: Path) -> Any:
    x = v1.placeholder(v1.float32, [None, 4], name="x")
    k = v1.get_variable("k", initializer=W, use_resource=False)
    step = v1.get_variable("step", initializer=np.int64(0), use_resource=False, trainable=False)
    v1.add_to_collection("before_saving", v1.assign_add(k, v1.ones_like(k) * 0.25))
    v1.train.MomentumOptimizer(0.1, 0.9).minimize(v1.reduce_sum(v1.matmul(x, k) ** 2), global_step=step)
    return {"x": x}, {"y": v1.nn.tanh(v1.matmul(x, k))}


def _both(v1: Any, folder: Path) -> Any:
    x = v1.placeholder(v1.float32, [None, 4], name="x")
    k = v1.get_variable(
        "k",
        W.shape,
        initializer=v1.random_normal_initializer(seed=1),
        use_resource=False,
        partitioner=v1.fixed_size_partitioner(2),
    )
    b = v1.get_variable("b", initializer=W[0], use_resource=True)
    return {"x": x}, {"y": v1.matmul(x, v1.convert_to_tensor(k)) + b}


def _tables(v1: Any, folder: Path) -> Any:
    import tensorflow as tf

    (folder / "words.txt").write_text("a\ndog\nx")
    text = v1.placeholder(tf.string, [None], name="text")
    index = tf.lookup.TextFileIndex
    filled = tf.lookup.TextFileInitializer(str(folder / "words.txt"), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)
    table = tf.lookup.StaticVocabularyTable(filled, 1)
    embedding = v1.get_variable("embedding", initializer=W, use_resource=False)
    return {"text": text}, {"y": v1.nn.embedding_lookup(embedding, table.lookup(text))}


KINDS["ref_variables"] = graph(_ref, {"x": X})
KINDS["ref_variables_in_parts_beside_resources"] = graph(_both, {"x": X})
KINDS["ref_variables_and_tables"] = graph(_tables, {"text": np.array(["a", "dog", "owl"] * 10)})


def tag_sets(*sets: list[str]) -> Callable[[Path], Kind]:
    """Graphs with these tags; those with `train` normalise with the batch, the others with what was learned."""

    def make(folder: Path) -> Kind:
        import tensorflow as tf

        v1 = tf.compat.v1
        builder = v1.saved_model.Builder(str(folder / "m"))
        for number, tags in enumerate(sets):
            with v1.Graph().as_default(), v1.Session() as session:
                x = v1.placeholder(tf.float32, [None, 4], name="x")
                mean = v1.get_variable("mean", [4], initializer=v1.constant_initializer(0.5))
                m = tf.reduce_mean(x, 0) if "train" in tags else mean
                y = (x - m) * (7.0 if "gpu" in tags else 1.0) + 0.0 * mean
                session.run(v1.global_variables_initializer())
                signature = {"default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})}
                if number:
                    builder.add_meta_graph(tags, signature_def_map=signature)
                else:
                    builder.add_meta_graph_and_variables(session, tags, signature_def_map=signature)
        builder.save()
        return Kind(path=str(folder / "m"), columns={"x": X}, answers={"y": X - 0.5})

    return make


KINDS["tags_of_a_hub_module"] = tag_sets(["train"], [])
KINDS["tags_to_serve"] = tag_sets(["train"], ["serve", "gpu"], ["serve"], ["serve", "train"])
KINDS["tags_of_its_own"] = tag_sets(["train", "mine"], ["mine"])
