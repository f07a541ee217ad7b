"""Classes of hostile checkpoints in every form they have: canaries that write a marker, and read a secret, if they are run.

`python -m tests.checkpoints.hostile_classes OUT CANARY` writes OUT/NAME.EXTENSION for each and OUT/../cases.json. The payloads
touch CANARY/marker* and read CANARY/secret.txt, nothing else. Public references stand beside the classes; SECURITY.md lists them.
"""

from __future__ import annotations

import copy
import io
import json
import marshal
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Node = dict[str, Any]
UNSAFE = ("LOAD_UNSAFE",)
REFUSED = ("LOAD_UNSAFE", "LOAD_UNKNOWN_OBJECT")


class Writer:
    """Writes cases into a folder, from a small model of each library that is saved once."""

    def __init__(self, out: Path, canary: Path) -> None:
        import keras
        import tf_keras

        self.out, self.canary = out, canary
        self.cases: dict[str, Node] = {}
        self.base: dict[str, bytes] = {}
        out.mkdir(parents=True)
        for name, library in (("k3", keras), ("k2", tf_keras)):
            inputs, dense = library.Input((3,), name="x"), library.layers.Dense(2, name="d")
            model = library.Model(inputs, dense(inputs), name="m")
            for ending in ("keras", "h5"):
                model.save(str(out / f"base.{ending}"))
                self.base[f"{name}.{ending}"] = (out / f"base.{ending}").read_bytes()
                (out / f"base.{ending}").unlink()

    def add(self, name: str, ending: str, content: bytes, *, says: str, codes: tuple[str, ...] = UNSAFE, trust: str = "") -> None:
        """One case: its file, the reason codes that it may get, what the message must say, what `trust` value it must name."""
        (self.out / f"{name}{ending}").write_bytes(content)
        self.cases[name] = {"file": f"{name}{ending}", "codes": codes, "says": says, "trust": trust}

    def config(self, base: str) -> Node:
        """The architecture in a base file."""
        if base.endswith("keras"):
            with zipfile.ZipFile(io.BytesIO(self.base[base])) as archive:
                return dict(json.loads(archive.read("config.json")))
        import h5py

        with h5py.File(io.BytesIO(self.base[base])) as file:
            return dict(json.loads(file.attrs["model_config"]))

    def with_config(self, base: str, config: Any) -> bytes:
        """A base file with another architecture."""
        text = config if isinstance(config, str) else json.dumps(config)
        if base.endswith("keras"):
            return zipped({**members(self.base[base]), "config.json": text.encode()})
        import h5py

        stream = io.BytesIO(self.base[base])
        with h5py.File(stream, "r+") as file:
            file.attrs["model_config"] = text.encode()
        return stream.getvalue()

    def payload(self, name: str) -> str:
        """Python that reads the secret, writes the marker, and tells both."""
        marker, secret = str(self.canary / f"marker_{name}"), str(self.canary / "secret.txt")
        return f"s = open({secret!r}).read(); open({marker!r}, 'w').close(); raise RuntimeError('CANARY-RAN ' + s)"


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def function(module: str | None, name: str, registered: str | None = None) -> Node:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


def of_class(module: str | None, name: str, config: Any, registered: str | None = None) -> Node:
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def dense(config: Node) -> Node:
    return next(node for node in config["config"]["layers"] if node["class_name"] == "Dense")


def with_layer(base: str, config: Node, layer: Node, constant: Any) -> Node:
    """A model with one more layer, which is called on a constant while the model is built."""
    layer = {**copy.deepcopy(layer), "name": "evil"}
    layer["config"] = {"name": "evil", "trainable": True, "dtype": "float32", **layer["config"]}
    layer["inbound_nodes"] = [{"args": [constant], "kwargs": {}}] if base == "k3" else [[["_CONSTANT_VALUE", -1, constant, {}]]]
    config["config"]["layers"].append(layer)
    return config


def a_lambda(base: str, called: Any, **settings: Any) -> Node:
    module = "keras.layers" if base == "k3" else "tf_keras.layers"
    more = {"function_type": "function", "module": None, "output_shape": None, "output_shape_type": "raw"}
    config = {"function": called, "arguments": {}, **({**more, "output_shape_module": None} if base == "k2" else {}), **settings}
    return {"module": module, "class_name": "Lambda", "registered_name": None, "config": config}


def bytecode(code: str) -> list[Any]:
    import base64

    made = compile(f"lambda x: exec({code!r})", "m", "eval").co_consts[0]
    return [base64.b64encode(marshal.dumps(made)).decode(), None, None]


def called_by_a_lambda(writer: Writer, name: str, base: str) -> dict[str, tuple[Node, Any, str]]:
    """What a Lambda layer is told to call, on what, and what the refusal names."""
    root = "keras" if base == "k3" else "tf_keras"
    inner = with_layer(base, writer.config(f"{base}.keras"), a_lambda(base, function("builtins", "exec")), writer.payload(name))
    hidden = json.dumps(inner)
    secret, marker = f"file://{writer.canary}/secret.txt", str(writer.canary / f"marker_{name}")
    return {
        "exec": (function("builtins", "exec"), writer.payload(name), "'exec'"),  # CVE-2025-1550
        "os_system": (function("os", "system"), f"touch {marker}", "'system' of module 'os'"),  # CVE-2025-1550
        "popen_class": (of_class("subprocess", "Popen", {"args": ["touch", marker]}), "x", "'Popen'"),
        "json_class_form": (of_class(f"{root}.models", "model_from_json", {"x": 1}), hidden, "'model_from_json'"),
        "json_function_form": (function(f"{root}.models", "model_from_json"), hidden, "'model_from_json'"),
        "json_of_a_layers_module": (function(f"{root}.src.layers", "deserialize_from_json"), hidden, "'deserialize_from_json'"),
        "json_behind_a_listed_name": (of_class(f"{root}.models", "Dense", {"x": 1}, "model_from_json"), hidden, "'Dense'"),
        "exec_behind_a_listed_name": (function("builtins", "celu", "exec"), writer.payload(name), "registered name 'exec'"),
        "get_file": (function(f"{root}.utils", "get_file"), secret, "'get_file'"),  # CVE-2025-8747
        "load_model": (function(f"{root}.models", "load_model"), marker, "'load_model'"),  # CVE-2025-9906
        "unsafe_switch": (function(f"{root}.config", "enable_unsafe_deserialization"), "x", "'enable_unsafe"),  # CVE-2025-9906
        "dotted_name": (function(f"{root}.src.losses", "tf.load_op_library"), marker, "'tf.load_op_library'"),
        "deserialize_of_activations": (function(f"{root}.activations", "deserialize"), hidden, "'deserialize'"),
        "saved_model_layer": (of_class(f"{root}.layers", "TFSMLayer", {"filepath": marker}), "x", "TFSMLayer"),
        "torch_module": (of_class(f"{root}.layers", "TorchModuleWrapper", {"module": "x"}), "x", "TorchModuleWrapper"),
        "another_layer": (of_class(f"{root}.layers", "Dense", {"units": 1}), "x", "which Keras does not allow there"),
        "typespec_gadget": (
            {
                "class_name": "__typespec__",
                "spec_name": "Popen",
                "module": "subprocess",
                "registered_name": None,
                "config": [marker],
            },
            "x",
            "'Popen'",
        ),
    }


def gadgets(writer: Writer) -> None:
    """A Lambda layer over each of them: in both libraries, as an archive, as HDF5 and inside a zip file."""
    for base in ("k2", "k3"):
        for gadget in called_by_a_lambda(writer, "", base):
            for ending in ("keras", "h5"):
                name = f"{gadget}_{base}_{ending}"
                called, constant, says = called_by_a_lambda(writer, name, base)[gadget]
                config = with_layer(base, writer.config(f"{base}.{ending}"), a_lambda(base, called), constant)
                writer.add(name, f".{ending}", writer.with_config(f"{base}.{ending}", config), says=says, codes=REFUSED)
    for gadget in ("exec", "json_class_form"):
        inside = (writer.out / f"{gadget}_k2_keras.keras").read_bytes()
        writer.add(
            f"{gadget}_zipped", ".zip", zipped({"model.keras": inside}), says=f"'{'exec' if gadget == 'exec' else 'model'}"
        )


def edits(writer: Writer, name: str, base: str) -> Iterator[tuple[str, Callable[[Node], None], str, str]]:
    """Other places of a config: (class, edit, what the refusal names, the trust value that it names)."""
    marker, secret = str(writer.canary / f"marker_{name}"), str(writer.canary / "secret.txt")
    root = "keras" if base == "k3" else "tf_keras"
    popen = of_class("subprocess", "Popen", {"args": ["touch", marker]})
    code = {"class_name": "__lambda__", "config": {"value": bytecode(writer.payload(name)), "code": "4w==", "defaults": None}}

    def put(key: str, node: Any) -> Callable[[Node], None]:
        return lambda config: dense(config)["config"].update({key: node})

    def lookup(layer: str) -> Callable[[Node], None]:
        node = of_class(f"{root}.layers", layer, {"name": "v", "vocabulary": secret})
        return lambda config: config["config"]["layers"].append({**node, "name": "v", "inbound_nodes": []})

    yield "bytecode_as_activation", put("activation", code), "bytecode", "lambda"  # CVE-2024-3660
    yield "bytecode_as_initializer", put("kernel_initializer", code), "bytecode", "lambda"
    yield "function_as_activation", put("activation", function("os", "system")), "'system' of module 'os'", ""
    yield "class_as_regularizer", put("kernel_regularizer", popen), "'Popen'", ""
    yield (
        "layer_as_initializer",
        put("kernel_initializer", of_class(f"{root}.layers", "Dense", {"units": 1})),
        "as the kernel_ini",
        "",
    )
    yield (
        "helper_as_constraint",
        put("kernel_constraint", of_class(f"{root}.constraints", "deserialize", {"x": 1})),
        "'deseri",
        "",
    )
    yield "popen_deep_inside", put("kernel_regularizer", {"a": [{"b": [[popen]]}]}), "'Popen'", ""
    yield "popen_in_build_config", lambda config: dense(config).update(build_config={"input_shape": popen}), "'Popen'", ""
    yield "popen_in_compile_config", lambda config: config.update(compile_config={"optimizer": popen}), "'Popen'", ""
    yield "popen_in_nested_compile", lambda config: dense(config).update(compile_config={"loss": popen}), "'Popen'", ""
    yield "string_lookup_path", lookup("StringLookup"), "secret.txt", "file_ops"  # CVE-2025-12058
    yield "integer_lookup_path", lookup("IntegerLookup"), "secret.txt", "file_ops"
    yield "text_vectorization_path", lookup("TextVectorization"), "secret.txt", "file_ops"


def places(writer: Writer) -> None:
    for base in ("k2", "k3"):
        for ending in ("keras", "h5"):
            for gadget, _, _, _ in edits(writer, "", base):
                name = f"{gadget}_{base}_{ending}"
                edit, says, trust = next((e, s, t) for g, e, s, t in edits(writer, name, base) if g == gadget)
                config = writer.config(f"{base}.{ending}")
                edit(config)
                writer.add(name, f".{ending}", writer.with_config(f"{base}.{ending}", config), says=says, trust=trust)


def op_layers(writer: Writer) -> None:
    """Layers of Keras 2 that call TensorFlow by name."""
    marker, secret = str(writer.canary / "marker_op"), str(writer.canary / "secret.txt")
    node_def = {"name": "w", "op": "WriteFile", "input": ["a", "b"]}
    column = {"key": "x", "vocabulary_file": secret, "vocabulary_size": 1, "num_oov_buckets": 0, "dtype": "string"}
    layers = {
        "symbol_write_file": ("TFOpLambda", {"function": "io.write_file"}, "tf.io.write_file"),
        "symbol_gfile": ("TFOpLambda", {"function": "io.gfile.rmtree"}, "tf.io.gfile.rmtree"),
        "symbol_py_function": ("TFOpLambda", {"function": "numpy_function"}, "tf.numpy_function"),
        "symbol_of_keras": ("TFOpLambda", {"function": "keras.models.load_model"}, "tf.keras.models.load_model"),
        "symbol_compat": ("TFOpLambda", {"function": "compat.v1.read_file"}, "tf.compat.v1.read_file"),
        "symbol_vocabulary": ("TFOpLambda", {"function": "nn.fixed_unigram_candidate_sampler"}, "fixed_unigram"),
        "symbol_sliced": ("SlicingOpLambda", {"function": "io.read_file"}, "tf.io.read_file"),
        "method_of_a_class": ("ClassMethod", {"cls_symbol": "io.TFRecordWriter", "method_name": "__init__"}, "TFRecordWriter"),
        "method_of_a_tensor": ("InstanceMethod", {"attr_name": "__reduce__"}, "'__reduce__'"),
        "operation_layer": ("TensorFlowOpLayer", {"node_def": node_def, "constants": {}}, "WriteFile"),
        "operation_layer_text": ("TensorFlowOpLayer", {"node_def": json.dumps(node_def), "constants": {}}, "WriteFile"),
        "operation_layer_pair": ("TensorFlowOpLayer", {"node_def": ["w", json.dumps(node_def)], "constants": {}}, "WriteFile"),
        "column_vocabulary": (
            "DenseFeatures",
            {"feature_columns": [{"class_name": "VocabularyFileCategoricalColumn", "config": column}]},
            "secret.txt",
        ),
    }
    for name, (class_name, settings, says) in layers.items():
        for ending in ("keras", "h5"):
            node: Node = {"class_name": class_name, "config": settings}
            if ending == "keras":
                node |= {"module": "tf_keras.layers", "registered_name": None}
            constant = marker if class_name.endswith("OpLambda") else 1.0
            config = with_layer("k2", writer.config(f"k2.{ending}"), node, constant)
            content = writer.with_config(f"k2.{ending}", config)
            writer.add(f"{name}_{ending}", f".{ending}", content, says=says, trust="file_ops")


def polyglots(writer: Writer) -> None:
    """Files that are two things, of which a scan and a loader might see one each."""
    config = with_layer("k2", writer.config("k2.keras"), a_lambda("k2", function("builtins", "exec")), writer.payload("polyglot"))
    evil, h5 = writer.with_config("k2.keras", config), writer.base["k2.h5"]
    shifted = io.BytesIO(h5)
    with zipfile.ZipFile(shifted, "a") as archive:
        for name, content in members(evil).items():
            archive.writestr(name, content)
    good = writer.base["k2.keras"]
    writer.add("polyglot_hdf5_zip", ".keras", shifted.getvalue(), says="behind the end of the HDF5 file")
    writer.add("polyglot_hdf5_zip_as_h5", ".h5", shifted.getvalue(), says="behind the end of the HDF5 file")
    writer.add("zip_behind_a_zip", ".keras", good + evil, says="before the zip archive")
    writer.add("zip_behind_bytes", ".keras", b"#!/bin/sh\n" + evil, says="before the zip archive")
    writer.add("bytes_behind_a_zip", ".keras", good + b"\0" * 100, says="behind the zip archive")
    writer.add("bytes_behind_hdf5", ".h5", h5 + b"\0" * 100, says="100 bytes behind the end of the HDF5 file")
    writer.add("hdf5_user_block", ".h5", b"#!/bin/sh\n".ljust(512) + h5, says="bytes before the HDF5 file")
    twice = io.BytesIO(good)
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("config.json", json.dumps(config))
    writer.add("two_configs", ".keras", twice.getvalue(), says="two of its members are called 'config.json'")
    other = zipped({**members(good), "./config.json": json.dumps(config).encode()})
    writer.add("two_configs_by_other_names", ".keras", other, says="two of its members are called './config.json'")
    weights = io.BytesIO()
    np.savez(weights, w=np.ones(2))
    both = zipped({**members(good), "model.weights.npz": weights.getvalue()})
    writer.add("two_weights", ".keras", both, says="holds its weights twice")
    archive_in_archive = zipped({"inner.zip": zipped({"model.keras": evil})})
    writer.add("archive_in_archive", ".zip", archive_in_archive, says="holds", codes=("LOAD_UNSUPPORTED",))


def hdf5(writer: Writer) -> None:
    """HDF5 that leads elsewhere."""
    import h5py

    secret = str(writer.canary / "secret.txt")

    def write(name: str, edit: Callable[[Any], None], says: str) -> None:
        stream = io.BytesIO(writer.base["k2.h5"])
        with h5py.File(stream, "r+") as file:
            edit(file)
        writer.add(name, ".h5", stream.getvalue(), says=says)

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource(secret, "secret", (4,))
        file.create_virtual_dataset("stolen", layout)

    def external(file: Any) -> None:
        file["stolen"] = h5py.ExternalLink(secret, "/secret")

    def soft(file: Any) -> None:
        file["model_weights/again"] = h5py.SoftLink("/model_weights/d")

    write("hdf5_external_link", external, "is a link to another file")  # CVE-2026-1669
    write("hdf5_external_data", lambda f: f.create_dataset("s", (4,), "u1", external=[(secret, 0, 4)]), "lies in another file")
    write("hdf5_virtual_data", virtual, "virtual dataset")
    write("hdf5_soft_link", soft, "is a soft link")
    write("hdf5_claims_terabytes", lambda f: f.create_dataset("h", (2**40,), "f4", chunks=(2**20,)), "4,398,046,")


def archives(writer: Writer) -> None:
    """Archives that reach out of their folder, or hold pickles."""
    good = members(writer.base["k3.keras"])
    marker = str(writer.canary / "marker_archive").lstrip("/")
    writer.add(
        "member_above", ".keras", zipped({**good, f"../../../../../../{marker}": b"x"}), says="points outside"
    )  # CVE-2025-12638
    writer.add("member_absolute", ".zip", zipped({f"/{marker}": b"x"}), says="points outside")
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        entry = zipfile.ZipInfo("model.h5")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, str(writer.canary / "secret.txt"))
    writer.add("member_link", ".zip", link.getvalue(), says="is a link")
    pickled = io.BytesIO()
    np.savez(pickled, w=np.array([{"a": 1}], dtype=object))
    writer.add("pickled_arrays", ".keras", zipped({**good, "assets/a.npz": pickled.getvalue()}), says="is a pickle")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.h5", bytes(300 * 2**20))
    writer.add("zip_bomb", ".zip", bomb.getvalue(), says="314,572,800")


def main(out: str, canary: str) -> None:
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    writer = Writer(Path(out), Path(canary))
    for write in (gadgets, places, op_layers, polyglots, hdf5, archives):
        write(writer)
    from tests.checkpoints import hostile_graphs, hostile_oddities

    hostile_graphs.write(writer)
    hostile_oddities.write(writer)
    for number in range(2):  # siblings: their traces would be shared, and one of them is hostile
        name = "exec_among_siblings" if number else "innocent_sibling"
        content = writer.base["k2.keras"] if not number else (writer.out / "exec_k2_keras.keras").read_bytes()
        writer.add(name, ".keras", content, says="'exec'" if number else "", codes=UNSAFE if number else ())
    (Path(out).parent / "cases.json").write_text(json.dumps(writer.cases))


if __name__ == "__main__":
    main(*sys.argv[1:])
