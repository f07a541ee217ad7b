"""Graphs that reach out of themselves: operations, functions in every hiding place, tables over files, links."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.checkpoints.hostile_classes import Writer


def write(writer: Writer) -> None:
    """Adds one folder for each."""
    import tensorflow as tf

    secret, marker = str(writer.canary / "secret.txt"), str(writer.canary / "marker_graph")
    raw = tf.raw_ops
    nested = _dataset_graph(tf.data.TextLineDataset([secret]))

    def numbers(text: Any) -> Any:
        return tf.cast(tf.io.decode_raw(tf.strings.substr(text, 0, 18), tf.uint8), tf.float32)

    def table(_: Any) -> Any:
        handle = raw.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string, shared_name="t")
        settings = {"key_index": -1, "value_index": -2, "vocab_size": -1, "delimiter": "\t"}
        raw.InitializeTableFromTextFileV2(table_handle=handle, filename=secret, **settings)
        return numbers(raw.LookupTableFindV2(table_handle=handle, keys=tf.constant([0], tf.int64), default_value="?")[0])

    def files(operation: Any) -> Callable[[Any], Any]:
        def body(_: Any) -> Any:
            dataset = operation(patterns=[f"{writer.canary}/secret*"])
            return numbers(raw.DatasetToSingleElement(dataset=dataset, output_types=[tf.string], output_shapes=[[]])[0])

        return body

    def opened(x: Any) -> Any:
        text = tf.strings.join([tf.constant(nested), tf.strings.substr(tf.strings.as_string(x[0, 0]), 0, 0)])
        dataset = raw.DatasetFromGraph(graph_def=text)
        return numbers(raw.DatasetToSingleElement(dataset=dataset, output_types=[tf.string], output_shapes=[[]])[0])

    def restored(_: Any) -> Any:
        return raw.RestoreV2(prefix=secret, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0] + tf.zeros([18])

    def in_a_loop(x: Any) -> Any:
        return tf.while_loop(lambda i: i < 1, lambda i: (i + tf.strings.length(tf.io.read_file(secret)),), (0,))[0] + tf.zeros(
            [18], tf.int32
        )

    def in_a_map(x: Any) -> Any:
        return tf.map_fn(lambda _: numbers(tf.io.read_file(secret)), x, fn_output_signature=tf.float32)[0]

    def in_a_branch(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 1e9, lambda: numbers(tf.io.read_file(secret)), lambda: tf.zeros([18]))

    bodies: dict[str, tuple[Callable[[Any], Any], str]] = {
        "immutable_const": (
            lambda _: tf.cast(raw.ImmutableConst(dtype=tf.uint8, shape=[18], memory_region_name=secret), tf.float32),
            "ImmutableConst",
        ),
        "read_file": (lambda _: numbers(tf.io.read_file(secret)), "ReadFile"),
        "write_file": (lambda x: _after(tf, tf.io.write_file(marker, "x"), x), "WriteFile"),
        "table_from_a_path": (table, "InitializeTableFromTextFileV2"),
        "matching_files": (files(raw.MatchingFilesDataset), "MatchingFilesDataset"),
        "matching_files_experimental": (files(raw.ExperimentalMatchingFilesDataset), "ExperimentalMatchingFilesDataset"),
        "dataset_from_a_graph": (opened, "DatasetFromGraph"),
        "restored_from_a_path": (restored, "RestoreV2"),
        "python_function": (lambda x: tf.py_function(lambda v: v, [tf.zeros([18])], tf.float32), "EagerPyFunc"),
        "printed_into_a_file": (lambda x: _after(tf, tf.print("x", output_stream=f"file://{marker}"), x), "PrintV2"),
        "read_in_a_branch": (in_a_branch, "ReadFile"),
        "read_in_a_loop": (in_a_loop, "ReadFile"),
        "read_in_a_map": (in_a_map, "ReadFile"),
        "dumped": (lambda x: _dumped(tf, x, marker), "DumpTensor"),
    }
    for name, (body, operation) in bodies.items():
        _save(tf, writer, f"graph_{name}", body)
        writer.cases[f"graph_{name}"] = _case(f"graph_{name}", operation, "file_ops")
    _links(tf, writer)
    _second_graph(tf, writer)
    _functions_by_other_names(writer, marker)


def _case(name: str, says: str, trust: str = "") -> dict[str, Any]:
    return {"file": name, "codes": ("LOAD_UNSAFE",), "says": says, "trust": trust}


def _dataset_graph(dataset: Any) -> bytes:
    import tensorflow as tf

    graph = tf.raw_ops.DatasetToGraphV2(
        input_dataset=dataset._variant_tensor, external_state_policy=0, strip_device_assignment=True
    )
    return bytes(graph.numpy())


def _after(tf: Any, operation: Any, x: Any) -> Any:
    with tf.control_dependencies([operation]):
        return tf.zeros([18]) + 0 * tf.reduce_sum(x)


def _dumped(tf: Any, x: Any, folder: str) -> Any:
    """An operation without a Python wrapper."""
    from tensorflow.python.framework import ops

    value = tf.compat.v1.AttrValue
    texts = {"log_dir_path": folder, "tensor_name": "t", "func_name": "f", "node_name": "n", "file_name": "marker_dump"}
    attributes = {"T": value(type=1), "enabled": value(b=True), **{key: value(s=text.encode()) for key, text in texts.items()}}
    dump = ops.get_default_graph().create_op("DumpTensor", [tf.identity(x)], [], name="dump", attrs=attributes)
    return _after(tf, dump, x)


def _save(tf: Any, writer: Writer, name: str, body: Callable[[Any], Any]) -> None:
    module = tf.Module()
    module.v = tf.Variable(tf.ones([3, 2]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x: Any) -> Any:
        return {"y": tf.matmul(x, module.v), "leak": tf.zeros([tf.shape(x)[0], 18]) + tf.cast(body(x), tf.float32)}

    tf.saved_model.save(module, str(writer.out / name), signatures={"serving_default": serve})


def _links(tf: Any, writer: Writer) -> None:
    """Links that a pattern or a folder turns up, to models that nobody named."""
    elsewhere = writer.out.parent / "elsewhere"
    elsewhere.mkdir()
    _save(tf, writer, "plain", lambda x: tf.zeros([18]))
    shutil.move(writer.out / "plain", elsewhere / "saved")
    (elsewhere / "other.keras").write_bytes(writer.base["k3.keras"])
    (elsewhere / "other.h5").write_bytes(writer.base["k2.h5"])
    for name, target in (
        ("link_to_an_archive.keras", "other.keras"),
        ("link_to_hdf5.h5", "other.h5"),
        ("link_to_a_folder", "saved"),
    ):
        os.symlink(elsewhere / target, writer.out / name)
        writer.cases[name.partition(".")[0]] = _case(name, "is a link to", "links")
    shutil.copytree(elsewhere / "saved", writer.out / "linked_variables")
    shutil.rmtree(writer.out / "linked_variables" / "variables")
    os.symlink(elsewhere / "saved" / "variables", writer.out / "linked_variables" / "variables")
    writer.cases["linked_variables"] = _case("linked_variables", "is a link to", "links")
    shutil.copytree(elsewhere / "saved", writer.out / "linked_asset")
    (writer.out / "linked_asset" / "assets").mkdir(exist_ok=True)
    os.symlink(writer.canary / "secret.txt", writer.out / "linked_asset" / "assets" / "words.txt")
    writer.cases["linked_asset"] = _case("linked_asset", "is a link to", "links")

    with zipfile.ZipFile(io.BytesIO(writer.base["k3.keras"])) as archive:
        (writer.out / "linked_beside.weights.h5").write_bytes(archive.read("model.weights.h5"))
    os.symlink(writer.canary / "secret.txt", writer.out / "linked_beside.json")  # where its architecture would be
    writer.cases["linked_beside"] = _case("linked_beside.weights.h5", "is a link to", "links")


def _functions_by_other_names(writer: Writer, marker: str) -> None:
    """Functions that TensorFlow would run for another: swapped for what implements the same, or under an operation's name."""
    from tensorflow.core.protobuf import saved_model_pb2

    swapped, named = "graph_swapped_function", "graph_function_named_as_an_operation"
    for name in (swapped, named):
        shutil.copytree(writer.out.parent / "elsewhere" / "saved", writer.out / name)
        place = writer.out / name / "saved_model.pb"
        saved_model = saved_model_pb2.SavedModel.FromString(place.read_bytes())
        library = saved_model.meta_graphs[0].graph_def.library
        if name == swapped:
            served = next(function for function in library.function if "inference_serve" in function.signature.name)
            _writes(library, served, marker, name="implements_the_same")
            for function, device in ((served, b"GPU"), (library.function[-1], b"CPU")):
                function.attr["api_implements"].s, function.attr["api_preferred_device"].s = b"same", device
        else:
            _writes(library, None, marker, name="WriteFile")
        place.write_bytes(saved_model.SerializeToString())
    writer.cases[swapped] = _case(swapped, "WriteFile", "file_ops")
    writer.cases[named] = _case(named, "functions under the names of operations")


def _writes(library: Any, like: Any, marker: str, *, name: str) -> None:
    """A function that writes a file, with the signature of another one."""
    function = library.function.add()
    if like is not None:
        function.CopyFrom(like)
    function.signature.name = name
    for node, text in (("path", marker), ("content", "x")):
        constant = function.node_def.add(name=node, op="Const")
        constant.attr["dtype"].type = constant.attr["value"].tensor.dtype = 7
        constant.attr["value"].tensor.tensor_shape.SetInParent()
        constant.attr["value"].tensor.string_val.append(text.encode())
    function.node_def.add(name="evil", op="WriteFile").input.extend(["path:output:0", "content:output:0"])
    function.control_ret["evil"] = "evil"
    function.signature.control_output.append("evil")


def _second_graph(tf: Any, writer: Writer) -> None:
    """TensorFlow prefers `saved_model.cpb` to `saved_model.pb`."""
    place = writer.out / "two_graphs"
    shutil.copytree(Path(writer.out.parent / "elsewhere" / "saved"), place)
    (place / "saved_model.cpb").write_bytes(b"another graph")
    writer.cases["two_graphs"] = _case("two_graphs", "saved_model.cpb")
