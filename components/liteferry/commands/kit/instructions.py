"""The README of a kit: how to run it on Android, on a board with Python, in a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def instructions(manifest: Mapping[str, Any]) -> str:
    """The text of a kit's README.md."""
    contract = manifest["contract"]
    inputs = "\n".join(f"| `{one['name']}` | {one['position']} | {one['dtype']} | {one['shape']} |" for one in contract["inputs"])
    outputs = "\n".join(
        f"| `{one['name']}` | {one['position']} | {one['dtype']} | {one['shape']} |" for one in contract["outputs"]
    )
    first = contract["inputs"][0]["name"] if contract["inputs"] else "input"
    return f"""# Kit of {manifest["model_id"]}, {manifest["variant"]}

`model.tflite`, rows to run it on, and the answers that its checkpoint gives. Run it on the device, bring its answers back as one
`OUTPUT.npy` for each output (first axis: the rows, in the order of `rows.json`), and judge them:

    liteferry compare --kit . --answers ANSWERS

Rows are in `inputs/INPUT.npy`, all in one file in `rows.npz`, and one by one as plain bytes in `raw/ROW/INPUT.bin`,
little-endian, in the dtype below.

| input | position | dtype | shape |
| --- | --- | --- | --- |
{inputs}

| output | position | dtype | shape |
| --- | --- | --- | --- |
{outputs}

Match by name through the signature `serving_default`; where an API knows positions only, take them from here. None is a free
size: the number of rows of a call.

""" + _how_to_run(first)


def _how_to_run(first: str) -> str:
    return f"""## Python, on a Raspberry Pi for one

    pip install ai-edge-litert numpy

```python
import json, os, urllib.parse
import numpy as np
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("model.tflite").get_signature_runner("serving_default")
rows = np.load("rows.npz")
answers = [run(**{{name: rows[name][at : at + 1] for name in rows}}) for at in range(len(json.load(open("rows.json"))))]
os.makedirs("answers", exist_ok=True)
for name in answers[0]:
    np.save(f"answers/{{urllib.parse.quote(name, safe='')}}.npy", np.concatenate([one[name] for one in answers]))
```

## Android

    adb push model.tflite raw /data/local/tmp/kit/
    adb shell /data/local/tmp/benchmark_model --graph=/data/local/tmp/kit/model.tflite --use_gpu=true

`benchmark_model` (from LiteRT's releases) times it. For answers,
`--input_layer_value_files={first}:/data/local/tmp/kit/raw/000/{first}.bin` gives it a row and
`--output_filepath=/data/local/tmp/kit/out.bin` keeps what comes out, in the order of positions; `np.fromfile` reads it.

## Browser

```js
import {{loadLiteRt, loadAndCompile, Tensor}} from "@litertjs/core";

await loadLiteRt("/node_modules/@litertjs/core/wasm/");
const model = await loadAndCompile("model.tflite", {{accelerator: "wasm"}});
const bytes = await (await fetch("raw/000/{first}.bin")).arrayBuffer();
const [answer] = await model.run(new Tensor(new Float32Array(bytes), [1, ...]));  // the shape of the input, one row
console.log(await answer.data());
```
"""


def _table(tensors: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(f"| `{one['name']}` | {one['position']} | {one['dtype']} | {one['shape']} |" for one in tensors)
