"""The README of a kit: how to run it on Android, on a board with Python, in a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def instructions(manifest: Mapping[str, Any]) -> str:
    """The text of a kit's README.md."""
    contract = manifest["contract"]
    first = contract["inputs"][0]["name"] if contract["inputs"] else "input"
    return f"""# Kit of {manifest["model_id"]}, {manifest["variant"]}

`model.tflite`, rows to run it on, and the answers that its checkpoint gives. Run it on the device, bring its answers back as one
`OUTPUT.npy` for each output (first axis: the rows, in the order of `rows.json`), and judge them:

    liteferry compare --kit . --answers ANSWERS

Rows are in `inputs/INPUT.npy`, all in one file in `rows.npz`, and one by one as plain bytes in `raw/ROW/INPUT.bin`,
little-endian, in the dtype below.

{_tensors(contract)}
Match by name through the signature `serving_default`; where an API knows positions only, take them from here. None is a free
size: the number of rows of a call.

{_more_signatures(manifest)}{_python(manifest)}{_android(first)}{_BROWSER}"""


def _tensors(contract: Mapping[str, Any]) -> str:
    sides = [(side, contract[f"{side}s"]) for side in ("input", "output")]
    return "\n".join(
        f"| {side} | position | dtype | shape |\n| --- | --- | --- | --- |\n{_table(tensors)}\n" for side, tensors in sides
    )


def _table(tensors: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(f"| `{one['name']}` | {one['position']} | {one['dtype']} | {one['shape']} |" for one in tensors)


def _more_signatures(manifest: Mapping[str, Any]) -> str:
    """The signatures besides the first, and which rows they take: `manifest["signatures"]`."""
    parts = []
    for name, inputs in manifest["signatures"].items():
        columns = ", ".join(f"`{own}` takes the rows of `{given}`" for own, given in inputs.items()) or "it takes nothing"
        parts.append(
            f"The file also holds the signature `{name}`: {columns}. Its outputs come back as `{name}.OUTPUT.npy`.\n\n"
            f"{_tensors(manifest['contract']['signatures'][name])}"
        )
    return "\n".join([*parts, ""]) if parts else ""


def _python(manifest: Mapping[str, Any]) -> str:
    takes = {
        "serving_default": {one["name"]: one["name"] for one in manifest["contract"]["inputs"]},
        **manifest["signatures"],
    }
    return f"""## Python, on a Raspberry Pi for one

    pip install ai-edge-litert numpy

```python
import json, os, urllib.parse
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter("model.tflite")
takes = {json.dumps(takes)}
rows, answers = np.load("rows.npz"), {{}}
for place in range(len(json.load(open("rows.json")))):
    for signature, inputs in takes.items():
        row = {{name: rows[column][place : place + 1] for name, column in inputs.items()}}
        for name, value in interpreter.get_signature_runner(signature)(**row).items():
            output = name if signature == "serving_default" else f"{{signature}}.{{name}}"
            answers.setdefault(output, []).append(value)
os.makedirs("answers", exist_ok=True)
for name, found in answers.items():
    np.save(f"answers/{{urllib.parse.quote(name, safe='')}}.npy", np.concatenate(found))
```

"""


def _android(first: str) -> str:
    return f"""## Android

    adb push model.tflite raw /data/local/tmp/kit/
    adb shell /data/local/tmp/benchmark_model --graph=/data/local/tmp/kit/model.tflite --use_gpu=true

`benchmark_model` (from LiteRT's releases) times it. For answers,
`--input_layer_value_files={first}:/data/local/tmp/kit/raw/000/{first}.bin` gives it a row and
`--output_filepath=/data/local/tmp/kit/out.bin` keeps what comes out, in the order of positions; `np.fromfile` reads it.

"""


_BROWSER = """## Browser

A module of a page that is served from this folder; each answer is offered as a download. LiteRT.js takes no free sizes, so it
gets `model_one_row.tflite`: the same file with a batch of one.

```js
import {loadLiteRt, loadAndCompile, Tensor} from "@litertjs/core";

const kinds = {float32: [Float32Array, "<f4"], int32: [Int32Array, "<i4"], int8: [Int8Array, "|i1"], uint8: [Uint8Array, "|u1"]};
const code = letter => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`;
const file = (name, kind) => `${encodeURIComponent(name).replace(/[!'()*]/g, code)}.${kind}`;
const read = async path => (await fetch(path)).json();
const [{contract}, rows] = await Promise.all([read("kit.json"), read("rows.json")]);
await loadLiteRt("/node_modules/@litertjs/core/wasm/");
const model = await loadAndCompile("model_one_row.tflite", {accelerator: "wasm"});

async function tensor(place, input) {
  const folder = `raw/${String(place).padStart(3, "0")}`;
  const bytes = await (await fetch(`${folder}/${encodeURIComponent(file(input.name, "bin"))}`)).arrayBuffer();
  return new Tensor(new kinds[input.dtype][0](bytes), input.shape.map(size => size ?? 1));
}

const answers = {};
for (const place of rows.keys()) {
  const row = {};
  for (const input of contract.inputs) row[input.name] = await tensor(place, input);
  const found = await model.run("serving_default", row);
  for (const {name} of contract.outputs) (answers[name] ??= []).push(await found[name].data());
}

function npy(output, found) {
  const [kind, descr] = kinds[output.dtype], shape = [found.length, ...output.shape.slice(1)];
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const header = text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11) + "\\n";
  const size = new Uint8Array(new Uint16Array([header.length]).buffer);
  const values = new kind(found.flatMap(one => [...one]));
  return new Blob([new Uint8Array([0x93, 78, 85, 77, 80, 89, 1, 0]), size, header, values]);
}

for (const output of contract.outputs) {
  const link = document.createElement("a");
  link.download = file(output.name, "npy");
  link.href = URL.createObjectURL(npy(output, answers[output.name]));
  link.textContent = link.download;
  document.body.append(link);
}
```
"""
