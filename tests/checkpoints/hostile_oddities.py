"""Hostile forms of a name and of a file: spellings, wrappers, containers; pipes, sockets, holes, graphs that nobody reaches."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tests.checkpoints.hostile_classes import REFUSED, a_lambda, bytecode, dense, function, of_class, with_layer

if TYPE_CHECKING:
    from tests.checkpoints.hostile_classes import Node, Writer

_NO_FILE = ("LOAD_UNSUPPORTED", "LOAD_CORRUPT")
_SPARSE_BYTES = 2**43
# A function that nobody knows may be the user's: then it is what the layer is called on that is refused.
_BY_ITS_TEXT = "which no layer takes"


def write(writer: Writer) -> None:
    """Adds all of them."""
    for base in ("k2", "k3"):
        for ending in ("keras", "h5"):
            _spellings(writer, base, ending)
            _wrappers(writer, base, ending)
    _files(writer)
    _unreached(writer)


def _spellings(writer: Writer, base: str, ending: str) -> None:
    """Names that only look like listed ones, or are written where another would be looked up."""
    root = "keras" if base == "k3" else "tf_keras"
    payload = writer.payload("spelling")
    called: dict[str, tuple[Node, str]] = {
        "module_null": (function(None, "exec"), _BY_ITS_TEXT),
        "module_empty": (function("", "exec"), _BY_ITS_TEXT),
        "module_upper_case": (function("BUILTINS", "exec"), _BY_ITS_TEXT),
        "module_of_the_same_name": (function("keras_exec.layers", "exec"), _BY_ITS_TEXT),
        "module_below_keras": (function(f"{root}.src.utils.file_utils", "get_file"), "get_file"),
        "module_of_a_module": (function(f"{root}.src.saving.serialization_lib.builtins", "exec"), "exec"),
        "name_with_a_dot": (function(f"{root}.ops", "src.saving.load_model"), "load_model"),
        "name_in_capitals": (function("builtins", "EXEC"), _BY_ITS_TEXT),
        "name_with_an_invisible_letter": (function("builtins", "ex\u200bec"), "ex"),
        "name_in_fullwidth_letters": (function("builtins", "\uff45xec"), _BY_ITS_TEXT),
        "registered_of_a_package": (function("builtins", "relu", "builtins>exec"), "builtins>exec"),
        "class_called_function": ({"class_name": "function", "config": {"name": "exec"}, "module": "builtins"}, "function"),
        "class_under_another_key": ({"class_name": "Dense", "module": f"{root}.utils", "config": {}}, "Dense"),
    }
    for name, (node, says) in called.items():
        config = with_layer(base, writer.config(f"{base}.{ending}"), a_lambda(base, node), payload)
        content = writer.with_config(f"{base}.{ending}", config)
        writer.add(f"{name}_{base}_{ending}", f".{ending}", content, says=says, codes=REFUSED)


def _wrappers(writer: Writer, base: str, ending: str) -> None:
    """Bytecode and foreign classes inside layers that hold layers, and inside data that holds objects."""
    for name, (edit, says, trust) in dict(_wrapped(writer, base)).items():
        config = writer.config(f"{base}.{ending}")
        edit(config)
        content = writer.with_config(f"{base}.{ending}", config)
        writer.add(f"{name}_{base}_{ending}", f".{ending}", content, says=says, codes=REFUSED, trust=trust)


def _wrapped(writer: Writer, base: str) -> Iterator[tuple[str, tuple[Callable[[Node], None], str, str]]]:
    layers = "keras.layers" if base == "k3" else "tf_keras.layers"
    popen = of_class("subprocess", "Popen", {"args": ["touch", str(writer.canary / "marker_wrapped")]})
    secret = str(writer.canary / "secret.txt")
    lazy = of_class(
        layers, "Lambda", {"name": "evil", "function": bytecode(writer.payload("wrapped")), "function_type": "lambda"}
    )

    def layer(class_name: str, **settings: Any) -> Callable[[Node], None]:
        def edit(config: Node) -> None:
            dense(config).update(class_name=class_name, config={"name": "d", **settings})

        return edit

    def put(**settings: Any) -> Callable[[Node], None]:
        return lambda config: dense(config)["config"].update(settings)

    yield "bytecode_in_time_distributed", (layer("TimeDistributed", layer=lazy), "bytecode", "lambda")
    yield "bytecode_in_bidirectional", (layer("Bidirectional", layer=lazy), "bytecode", "lambda")
    yield "bytecode_in_a_cell", (layer("RNN", cell=lazy), "bytecode", "lambda")
    yield "bytecode_in_a_pipeline", (layer("Pipeline", layers=[lazy]), "bytecode", "lambda")
    yield "bytecode_in_a_model", (layer("Sequential", layers=[lazy]), "bytecode", "lambda")
    yield "bytecode_of_a_mask", (layer("Lambda", function="relu", mask=bytecode("x"), mask_type="lambda"), "bytecode", "lambda")
    yield "popen_in_a_tuple", (put(kernel_regularizer={"class_name": "__tuple__", "items": [popen]}), "'Popen'", "")
    yield (
        "popen_in_an_array",
        (put(units={"class_name": "__numpy__", "config": {"value": [popen], "dtype": "object"}}), "'Popen'", ""),
    )
    yield "popen_in_a_tensor", (put(units={"class_name": "__tensor__", "config": {"value": popen, "dtype": "f4"}}), "'Popen'", "")
    yield "popen_in_a_slice", (put(units={"class_name": "__slice__", "config": {"start": popen}}), "'Popen'", "")
    yield "popen_as_a_dtype", (put(dtype=popen), "'Popen'", "")
    yield "popen_as_a_text", (put(kernel_initializer=json.dumps(popen)), "'Popen'", "")
    yield "standardizing_by_exec", (layer("TextVectorization", standardize=function("builtins", "exec")), "'exec'", "")
    yield "splitting_by_system", (layer("TextVectorization", split=function("os", "system")), "'system'", "")
    yield (
        "vocabulary_from_the_web",
        (layer("StringLookup", vocabulary="https://example.invalid/words.txt"), "words.txt", "file_ops"),
    )
    yield "vocabulary_from_a_store", (layer("IntegerLookup", vocabulary="gs://bucket/words.txt"), "words.txt", "file_ops")
    yield "vocabulary_of_a_process", (layer("StringLookup", vocabulary="/proc/self/environ"), "environ", "file_ops")
    yield "weights_of_idf_from_a_path", (layer("TextVectorization", idf_weights=secret), "secret.txt", "file_ops")
    yield "jax_layer", (layer("JaxLayer", call_fn=function("os", "system")), "JaxLayer", "")
    yield "flax_layer", (layer("FlaxLayer", module=popen), "FlaxLayer", "")


def _files(writer: Writer) -> None:
    """What is no file, or claims what no disk holds. None may be waited for."""
    os.mkfifo(writer.out / "pipe.keras")
    os.mkfifo(writer.out / "pipe.h5")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(writer.out, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket.keras")  # a socket's path is short
        os.close(here)
    for name in ("pipe.keras", "pipe.h5", "socket.keras"):
        writer.cases[name.replace(".", "_")] = {"file": name, "codes": _NO_FILE, "says": "a pipe or a device", "trust": ""}
    for name, place in (("pipe_as_an_asset", "assets/words.txt"), ("pipe_as_variables", "variables/variables.index")):
        folder = writer.out / name
        _saved_model(folder, asset="words.txt")
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).unlink(missing_ok=True)
        os.mkfifo(folder / place)
        writer.cases[name] = {"file": name, "codes": _NO_FILE, "says": place, "trust": ""}
    with open(writer.out / "sparse.h5", "wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(_SPARSE_BYTES)
    codes = ("LOAD_CORRUPT", "OUT_OF_DISK", "LOAD_UNSAFE")
    writer.cases["sparse"] = {"file": "sparse.h5", "codes": codes, "says": "bytes", "trust": ""}


def _unreached(writer: Writer) -> None:
    """Graphs whose evil nobody calls: importing evaluates it, or an initializer is not fed what the scan might think."""
    secret = str(writer.canary / "secret.txt")

    def read(body: Any, separator: str) -> None:
        path = body.add(name="evil_path", op="Const")
        path.attr["dtype"].type = path.attr["value"].tensor.dtype = 7
        path.attr["value"].tensor.tensor_shape.SetInParent()
        path.attr["value"].tensor.string_val.append(secret.encode())
        body.add(name="evil", op="ReadFile").input.append(f"evil_path{separator}")

    def in_the_graph(meta: Any) -> None:
        read(meta.graph_def.node, ":0")

    def in_a_function(meta: Any) -> None:
        unused = meta.graph_def.library.function.add()
        unused.signature.name = "unused"
        read(unused.node_def, ":output:0")

    def asset_above(meta: Any) -> None:
        meta.asset_file_def[0].filename = f"../../{os.path.basename(writer.canary)}/secret.txt"

    def asset_elsewhere(meta: Any) -> None:
        meta.asset_file_def[0].filename = secret

    for name, edit, says, trust in (
        ("graph_read_by_importing_it", in_the_graph, "ReadFile", "file_ops"),
        ("graph_function_that_nobody_calls", in_a_function, "ReadFile", "file_ops"),
        ("graph_asset_above", asset_above, "points outside", ""),
        ("graph_asset_elsewhere", asset_elsewhere, "points outside", ""),
    ):
        _saved_model(writer.out / name, edit, asset="words.txt")
        writer.cases[name] = {"file": name, "codes": ("LOAD_UNSAFE",), "says": says, "trust": trust}


def _saved_model(folder: Any, edit: Callable[[Any], None] | None = None, *, asset: str) -> None:
    """A whole small SavedModel, written without TensorFlow: x -> y, an asset, no variables."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = saved_model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    for name, operation in (("x", "Placeholder"), ("asset", "Const"), ("y", "Identity")):
        node = meta.graph_def.node.add(name=name, op=operation)
        kind = 7 if name == "asset" else 1
        node.attr["T" if name == "y" else "dtype"].type = kind
        if name == "asset":
            node.attr["value"].tensor.dtype = kind
            node.attr["value"].tensor.tensor_shape.SetInParent()
            node.attr["value"].tensor.string_val.append(b"")
    meta.graph_def.node[2].input.append("x:0")
    told = meta.signature_def["serving_default"]
    told.method_name = "tensorflow/serving/predict"
    for side, name in ((told.inputs, "x"), (told.outputs, "y")):
        side[name].name, side[name].dtype = f"{name}:0", 1
        side[name].tensor_shape.dim.add().size = -1
        side[name].tensor_shape.dim.add().size = 3
    listed = meta.asset_file_def.add(filename=asset)
    listed.tensor_info.name = "asset:0"
    if edit is not None:
        edit(meta)
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / asset).write_text("a\n")
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
