"""Every form in which a config can write a name: what is on no list, or not where it belongs, is a finding or is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liteferry.checkpoints import config_scan, config_trust

Node = dict[str, Any]


def function(module: str | None, name: str, registered: str | None = None) -> Node:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


def of_class(module: str | None, name: str, registered: str | None = None) -> Node:
    return {"module": module, "class_name": name, "config": {"x": 1}, "registered_name": registered}


def dense(**settings: Any) -> Node:
    dtype = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    initializer = {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": None},
        "registered_name": None,
    }
    inner = {"name": "d", "units": 2, "dtype": dtype, "activation": "relu", "kernel_initializer": initializer, **settings}
    return {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": inner}


def model(*layers: Node) -> Node:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}}


def calling(called: Any, **settings: Any) -> Node:
    """A Lambda layer over a function."""
    inner = {"name": "l", "function": called, **settings}
    return {"module": "tf_keras.layers", "class_name": "Lambda", "registered_name": None, "config": inner}


def told(config: Node, **users: Any) -> str:
    """All that the scan has against a config, in one text."""
    found = [finding.what for finding in config_trust.findings(config, **users)]
    return "; ".join([*found, *(f"unknown {name}" for name in config_scan.scan(config).custom_objects)])


HARMLESS = {
    "a layer": dense(),
    "an activation by its node": dense(activation=function("builtins", "relu", "function")),
    "an activation that is a layer": dense(activation={"class_name": "LeakyReLU", "config": {"alpha": 0.1}}),
    "a function of tensors in a Lambda": calling(function("keras.ops", "sin")),
    "a name with slashes": dense(name="block/1/d"),
    "words with slashes": {"class_name": "StringLookup", "config": {"name": "v", "vocabulary": ["a/b", "c\\d"]}},
    "an operation of Keras 3": {"module": "keras.src.ops.numpy", "class_name": "Add", "config": {"name": "add"}},
    "a symbol over a constant text": {
        "class_name": "TFOpLambda",
        "config": {"name": "op", "function": "strings.regex_replace"},
        "inbound_nodes": [["x", 0, 0, {"pattern": "[^/ ]", "rewrite": "../"}]],
    },
    "a class of initializers of Keras 1": dense(kernel_initializer={"class_name": "glorot_uniform", "config": {}}),
}
HOSTILE = {
    "Python's function": (dense(activation=function("builtins", "exec")), "'exec' of module 'builtins'"),
    "Python's class": (dense(kernel_regularizer=of_class("subprocess", "Popen")), "'Popen'"),
    "a helper as a function": (calling(function("keras.utils", "get_file")), "'get_file'"),
    "a helper as a class": (calling(of_class("tf_keras.models", "model_from_json")), "'model_from_json'"),
    "a helper by its bare name": (dense(kernel_constraint={"class_name": "deserialize", "config": {}}), "unknown deserialize"),
    "a helper among the activations": (calling(function("builtins", "deserialize")), "unknown deserialize"),
    "a listed name, another registered": (calling(function("builtins", "celu", "exec")), "registered name 'exec'"),
    "a listed class, another registered": (of_class("tf_keras.models", "Dense", "model_from_json"), "'model_from_json'"),
    "a dotted name": (calling(function("tf_keras.losses", "tf.load_op_library")), "'tf.load_op_library'"),
    "a package before a name": (calling(of_class("os", "pkg>system")), "'pkg>system' of module 'os'"),
    "TensorFlow's inside": (calling(of_class("tensorflow.python.framework.load_library", "load_op_library")), "no part of Keras"),
    "a layer as an initializer": (
        dense(kernel_initializer=of_class("keras.layers", "Dense")),
        "Keras does not allow there",
    ),
    "a layer as a Lambda's function": (calling(of_class("keras.layers", "Dense")), "Keras does not allow there"),
    "a model over a path as a function": (calling(of_class("keras.layers", "TFSMLayer")), "loads a SavedModel"),
    "bytecode as a mask": (calling("f", mask=["4wAA"], mask_type="lambda"), "bytecode"),
    "a function among constants": (
        {**dense(), "inbound_nodes": [{"args": [function("keras.ops", "sin")], "kwargs": {}}]},
        "among what the layer 'd' is called with",
    ),
    "a text as a constant": (
        {**calling("f"), "inbound_nodes": [[["_CONSTANT_VALUE", -1, "import os\n", {}]]]},
        "called on the text",
    ),
    "a config in a text": (
        {**dense(), "inbound_nodes": [[["_CONSTANT_VALUE", -1, json.dumps(of_class("subprocess", "Popen")), {}]]]},
        "'Popen' of module 'subprocess'",
    ),
    "a type of Python's": (
        {"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "registered_name": None, "config": []},
        "'Popen' of module 'subprocess'",
    ),
    "a vocabulary over a path": ({"class_name": "StringLookup", "config": {"name": "v", "vocabulary": "words.txt"}}, "words.txt"),
    "a path under another key": (dense(anything="/etc/hostname"), "the path '/etc/hostname' as its anything"),
    "a symbol that opens a file": ({"class_name": "TFOpLambda", "config": {"function": "io.read_file"}}, "tf.io.read_file"),
    "a symbol of Keras's": ({"class_name": "TFOpLambda", "config": {"function": "keras.models.load_model"}}, "load_model"),
    "a method of an object": ({"class_name": "InstanceMethod", "config": {"attr_name": "__reduce__"}}, "'__reduce__'"),
    "an operation in a layer": (
        {"class_name": "TensorFlowOpLayer", "config": {"node_def": ["n", '{"name": "n", "op": "ReadFile"}']}},
        "the operation ReadFile",
    ),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_only_computes_passes(case: str) -> None:
    assert told(model(HARMLESS[case])) == ""


@pytest.mark.parametrize("case", HOSTILE)
def test_what_does_more_is_told(case: str) -> None:
    node, says = HOSTILE[case]
    assert says in told(model(node))


@pytest.mark.parametrize("case", HOSTILE)
def test_so_it_is_however_deep_it_stands(case: str) -> None:
    node, says = HOSTILE[case]
    inside = {
        "module": "keras",
        "class_name": "Functional",
        "config": {"name": "f", "layers": [{"class_name": "TimeDistributed", "config": {"layer": node}}]},
    }
    assert says in told(model(inside))


def test_what_the_user_offers_is_the_users_and_what_is_in_it_is_still_looked_at() -> None:
    theirs = {
        "module": "theirs",
        "class_name": "Block",
        "config": {"path": "/data", "inner": dense()},
        "registered_name": "p>Block",
    }
    assert config_trust.findings(model(theirs), offered=["Block"]) == []
    theirs["config"] = {"inner": dense(activation=function("os", "system"))}
    (found,) = config_trust.findings(model(theirs), offered=["Block"])
    assert "'system' of module 'os'" in found.what


def test_settings_of_training_may_name_what_nobody_gives() -> None:
    config = model(dense()) | {
        "compile_config": {"loss": function("builtins", "their_loss"), "optimizer": of_class("theirs", "Sgd")}
    }
    assert config_trust.findings(config) == []
    config["compile_config"] = {"loss": function("os", "system")}
    assert "'system'" in told(config)
    assert "compile_config" not in config_scan.without_training(config)
