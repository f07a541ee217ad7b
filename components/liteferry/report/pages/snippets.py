"""Text to copy from a model's page: the commands that show its problem again, and its I/O contract as code, which loads and runs
the SavedModel and the .tflite file with the model's own names and shapes.

A name becomes a string literal of the language, with any characters escaped. Free sizes are 1, and a comment says which they
are.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from liteferry import lenient
from liteferry.report import formats
from liteferry.types import Status

Tensor = Mapping[str, Any]

# NumPy's name -> (bytes of an element, field of TfLiteTensor's data).
_ELEMENTS = {
    "float32": (4, "f"),
    "float16": (2, "f16"),
    "float64": (8, "f64"),
    "int8": (1, "int8"),
    "uint8": (1, "uint8"),
    "int16": (2, "i16"),
    "int32": (4, "i32"),
    "int64": (8, "i64"),
    "bool": (1, "b"),
}


def snippets(report: lenient.Report) -> list[dict[str, str]]:
    """`{title, language, text}` for what the model has: the SavedModel, and the recommended variant or the first there is."""
    found = []
    saved_model = lenient.mapping(report.get("saved_model"))
    served = lenient.text(saved_model.get("signature")) or "serving_default"
    signature = lenient.mapping(lenient.mapping(saved_model.get("signatures")).get(served))
    inputs = _tensors(signature.get("inputs"))
    if saved_model.get("path") and inputs:
        path = lenient.text(saved_model["path"]) or ""
        found.append(_snippet("SavedModel, Python", "python", python_saved_model(path, inputs, served)))
    name, variant = _variant(report)
    contract = lenient.mapping(variant.get("contract"))
    inputs, outputs = _tensors(contract.get("inputs")), _tensors(contract.get("outputs"))
    if variant.get("path") and inputs and outputs:
        path = lenient.text(variant["path"]) or ""
        found.append(_snippet(f"{name}, Python", "python", python_tflite(path, inputs)))
        if all(_is_plain(tensor) for tensor in (*inputs, *outputs)):
            found.append(_snippet(f"{name}, Kotlin", "kotlin", kotlin(path, inputs, outputs)))
            found.append(_snippet(f"{name}, C++", "cpp", cpp(path, inputs, outputs)))
    return found


def python_saved_model(path: str, inputs: list[Tensor], signature: str = "serving_default") -> str:
    """Plain TensorFlow: neither Keras nor the user's code is needed."""
    rows = "".join(f"    {_literal(tensor)}: tf.constant({_zeros(tensor)}),{_comment(tensor, '#')}\n" for tensor in inputs)
    return (
        "import numpy as np\n"
        "import tensorflow as tf\n\n"
        f"model = tf.saved_model.load({_text(path)})\n"
        f"serve = model.signatures[{_text(signature)}]\n"
        f"outputs = serve(**{{\n{rows}}})\n"
        "print({name: value.shape for name, value in outputs.items()})\n"
    )


def python_tflite(path: str, inputs: list[Tensor]) -> str:
    """LiteRT's own package, by signature name; positions differ between files."""
    rows = "".join(f"    {_literal(tensor)}: {_zeros(tensor)},{_comment(tensor, '#')}\n" for tensor in inputs)
    return (
        "import numpy as np\n"
        "from ai_edge_litert.interpreter import Interpreter\n\n"
        f"interpreter = Interpreter({_text(path)})\n"
        'run = interpreter.get_signature_runner("serving_default")\n'
        f"outputs = run(**{{\n{rows}}})\n"
        "print({name: value.shape for name, value in outputs.items()})\n"
    )


def kotlin(path: str, inputs: list[Tensor], outputs: list[Tensor]) -> str:
    """Android: direct buffers in, direct buffers out, one row."""

    def entries(tensors: list[Tensor]) -> str:
        sized = [(tensor, f"buffer({_count(tensor)} * {_ELEMENTS[tensor['dtype']][0]})") for tensor in tensors]
        return "".join(f"        {_kotlin_text(one['name'])} to {size},{_comment(one, '//')}\n" for one, size in sized)

    return (
        "import java.io.File\n"
        "import java.nio.ByteBuffer\n"
        "import java.nio.ByteOrder\n"
        "import org.tensorflow.lite.Interpreter\n\n"
        "fun buffer(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())\n\n"
        f"Interpreter(File({_kotlin_text(path)})).use {{ interpreter ->\n"
        f"    val inputs = mapOf<String, Any>(\n{entries(inputs)}    )\n"
        f"    val outputs = mapOf<String, Any>(\n{entries(outputs)}    )\n"
        '    interpreter.runSignature(inputs, outputs, "serving_default")\n'
        "}\n"
    )


def cpp(path: str, inputs: list[Tensor], outputs: list[Tensor]) -> str:
    """LiteRT's C++ interpreter, by signature name, one row."""
    sizes = "".join(f"runner->ResizeInputTensor({_literal(one)}, {{{', '.join(map(str, _sizes(one)))}}});\n" for one in inputs)
    reads = "".join(
        f"auto* input_{number} = runner->input_tensor({_literal(one)})->data.{_ELEMENTS[one['dtype']][1]};"
        f"  // {_words(one)}: write {_count(one):,} values\n"
        for number, one in enumerate(inputs)
    )
    writes = "".join(
        f"const auto* output_{number} = runner->output_tensor({_literal(one)})->data.{_ELEMENTS[one['dtype']][1]};"
        f"  // {_words(one)}\n"
        for number, one in enumerate(outputs)
    )
    return (
        '#include "tensorflow/lite/interpreter_builder.h"\n'
        '#include "tensorflow/lite/kernels/register.h"\n'
        '#include "tensorflow/lite/model_builder.h"\n\n'
        f"auto model = tflite::FlatBufferModel::BuildFromFile({_text(path)});\n"
        "tflite::ops::builtin::BuiltinOpResolver resolver;\n"
        "std::unique_ptr<tflite::Interpreter> interpreter;\n"
        "tflite::InterpreterBuilder(*model, resolver)(&interpreter);\n"
        'tflite::SignatureRunner* runner = interpreter->GetSignatureRunner("serving_default");\n'
        f"{sizes}if (runner->AllocateTensors() != kTfLiteOk) return 1;\n"
        f"{reads}if (runner->Invoke() != kTfLiteOk) return 1;\n"
        f"{writes}"
    )


def _snippet(title: str, language: str, text: str) -> dict[str, str]:
    return {"title": title, "language": language, "text": text}


def _variant(report: lenient.Report) -> tuple[str, dict[str, Any]]:
    variants = {name: lenient.mapping(variant) for name, variant in lenient.mapping(report.get("variants")).items()}
    made = [name for name in lenient.ordered_variants(variants) if variants[name].get("path")]
    recommended = lenient.text(report.get("recommended_variant"))
    chosen = recommended if recommended in made else next(iter(made), "")
    return chosen or "", variants.get(chosen or "", {})


def _tensors(value: object) -> list[Tensor]:
    """The tensors for which code can be written: with a name, a dtype and a list of sizes."""
    named = [tensor for tensor in map(lenient.mapping, lenient.listing(value)) if isinstance(tensor.get("name"), str)]
    return [one for one in named if isinstance(one.get("dtype"), str) and isinstance(one.get("shape"), (list, tuple))]


def _is_plain(tensor: Tensor) -> bool:
    return tensor["dtype"] in _ELEMENTS


def _sizes(tensor: Tensor) -> list[int]:
    return [size if isinstance(size, int) and size > 0 else 1 for size in tensor["shape"]]


def _count(tensor: Tensor) -> int:
    return math.prod(_sizes(tensor))


def _zeros(tensor: Tensor) -> str:
    sizes = ", ".join(map(str, _sizes(tensor)))
    shape = f"({sizes}{',' if len(tensor['shape']) == 1 else ''})"
    return f'np.full({shape}, b"")' if tensor["dtype"] == "string" else f"np.zeros({shape}, {_text(tensor['dtype'])})"


def _comment(tensor: Tensor, mark: str) -> str:
    return f"  {mark} {_words(tensor)}"


def _words(tensor: Tensor) -> str:
    """`float32 (None, 28, 28, 1)`, and how integers stand for real numbers."""
    scaled = lenient.number(tensor.get("scale"))
    scale = f", real = {scaled!r} * (value - {lenient.integer(tensor.get('zero_point')) or 0})" if scaled else ""
    return f"{formats.single_line(tensor['dtype'])} {formats.shape(tensor['shape'])}{scale}"


def _literal(tensor: Tensor) -> str:
    return _text(tensor["name"])


def _kotlin_text(text: str) -> str:
    return _text(text).replace("$", "\\$")


def _text(text: str) -> str:
    """A string literal of Python, Kotlin and C++; letters beyond ASCII stay letters, since only JSON pairs surrogates."""
    return json.dumps(lenient.text(text), ensure_ascii=False)


def commands(report: lenient.Report) -> list[str]:
    """`liteferry inspect` and `liteferry run` for this checkpoint; empty for a blessed model and where no path is known."""
    uri = lenient.text(lenient.mapping(report.get("checkpoint")).get("uri"))
    if not uri or lenient.model_status(report) is Status.BLESSED:
        return []
    words = ["liteferry", "run", "--checkpoints", _pattern_of(uri)]
    samples = lenient.text(lenient.mapping(report.get("samples")).get("path"))
    if samples:
        words += ["--samples", samples]
    variants = lenient.ordered_variants(lenient.mapping(report.get("variants")))
    if variants:
        words += ["--variants", ",".join(variants)]
    return [shlex.join(["liteferry", "inspect", uri]), shlex.join([*words, "--output", "reproduced"])]


def _pattern_of(uri: str) -> str:
    """The path as a pattern that matches only this path."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in uri)
