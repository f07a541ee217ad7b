"""A whole run whose checkpoints lie on S3 and whose samples on GCS, beside the same run with all of it on the disk."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from liteferry import storage
from liteferry.commands.run import count_checkpoints
from liteferry.config.job import Job
from liteferry.config.load import load_job
from liteferry.errors import JobError, ModelError, ReasonCode, SamplesError
from liteferry.evaluation.evaluate import evaluate_isolated
from liteferry.evaluation.results import EvaluationTask
from liteferry.exporting.export import export_isolated
from liteferry.plan.discovery import discover
from liteferry.plan.fingerprints import fingerprint
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.samples.batches import read_batches
from liteferry.samples.binding import bind
from liteferry.samples.opening import open_samples
from liteferry.storage import local_cache
from liteferry.types import Signature, TensorSpec
from tests.support import Run, facts_of, liteferry
from tests.support.emulators import _GCS, _S3, Bucket, gcs_bucket, s3_bucket
from tests.support.programs import run_program

LAYERS = """
import keras

@keras.saving.register_keras_serializable("ours")
class Halve(keras.layers.Layer):
    def call(self, inputs):
        return inputs / 2

def build(units):
    return keras.Sequential([keras.Input((8,), name="x"), keras.layers.Dense(units, name="y")])
"""
WRITER = """
import sys, keras, tensorflow as tf
sys.path.insert(0, sys.argv[1] + "/code")
import layers
folder = sys.argv[1]
def model(seed, *extra):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((8,), name="x"), *extra, keras.layers.Dense(3, name="y")])
for seed, name in enumerate(["first", "second [2]", "refused"]):
    model(seed).save(f"{folder}/plain/deep/{name}.keras")
model(4, layers.Halve()).save(f"{folder}/custom/halved.keras")
model(5).save(f"{folder}/custom/old.h5")
model(6).export(f"{folder}/graphs/exported", verbose=False)
built = layers.build(3)
tf.train.Checkpoint(model=built).write(f"{folder}/weights/trained")
model(7).save(f"{folder}/unproven/lonely.keras")
"""
JOB = """
models:
  - {{checkpoints: "{models}/plain/**/*.keras", samples: rows}}
  - {{checkpoints: "{models}/custom/*", samples: rows}}
  - {{checkpoints: "{models}/graphs/*", samples: rows}}
  - {{checkpoints: "{models}/weights/*.index", samples: shards, builder: "layers:build", builder_args: {{units: 3}}}}
  - {{checkpoints: "{models}/unproven/*.keras", samples: refused}}
modules: ["{models}/code/layers.py"]
samples:
  rows: {{path: "{rows}/rows.npz", label: label}}
  shards: {{path: "{rows}/part-*.parquet", take: 90, label: label}}
  refused: {{path: "{rows}/refused-*.parquet", label: label}}
variants: [float32, float16]
metrics: [{{class_name: SparseCategoricalAccuracy, max_drop: 0.5}}]
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything on the disk."""
    folder = tmp_path_factory.mktemp("local_inputs")
    for name in ("code", "plain/deep", "custom", "graphs", "weights", "unproven", "rows"):
        (folder / name).mkdir(parents=True)
    (folder / "code" / "layers.py").write_text(LAYERS)
    run_program(WRITER, folder, folder=folder)
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 8)).astype(np.float32)
    np.savez(folder / "rows" / "rows.npz", x=x, label=random.integers(0, 3, 120))
    for number in range(2):
        column = pa.FixedSizeListArray.from_arrays(pa.array(x[60 * number : 60 * number + 60].reshape(-1)), 8)
        labels = pa.array(random.integers(0, 3, 60))
        for name in ("part", "refused"):
            pq.write_table(pa.table({"x": column, "label": labels}), folder / "rows" / f"{name}-{number}.parquet")
    return run_in(folder, models=str(folder), rows=f"{folder}/rows", out="out")


def run_in(folder: Path, *, models: str, rows: str, out: str) -> Run:
    (folder / f"{out}.yaml").write_text(JOB.format(models=models, rows=rows))
    return run_job(folder / f"{out}.yaml", folder / out)


def run_job(job: Path, out: Path) -> Run:
    said = liteferry("run", "--config", job, "--output", out)
    assert said.returncode < 2, said.stderr
    return Run(out, said)


@dataclasses.dataclass
class Distant:
    run: Run
    models: Bucket
    rows: Bucket
    requests: list[str]
    cache: Path


@pytest.fixture(scope="module")
def distant(local: Run, _s3_server: _S3, _gcs_server: _GCS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distant]:
    """Checkpoints and code on S3, samples on GCS; one checkpoint and one shard that may be seen but not read."""
    folder = local.out.parent
    cache = tmp_path_factory.mktemp("cache")
    with s3_bucket(_s3_server) as models, gcs_bucket(_gcs_server) as rows, pytest.MonkeyPatch.context() as patch:
        patch.setenv(local_cache.FOLDER, str(cache))
        for name in ("code/layers.py", "plain", "custom", "graphs", "weights", "unproven"):
            storage.upload(str(folder / name), storage.join(models.uri, name))
        storage.upload(str(folder / "rows"), rows.uri)
        models.faults.requests.clear()
        models.fail("GET", "refused", status=403)
        rows.fail("GET", r"refused-1.parquet\?alt=media", status=403)
        run = run_in(folder, models=models.uri, rows=rows.uri, out="distant_out")
        yield Distant(run, models, rows, list(models.faults.requests), cache)


SAME = ("deep-first", "halved", "old", "exported", "trained.index")


def second(run: Run) -> str:
    """Its name has brackets, so its id ends in a hash of its URI."""
    (name,) = (name for name in run.model_ids() if name.startswith("deep-second_2-"))
    return name


def test_every_checkpoint_has_one_report_with_the_same_id(local: Run, distant: Distant) -> None:
    assert distant.run.model_ids() - {second(distant.run)} == local.model_ids() - {second(local)}, distant.run.said.stderr
    assert set(SAME) < local.model_ids()


@pytest.mark.parametrize("model_id", [*SAME, "second"])
def test_the_reports_are_equal_in_every_fact(local: Run, distant: Distant, model_id: str) -> None:
    here = facts_of(local.report(second(local) if model_id == "second" else model_id))
    there = facts_of(distant.run.report(second(distant.run) if model_id == "second" else model_id))
    assert here["status"] == "blessed", here["reason"]
    text = json.dumps(there).replace(distant.models.uri, str(local.out.parent))
    text = text.replace(distant.rows.uri, f"{local.out.parent}/rows")
    assert str(distant.cache) not in text
    there = json.loads(text)
    if model_id == "second":
        there["model_id"] = here["model_id"]
    # assets/metadata.json holds the URI, and counts.
    there["saved_model"]["bytes"] += len(str(local.out.parent)) - len(distant.models.uri)
    # The recipe digests hold the paths of modules, as the job writes them.
    for report in (here, there):
        for key in ("recipe_digest", "work_digest", "export_digest"):
            report.pop(key)
    assert there == here


def test_the_saved_model_names_the_uri(distant: Distant) -> None:
    (path,) = (distant.run.out / "models" / "deep-first" / "saved_model").glob("*/assets/metadata.json")
    assert json.loads(path.read_text())["checkpoint"]["uri"] == f"{distant.models.uri}/plain/deep/first.keras"


def test_a_checkpoint_that_may_not_be_read_is_its_own_models_reason(local: Run, distant: Distant) -> None:
    assert local.report("deep-refused")["status"] == "blessed"
    reason = distant.run.report("deep-refused")["reason"]
    assert (reason["code"], reason["stage"]) == ("STORAGE_FAILED", "load")
    assert reason["message"].startswith(f"{distant.models.uri}/plain/deep/refused.keras: cannot be read")
    assert "check the credentials (AWS_PROFILE" in reason["message"]


def test_a_shard_that_may_not_be_read_fails_the_models_that_need_it_with_its_uri(local: Run, distant: Distant) -> None:
    assert local.report("lonely")["status"] == "blessed", local.report("lonely")["reason"]
    report = distant.run.report("lonely")
    assert report["status"] != "blessed"
    assert report["reason"]["code"] == "STORAGE_FAILED"
    assert f"{distant.rows.uri}/refused-1.parquet: cannot be read" in report["reason"]["message"]


def test_each_object_is_fetched_once(distant: Distant) -> None:
    fetched = [request for request in distant.requests if request.startswith("GET") and "list-type" not in request]
    for name in ("first.keras", "halved.keras", "old.h5", "saved_model.pb", "trained.data", "layers.py"):
        most = 2 if name == "layers.py" else 1  # for its digest, and beside the other modules
        assert 1 <= len([request for request in fetched if name in request]) <= most, name


@pytest.mark.nightly  # a third run; tests/storage/test_known_digests.py has the rule
def test_a_second_run_downloads_what_has_changed_and_no_other_checkpoint(
    distant: Distant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(distant.run.out, tmp_path / "out")
    (tmp_path / "cache").mkdir()
    shutil.copy(distant.cache / "digests.sqlite", tmp_path / "cache")  # what lay in the cache itself has made room for others
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "cache"))
    uri = f"{distant.models.uri}/custom/old.h5"
    whole = storage.read_bytes(uri)
    other = bytes([*whole[:-1], whole[-1] ^ 1])  # as many bytes
    distant.models.put("custom/old.h5", other)
    distant.models.faults.requests.clear()
    try:
        again = run_job(distant.run.out.with_name("distant_out.yaml"), tmp_path / "out")
    finally:
        distant.models.put("custom/old.h5", whole)
    fetched = [request for request in distant.models.faults.requests if request.startswith("GET") and "list-type" not in request]
    names = ("first.keras", "second", "halved.keras", "saved_model.pb", "variables", "trained", "old.h5", "lonely.keras")
    assert {name for name in names if any(name in request for request in fetched)} == {"old.h5", "lonely.keras"}, fetched
    assert again.report("old")["checkpoint"]["digest"] == f"sha256:{hashlib.sha256(other).hexdigest()}"
    for model_id in SAME:
        kept = again.report(model_id) == distant.run.report(model_id)
        assert kept == (model_id != "old"), model_id


def test_nothing_of_the_cache_is_held_when_the_run_is_over(distant: Distant) -> None:
    assert not list(distant.cache.glob("*.part"))
    for lock in distant.cache.glob("*.lock"):
        descriptor = local_cache._lock(str(lock), fcntl.LOCK_EX)
        assert descriptor is not None, lock
        os.close(descriptor)


def test_inspect_check_and_compare_take_uris(local: Run, distant: Distant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local_cache.FOLDER, str(distant.cache))
    folder = local.out.parent
    here = json.loads(liteferry("inspect", folder / "custom" / "old.h5", "--json").stdout)
    said = liteferry("inspect", f"{distant.models.uri}/custom/old.h5", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout.replace(distant.models.uri, str(folder))) == here
    said = liteferry("check", "--config", folder / "distant_out.yaml")
    assert said.returncode == 1 and f"{distant.rows.uri}/refused-1.parquet: cannot be read" in said.stdout
    tflite = folder / "out" / "models" / "halved" / "tflite" / "float32.tflite"
    storage.upload(str(tflite), f"{distant.rows.uri}/halved.tflite")
    said = liteferry(
        "compare",
        f"{distant.models.uri}/custom/halved.keras",
        f"{distant.rows.uri}/halved.tflite",
        *("--samples", f"{distant.rows.uri}/rows.npz", "--label", "label"),
        *("--modules", f"{distant.models.uri}/code/layers.py"),
    )
    assert said.returncode == 0, said.stdout + said.stderr


# What changes or goes away on the way, without a process of TensorFlow


@pytest.fixture
def job(s3: Bucket, gs: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Two models that are no models, on rows that are rows."""
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "cache"))
    for name in ("a", "b"):
        s3.put(f"m/{name}.keras", name.encode() * 100)
    np.savez(tmp_path / "rows.npz", x=np.zeros((4, 8), np.float32))
    gs.put("rows.npz", (tmp_path / "rows.npz").read_bytes())
    text = f"models: [{{checkpoints: '{s3.uri}/m/*.keras', samples: rows}}]\nsamples: {{rows: {{path: '{gs.uri}/rows.npz'}}}}\n"
    (tmp_path / "job.yaml").write_text(text)
    return load_job(str(tmp_path / "job.yaml"))


def planned(job: Job, tmp_path: Path) -> list[ModelPlan]:
    return [fingerprint(plan) for plan in plan_models(job, str(tmp_path / "out"))]


def forget(tmp_path: Path) -> None:
    """As if another worker went on."""
    shutil.rmtree(tmp_path / "cache")


def test_a_fingerprint_is_that_of_the_bytes(job: Job, tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"a" * 100)
    plan, _ = planned(job, tmp_path)
    assert (plan.digest, plan.size_bytes) == (storage.digest(str(tmp_path / "a.keras")), 100)
    assert plan.stamp is not None and plan.path is None


def test_a_checkpoint_that_has_changed_since_is_not_exported_under_the_old_digest(job: Job, s3: Bucket, tmp_path: Path) -> None:
    plan, _ = planned(job, tmp_path)
    s3.put("m/a.keras", b"other")
    forget(tmp_path)
    (exported,) = export_isolated([plan])
    assert exported.reason is not None and exported.reason.code is ReasonCode.STORAGE_FAILED
    assert exported.reason.message.startswith(f"{s3.uri}/m/a.keras: has changed since this run looked at it first")


def test_a_checkpoint_that_has_gone_is_named(job: Job, s3: Bucket, tmp_path: Path) -> None:
    plans = planned(job, tmp_path)
    forget(tmp_path)
    for name in ("a", "b"):
        storage.remove_tree(f"{s3.uri}/m/{name}.keras")
    for name, exported in zip("ab", export_isolated(plans), strict=True):
        assert exported.reason is not None and exported.reason.code is ReasonCode.STORAGE_FAILED
        assert exported.reason.message.startswith(f"{s3.uri}/m/{name}.keras: cannot be read: nothing is there")


def test_one_that_cannot_be_read_when_its_digest_is_taken_is_reported_when_it_is_loaded(
    job: Job, s3: Bucket, tmp_path: Path
) -> None:
    s3.fail("GET", r"/a\.keras", status=403)
    plan, other = planned(job, tmp_path)
    assert plan.digest is None and other.digest is not None
    (exported,) = export_isolated([plan])
    assert exported.reason is not None and "a.keras: cannot be read: " in exported.reason.message


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (lambda gs: storage.remove_tree(f"{gs.uri}/rows.npz"), "cannot be read: nothing is there"),
        (lambda gs: gs.put("rows.npz", b"other"), "has changed since this run looked at it first"),
        (lambda gs: gs.fail("GET", "rows.npz", status=403), "check the credentials"),
    ],
    ids=["gone", "changed", "denied"],
)
def test_a_shard_that_is_lost_before_it_is_evaluated_is_the_reason(
    job: Job, gs: Bucket, tmp_path: Path, happens: Any, says: str
) -> None:
    plan, _ = planned(job, tmp_path)
    forget(tmp_path)
    happens(gs)
    task = EvaluationTask(
        plan=plan, signature=Signature(inputs=(), outputs=()), renamed_inputs={}, shard_index=0, candidates={"saved_model": "x"}
    )
    evaluation = evaluate_isolated(task, referenced=True)
    assert evaluation.reason is not None and evaluation.reason.code is ReasonCode.STORAGE_FAILED
    assert f"{gs.uri}/rows.npz: " in evaluation.reason.message and says in evaluation.reason.message


def test_more_than_the_cache_holds_is_the_reason(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = planned(job, tmp_path)
    monkeypatch.setenv(local_cache.GIGABYTES, "1e-7")
    forget(tmp_path)
    for exported in export_isolated(plans):
        assert exported.reason is not None and "raise LITEFERRY_CACHE_GB" in exported.reason.message


def test_a_bucket_that_is_not_there_is_the_users_mistake(s3: Bucket, gs: Bucket, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((4, 8), np.float32))
    s3.put("m.keras", b"1")
    for models, rows in (("s3://not-made/*", "rows.npz"), (f"{s3.uri}/*.keras", "gs://not-made/*.npz")):
        (tmp_path / "job.yaml").write_text(
            f"models: [{{checkpoints: '{models}', samples: rows}}]\nsamples: {{rows: {{path: '{rows}'}}}}\n"
        )
        with pytest.raises(JobError, match="there is no bucket 'not-made'"):
            count_checkpoints(load_job(str(tmp_path / "job.yaml")))


def test_ids_are_those_of_the_same_tree_on_a_disk(tmp_path: Path) -> None:
    names = ["a.keras", "deep/er/b.keras", "deep/c.h5", "saved/saved_model.pb", "saved/variables/variables.index", "x y.keras"]
    place = f"memory://{tmp_path.name}-ids"
    for name in names:
        storage.write_bytes(storage.join(place, "root", name), b"1")
        storage.write_bytes(str(tmp_path / "root" / name), b"1")
    for pattern in ("root/*", "root/**/*.keras", "root/**/*", "root/deep/c.h5", "root/saved", "root/saved/"):
        here, there = discover([f"{tmp_path}/{pattern}"]), discover([f"{place}/{pattern}"])
        assert [at.uri.removeprefix(place) for at in there] == [at.uri.removeprefix(str(tmp_path)) for at in here]
        assert [at.model_id for at in there if " " not in at.uri] == [at.model_id for at in here if " " not in at.uri]
        assert here


@pytest.mark.parametrize("name", ["missing.parquet", "missing-*.parquet", "folder"])
def test_samples_that_are_not_there(gs: Bucket, name: str) -> None:
    from liteferry.config.job import SamplesSpec

    gs.put("folder/rows.npz", b"1")
    with pytest.raises(SamplesError, match=rf"{gs.uri}/{name[:6]}"):
        open_samples(SamplesSpec(path=f"{gs.uri}/{name}"))


SAMPLE_FILES = Path(__file__).parents[1] / "campaigns" / "fuzz" / "seeds" / "samples"
SAMPLE_FORMATS = ("rows.parquet", "rows.npz", "rows.arrows", "rows.feather", "rows.tfrecord", "rows.tfrecord.gz")


@pytest.mark.parametrize("store", ["s3", pytest.param("gs", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", SAMPLE_FORMATS)
def test_every_format_gives_the_same_rows_from_a_store(name: str, store: str, request: pytest.FixtureRequest) -> None:
    bucket: Bucket = request.getfixturevalue(store)
    with_schema = "tfrecord" in name
    for file in (name, *(["schema.pbtxt"] if with_schema else [])):
        bucket.put(f"samples/{file}", (SAMPLE_FILES / file).read_bytes())
    assert rows_of(f"{bucket.uri}/samples", name, with_schema) == rows_of(str(SAMPLE_FILES), name, with_schema)


def rows_of(folder: str, name: str, with_schema: bool) -> tuple[Any, ...]:
    """Columns, digest, ids and values of a file of samples."""
    from liteferry.config.job import SamplesSpec

    spec = SamplesSpec(path=f"{folder}/{name}", schema_file=f"{folder}/schema.pbtxt" if with_schema else None)
    found = open_samples(spec)
    values = []
    for column_name, column in found.columns.items():
        inputs = (TensorSpec(name=column_name, shape=(None, *column.shape), dtype=column.dtype),)
        try:
            binding = bind(found, spec, Signature(inputs=inputs, outputs=inputs), samples_name="rows")
        except ModelError:
            continue  # no model takes such a column
        batches = [batch for shard in found.shards for batch in read_batches(shard, binding, batch_size=4)]
        values.append([(batch.ids, {at: rows.tolist() for at, rows in batch.inputs.items()}) for batch in batches])
    assert values, f"no column of {name} can be read"
    return list(found.columns.items()), found.row_count, found.digest, values
