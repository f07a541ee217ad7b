"""`python -m tests.campaigns.fuzz.make_seeds`: writes `seeds/` beside it anew, one sound file of every kind that LiteFerry reads.

They are kept so that a fuzzer's seed number means the same inputs everywhere, and so that a slice of it needs no TensorFlow.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.fuzz import records

SEEDS = Path(__file__).parent / "seeds"
_ROWS = 6


def _artifacts(folder: Path) -> None:
    """Checkpoints and .tflite files, written by the libraries in a sandbox."""
    from liteferry import sandbox
    from liteferry.sandbox import Flavor, Limits, SandboxSpec
    from tests.commands.inspect_units import write_artifacts

    limits = Limits(seconds=300, memory_bytes=8 * 10**9)
    outcome = sandbox.run(write_artifacts, str(folder), SandboxSpec(flavor=Flavor.KERAS, limits=limits, writable=[str(folder)]))
    assert outcome.error is None, outcome.error
    sandbox.close()


def _checkpoints(folder: Path, out: Path) -> None:
    kept = {
        "keras": ("keras3.keras", "keras2.keras", "keras3_normalized.keras", "keras3_custom.keras"),
        "h5": ("keras3.h5", "keras2.h5", "keras2_normalized.h5", "keras2_legacy.h5", "keras3.weights.h5"),
        "tflite": ("float.tflite", "int8.tflite", "plain.tflite"),
        "tf_checkpoint": ("training.index",),
    }
    for kind, names in kept.items():
        (out / kind).mkdir()
        for name in names:
            shutil.copy(folder / name, out / kind / name)
    for name in ("saved_model", "writes"):
        shutil.copytree(folder / name, out / "saved_model" / name)
    (out / "saved_model" / "saved_model" / "assets").mkdir(exist_ok=True)
    (out / "saved_model" / "saved_model" / "assets" / "vocabulary.txt").write_text("one\ntwo\n")
    (out / "archive").mkdir()
    with zipfile.ZipFile(out / "archive" / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "keras3_one.keras", "inner/model.keras")
        archive.writestr("readme.txt", "a model")
    with tarfile.open(out / "archive" / "model.tar.gz", "w:gz", compresslevel=9) as tar:
        tar.add(folder / "saved_model", "export", filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
    return entry


def _example(**values: list[Any]) -> bytes:
    """A tf.Example without TensorFlow."""
    from tests.campaigns.fuzz.protos import Field, encode

    features = []
    for name, items in values.items():
        if isinstance(items[0], bytes):
            listed = encode([Field(1, 2, encode([Field(1, 2, item) for item in items]))])
        elif isinstance(items[0], int):
            listed = encode([Field(3, 2, encode([Field(1, 0, item) for item in items]))])
        else:
            listed = encode([Field(2, 2, encode([Field(1, 2, np.asarray(items, "<f4").tobytes())]))])
        features.append(Field(1, 2, encode([Field(1, 2, name.encode()), Field(2, 2, listed)])))
    return encode([Field(1, 2, encode(features))])


def _image(kind: str) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert("P") if kind == "GIF" else picture).save(buffer, kind)
    return buffer.getvalue()


IMAGES = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "PCX", "SGI")


def _samples(out: Path) -> None:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet as pq

    out.mkdir()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_ROWS, 3)).astype(np.float32)
    label = np.arange(_ROWS, dtype=np.int64) % 2
    np.savez(out / "rows.npz", x=x, label=label, name=np.array([f"r{i}" for i in range(_ROWS)]))
    np.savez_compressed(out / "packed.npz", x=x, label=label)
    lists = pa.array([[float(value) for value in row] for row in x], pa.list_(pa.float32()))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 3)
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(x.reshape(_ROWS, 3, 1))
    nested = pa.array([[[1.0, 2.0], [3.0, 4.0]]] * _ROWS, pa.list_(pa.list_(pa.float64())))
    words = pa.array(["a", "b", "a", "c", "b", "a"]).dictionary_encode()
    table = pa.table(
        {
            "x": lists,
            "fixed": fixed,
            "tensor": tensor,
            "nested": nested,
            "words": words,
            "label": label,
            "id": words.dictionary_decode(),
        }
    )
    pq.write_table(table, out / "rows.parquet", row_group_size=4)
    pq.write_table(table.select(["x", "words", "label"]), out / "packed.parquet", compression="zstd", data_page_version="2.0")
    for name, compression in (("rows.feather", "uncompressed"), ("packed.feather", "zstd")):
        pyarrow.feather.write_feather(table, str(out / name), compression=compression)
    with pa.OSFile(str(out / "rows.arrows"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    examples = [_example(x=[1.0, 2.0, float(i)], label=[i % 2], name=[f"r{i}".encode()]) for i in range(_ROWS)]
    framed = b"".join(map(records.frame, examples))
    (out / "rows.tfrecord").write_bytes(framed)
    (out / "rows.tfrecord.gz").write_bytes(gzip.compress(framed, mtime=0))
    schema = 'feature { name: "x" type: FLOAT shape { dim { size: 3 } } }\nfeature { name: "label" type: INT }\n'
    (out / "schema.pbtxt").write_text(schema)


def _jobs(out: Path) -> None:
    (out / "job").mkdir(parents=True)
    full = {
        "models": [
            {"checkpoints": "*.keras", "samples": "rows", "metadata": {"team": "vision", "rate": 0.001, "tags": ["a", None]}},
            {"checkpoints": "weights/*.h5", "builder": "my_models:build", "builder_args": {"units": 64}, "samples": "rows"},
            {
                "checkpoints": "tf/*.index",
                "builder": "my_models:build",
                "samples": "rows",
                "signatures": {
                    "serve": {
                        "function": "my_models:serve",
                        "inputs": {"s": {"shape": [None], "dtype": "string"}},
                        "assets": {"words": "vocabulary.txt"},
                    }
                },
            },
        ],
        "modules": ["my_models.py"],
        "custom_objects": {"<lambda>": "my_models:act"},
        "trust": ["lambda"],
        "samples": {
            "rows": {"path": "rows.npz", "inputs": {"x": "x"}, "label": "label", "slices": [[], ["label"]], "take": 4, "seed": 3}
        },
        "variants": ["float32", "float16", "int8"],
        "recipes": {"mine": "recipe.json"},
        "gates": {"float32": {"max_abs": 1e-5}, "int8": {"argmax_agreement": 0.98, "outputs": {"y": {"max_abs": None}}}},
        "metrics": [{"class_name": "SparseCategoricalAccuracy", "max_drop": 0.01}],
        "policy": {"require": ["float32"]},
        "limits": {"seconds_per_model": 900, "memory_gb_per_model": 8},
        "conversion": {"fixed_batch": 1},
        "quantization": {"integer_io": True, "calibration_rows": 16},
        "evaluation": {"batch_size": 32},
    }
    import yaml

    (out / "job" / "job.yaml").write_text(yaml.safe_dump(full, sort_keys=False))
    (out / "job" / "job.json").write_text(json.dumps(full, indent=1))
    from ai_edge_quantizer import recipe

    (out / "job" / "recipe.json").write_text(json.dumps(recipe.dynamic_wi8_afp32()))
    (out / "job" / "eval_config.pbtxt").write_text(
        'model_specs { label_key: "label" }\nmetrics_specs { metrics { class_name: "ExampleCount" } }\n'
    )
    (out / "runner_config").mkdir()
    runner = {
        "runner": "DirectRunner",
        "direct_num_workers": 2,
        "streaming": False,
        "experiments": ["a", "b"],
        "temp_location": None,
    }
    (out / "runner_config" / "direct.yaml").write_text(yaml.safe_dump(runner))


def _out(out: Path) -> None:
    """A finished run's folder, as small as it goes: reports of a real demo run, files of a few bytes."""
    from tests.support import liteferry

    with tempfile.TemporaryDirectory() as scratch:
        done = liteferry("demo", "--output", scratch, "--with_broken")
        assert done.returncode in (0, 1), done.stderr
        run = Path(scratch)
        out.mkdir()
        for model_id in ("mlp", "broken_truncated"):
            folder = out / "models" / model_id
            folder.mkdir(parents=True)
            for name in ("report.json", "BLESSED", "NOT_BLESSED"):
                if (run / "models" / model_id / name).exists():
                    shutil.copy(run / "models" / model_id / name, folder / name)
            _without_files(folder)
        fleet = json.loads((run / "fleet.json").read_text())
        fleet["models"] = [model for model in fleet["models"] if model["model_id"] in ("mlp", "broken_truncated")]
        fleet["rows"] = [row for row in fleet["rows"] if row["model_id"] in ("mlp", "broken_truncated")]
        verdicts = [model["status"] for model in fleet["models"]]
        fleet["totals"] |= {"models": 2} | {word: verdicts.count(word) for word in ("blessed", "not_blessed", "failed")}
        (out / "fleet.json").write_text(json.dumps(fleet, indent=1))
        history = json.loads((run / ".history" / "last_run.json").read_text())
        for key in ("models", "blessed_contracts"):
            history[key] = {name: facts for name, facts in history[key].items() if name in ("mlp", "broken_truncated")}
        (out / ".history").mkdir()
        (out / ".history" / "last_run.json").write_text(json.dumps(history))
    (out / ".staging" / "progress").mkdir(parents=True)
    lines = [
        {"doing": "mlp", "stage": "load", "since": 1.0},
        {"model_id": "mlp", "status": "blessed", "line": "blessed mlp", "is_new": True},
    ]
    (out / ".staging" / "progress" / "1.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _without_files(folder: Path) -> None:
    """The report of a model without its artifacts, and the marker that vouches for it."""
    from liteferry.output.model_folder import vouch_for

    report = json.loads((folder / "report.json").read_text())
    content = json.dumps(report | {"files": {}}).encode()
    (folder / "report.json").write_bytes(content)
    for marker in ("BLESSED", "NOT_BLESSED"):
        if (folder / marker).exists():
            (folder / marker).write_bytes(vouch_for(content))


def main() -> None:
    shutil.rmtree(SEEDS, ignore_errors=True)
    SEEDS.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        _artifacts(Path(scratch))
        _checkpoints(Path(scratch), SEEDS)
    _samples(SEEDS / "samples")
    (SEEDS / "image").mkdir()
    for kind in IMAGES:
        (SEEDS / "image" / f"picture.{kind.lower()}").write_bytes(_image(kind))
    _jobs(SEEDS)
    _out(SEEDS / "out")
    size = sum(path.stat().st_size for path in SEEDS.rglob("*") if path.is_file())
    print(f"{size:,} bytes in {SEEDS}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
