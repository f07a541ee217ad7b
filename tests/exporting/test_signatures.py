"""`signatures:` and `serve_examples`, from the job file to a clean process that has plain TensorFlow and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from liteferry.config import parse_job
from liteferry.errors import JobError
from tests.support import Run, liteferry

MAKER = """
    import sys
    import keras, numpy as np, tensorflow as tf
    sys.path.insert(0, ".")
    import model_code

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    np.savez("rows.npz", image=rng.uniform(0, 1, (12, 6, 6, 3)).astype("float32"))
    layers = [keras.Input((6, 6, 3), name="image"), keras.layers.Flatten(), keras.layers.Dense(3, name="scores")]
    plain = keras.Sequential(layers)
    plain.save("plain.keras")
    plain.set_weights([-w for w in plain.get_weights()])
    plain.save("retrained.keras")
    model = model_code.Encoder()
    model(np.zeros((1, 6, 6, 3), "float32"))
    model.save("encoder.keras")
    np.savez("mixed_rows.npz", x=rng.uniform(0, 1, (8, 2)).astype("float32"), n=rng.integers(0, 9, (8, 3)).astype("int32"),
             s=np.array([["a"], ["b"]] * 4, dtype="S"))
    x, n, s = keras.Input((2,), name="x"), keras.Input((3,), dtype="int32", name="n"), keras.Input((1,), dtype="string", name="s")
    looked = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(s)
    joined = keras.layers.Concatenate()([x, keras.layers.Rescaling(1.0)(n), keras.layers.Rescaling(1.0)(looked)])
    keras.Model([x, n, s], keras.layers.Dense(2, name="y")(joined)).save("mixed.keras")
    layers = [keras.Input((None, 4), name="sequence"), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
    keras.Sequential(layers).save("free_length.keras")
    np.savez("sequence_rows.npz", sequence=rng.uniform(0, 1, (4, 5, 4)).astype("float32"))
"""

MODEL_CODE = """
    import keras, tensorflow as tf

    @keras.saving.register_keras_serializable("tests")
    class Encoder(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.flip = keras.layers.RandomFlip()
            self.flatten = keras.layers.Flatten()
            self.dense = keras.layers.Dense(4)
            self.head = keras.layers.Dense(2)
        def embed(self, image):
            return {"embedding": self.dense(self.flatten(self.flip(image)))}
        def tail(self, values, training=True):
            return self.head(values) + (1.0 if training else 0.0)
        def jitter(self, image):
            return tf.random.uniform(tf.shape(image))
        def call(self, image):
            return self.head(self.embed(image)["embedding"])

    def from_png(inference, png, scale):
        image = tf.map_fn(lambda p: tf.image.decode_png(p, channels=3), png, fn_output_signature=tf.uint8)
        image.set_shape([None, 6, 6, 3])
        return {"own": inference(tf.cast(image, tf.float32) / 255.0)["scores"] * scale[:, None]}

    def labels(inference):
        table = tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(
            inference.assets["vocabulary"], tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE), "?")
        def serve(image):
            scores = inference(image=image)["scores"]
            return {"label": table.lookup(tf.argmax(scores, axis=-1)), "scores": scores}
        return serve

    def reads_the_path(inference, image):
        return {"text": tf.io.read_file(inference.assets["vocabulary"]), "scores": inference(image)["scores"]}

    def wrong_input(inference, image):
        return inference(picture=image)

    def returns_nothing(inference, image):
        return None
"""

# A process without Keras, without the user's code and without the files the assets came from.
CLEAN = """
    import glob, json, sys
    import numpy as np, tensorflow as tf

    class NoKeras:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("keras", "tf_keras", "model_code"):
                raise ImportError(name)

    def feature(value):
        value = np.ravel(value)
        if value.dtype.kind == "S":
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=list(value)))
        if value.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))

    def example(row):
        features = tf.train.Features(feature={name: feature(value) for name, value in row.items()})
        return tf.train.Example(features=features).SerializeToString()

    def given(name, rows):
        count = len(next(iter(rows.values())))
        if name == "serve_examples":
            return {"examples": [example({key: value[row] for key, value in rows.items()}) for row in range(count)]}
        if name == "from_png":
            png = [tf.io.encode_png(tf.cast(image * 255, tf.uint8)).numpy() for image in rows["image"]]
            return {"png": png, "scale": np.full(count, 2, "float32")}
        return {"values": np.ones((5, 4), "float32")} if name == "tail" else rows

    def plain(tensor):
        return [text.decode() for text in tensor.numpy()] if tensor.dtype == tf.string else tensor.numpy().tolist()

    sys.meta_path.insert(0, NoKeras())
    for model_id, calls in json.loads(sys.argv[2]).items():
        loaded = tf.saved_model.load(glob.glob(f"{sys.argv[1]}/{model_id}/saved_model/*")[0])
        rows = dict(np.load(calls["rows"]))
        answers = {}
        for name in ["serving_default", *calls["signatures"]]:
            tensors = {key: tf.constant(value) for key, value in given(name, rows).items()}
            answers[name] = {key: plain(value) for key, value in loaded.signatures[name](**tensors).items()}
        print(json.dumps({model_id: answers}))
"""

IMAGE = {"image": {"shape": [None, 6, 6, 3]}}


def python(code: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True, timeout=300).stdout


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"function": f"model_code:{name}", "inputs": IMAGE, **more}


def job(folder: Path, **models: dict[str, Any]) -> Path:
    """One folder of checkpoints for each name: a copy of what `of` names."""
    entries = []
    for name, entry in models.items():
        source = folder / f"{entry.pop('of')}.keras"
        (folder / "checkpoints" / name).mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints" / name / f"{name}.keras").write_bytes(source.read_bytes())
        entries.append({"checkpoints": f"checkpoints/{name}/{name}.keras", "samples": "rows", **entry})
    samples = {name: {"path": f"{name}.npz"} for name in ("rows", "mixed_rows", "sequence_rows")}
    path = folder / "job.yaml"
    path.write_text(
        yaml.safe_dump({"models": entries, "samples": samples, "modules": ["model_code.py"], "variants": ["float32"]})
    )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signatures")
    (folder / "model_code.py").write_text(textwrap.dedent(MODEL_CODE))
    (folder / "vocabulary.txt").write_text("cat\ndog\nowl\n")
    python(MAKER, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    vocabulary = {"assets": {"vocabulary": "vocabulary.txt"}}
    png = {"png": {"dtype": "string"}, "scale": {}}
    path = job(
        folder,
        plain={
            "of": "plain",
            "serve_examples": True,
            "signatures": {"from_png": {**function("from_png"), "inputs": png}, "labels": function("labels", **vocabulary)},
        },
        encoder={
            "of": "encoder",
            "signatures": {"embed": {"method": "embed"}, "tail": {"method": "tail", "inputs": {"values": {"shape": [None, 4]}}}},
        },
        mixed={"of": "mixed", "samples": "mixed_rows", "serve_examples": True},
        reads_the_path={"of": "plain", "signatures": {"text": function("reads_the_path", **vocabulary)}},
        wrong_input={"of": "plain", "signatures": {"wrong": function("wrong_input")}},
        returns_nothing={"of": "plain", "signatures": {"nothing": function("returns_nothing")}},
        no_function={"of": "plain", "signatures": {"none": function("not_there")}},
        no_method={"of": "plain", "signatures": {"none": {"method": "not_there"}}},
        random={"of": "encoder", "signatures": {"jitter": {"method": "jitter"}}},
        free_length={"of": "free_length", "samples": "sequence_rows", "serve_examples": True},
    )
    out = folder / "out"
    return Run(out, liteferry("run", "--config", path, "--output", out))


@pytest.fixture(scope="module")
def answers(run: Run, folder: Path) -> dict[str, dict[str, Any]]:
    (folder / "vocabulary.txt").rename(folder / "moved away")
    wanted = {
        "plain": {"rows": "rows.npz", "signatures": ["from_png", "labels", "serve_examples"]},
        "encoder": {"rows": "rows.npz", "signatures": ["embed", "tail"]},
        "mixed": {"rows": "mixed_rows.npz", "signatures": ["serve_examples"]},
    }
    printed = python(CLEAN, str(run.out / "models"), json.dumps(wanted), cwd=folder)
    return {name: found for line in printed.splitlines() for name, found in json.loads(line).items()}


def test_models_with_signatures_are_blessed_and_the_report_lists_them(run: Run) -> None:
    # LiteRT has no string lookup: of `mixed` only the SavedModel can be blessed.
    reports = {name: run.report(name) for name in ("plain", "encoder", "mixed")}
    assert [report["saved_model"]["status"] for report in reports.values()] == ["blessed"] * 3, run.said.stdout
    assert [report["status"] for report in reports.values()] == ["blessed", "blessed", "not_blessed"]
    signatures = run.report("plain")["saved_model"]["signatures"]
    assert set(signatures) == {"serving_default", "serve_examples", "from_png", "labels"}
    assert signatures["from_png"]["inputs"] == [
        {"name": "png", "shape": [None], "dtype": "string"},
        {"name": "scale", "shape": [None], "dtype": "float32"},
    ]
    assert [spec["name"] for spec in signatures["labels"]["outputs"]] == ["label", "scores"]


@pytest.mark.parametrize("model_id", ["plain", "mixed"])
def test_serve_examples_answers_as_serving_default(answers: dict[str, Any], model_id: str) -> None:
    assert answers[model_id]["serve_examples"] == answers[model_id]["serving_default"]


def test_a_function_of_the_users_wraps_the_model(answers: dict[str, Any]) -> None:
    scores = answers["plain"]["serving_default"]["scores"]
    # PNG holds 8 bits: the rows are not quite the sample rows.
    for got, expected in zip(answers["plain"]["from_png"]["own"], scores, strict=True):
        assert got == pytest.approx([2 * value for value in expected], abs=0.05)


def test_a_vocabulary_travels_with_the_saved_model(answers: dict[str, Any], run: Run) -> None:
    found, scores = answers["plain"]["labels"], answers["plain"]["serving_default"]["scores"]
    assert found["scores"] == scores
    assert found["label"] == [["cat", "dog", "owl"][row.index(max(row))] for row in scores]
    assert sorted(path.name for path in (run.out / "models/plain/saved_model/1/assets").iterdir()) == [
        "metadata.json",
        "vocabulary.txt",
    ]


def test_a_method_computes_inference_whatever_its_layers_default_to(answers: dict[str, Any]) -> None:
    assert len(answers["encoder"]["embed"]["embedding"]) == 12
    assert len(answers["encoder"]["tail"]["output_0"]) == 5


@pytest.mark.parametrize(
    ("model_id", "code", "words"),
    [
        ("reads_the_path", "EXPORT_FAILED", "signatures.text: reads an asset by its path"),
        ("wrong_input", "EXPORT_FAILED", "the model takes image; given: picture"),
        ("returns_nothing", "EXPORT_FAILED", "signatures.nothing: returns no tensor"),
        ("no_function", "EXPORT_FAILED", "module 'model_code' has no 'not_there' (it defines: Encoder, from_png"),
        ("no_method", "EXPORT_FAILED", "signatures.none: Sequential has no method 'not_there'"),
        ("random", "EXPORT_NONDETERMINISTIC", "signatures.jitter: two runs on the same rows differ in output_0"),
        ("free_length", "EXPORT_FAILED", "input 'sequence' (float32, shape [None, None, 4]) has no fixed form in a tf.Example"),
    ],
)
def test_a_signature_that_cannot_be_served_is_refused(run: Run, model_id: str, code: str, words: str) -> None:
    report = run.report(model_id)
    assert (report["status"], report["reason"]["code"]) == ("failed", code), report["reason"]
    assert words in report["reason"]["message"]
    assert report["saved_model"] is None
    assert not (run.out / "models" / model_id / "saved_model").exists()


@pytest.mark.parametrize(
    ("signatures", "problem"),
    [
        ({"serving_default": {"method": "m"}}, "holds 'serving_default', which is the model itself"),
        ({"serve_examples": {"method": "m"}}, "holds 'serve_examples', which is written by `serve_examples: true`"),
        ({"a b": {"method": "m"}}, "holds the name 'a b'"),
        ({"s": {}}, "needs either `method` or `function`, one of the two"),
        ({"s": {"method": "m", "function": "a:b"}}, "needs either `method` or `function`, one of the two"),
        ({"s": {"method": "m", "inputs": {"x": {"dtype": "float"}}}}, "'float' is not a dtype"),
        ({"s": {"method": "m", "inputs": {"x": {"shape": [None, 0]}}}}, "0 is not above 0"),
        ({"s": {"metod": "m"}}, "did you mean method?"),
    ],
)
def test_a_wrong_entry_is_named(signatures: dict[str, Any], problem: str) -> None:
    with pytest.raises(JobError) as error:
        parse_job({"models": [{"checkpoints": "a", "signatures": signatures}]}, base_dir=None)
    assert problem in str(error.value)
    assert "models[0].signatures" in str(error.value)


def test_an_asset_that_is_not_there_stops_the_job_before_it_begins(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump(
            {
                "models": [
                    {"checkpoints": str(folder / "*.keras"), "signatures": {"s": {"method": "m", "assets": {"a": "no.txt"}}}}
                ]
            }
        )
    )
    said = liteferry("run", "--config", tmp_path / "job.yaml", "--output", tmp_path / "out")
    assert said.returncode == 2
    assert "models[0].signatures.s.assets.a" in said.stderr
    assert "is not there" in said.stderr


def test_a_new_checkpoint_gets_a_new_version_and_the_same_one_does_not(folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.keras"
    seen = []
    steps: list[tuple[str, list[str]]] = [
        ("plain", []),
        ("plain", ["--force"]),
        ("retrained", []),
        ("retrained", ["--variants=float16"]),
    ]
    for source, flags in steps:
        checkpoint.write_bytes((folder / f"{source}.keras").read_bytes())
        arguments: list[str | Path] = [
            "--checkpoints",
            checkpoint,
            "--samples",
            folder / "rows.npz",
            "--variants",
            "float32",
            *flags,
        ]
        run = Run(tmp_path / "out", liteferry("run", *arguments, "--output", tmp_path / "out"))
        assert run.said.returncode == 0, run.said.stdout + run.said.stderr
        report = run.report("model")
        folders = [path.name for path in (run.out / "models/model/saved_model").iterdir()]
        assert folders == [str(report["version"])]
        assert report["saved_model"]["path"] == f"saved_model/{report['version']}"
        seen.append(report["version"])
    assert seen == [1, 1, 2, 2]
