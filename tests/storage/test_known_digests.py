"""Digests that are remembered: an unchanged checkpoint on a store is not downloaded to learn that it has not changed."""

from __future__ import annotations

import concurrent.futures
import datetime
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from liteferry import storage
from liteferry.config.job import Job
from liteferry.config.load import load_job
from liteferry.plan.fingerprints import fingerprint, read_remembered
from liteferry.plan.model_plan import ModelPlan
from liteferry.plan.planning import plan_models
from liteferry.storage import digest_cache, local_cache, object_store
from liteferry.storage.digest_cache import Known
from tests.support.emulators import Bucket


def known(number: int = 1) -> Known:
    return Known(f"sha256:{number}", number)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache"


# The memory alone


def test_what_was_kept_is_recalled_for_the_same_files_and_mark_alone() -> None:
    digest_cache.store(["s3://b/m"], "etag=1", known(1))
    digest_cache.store(["s3://b/m.index", "s3://b/m.data"], "etag=1", known(2))
    assert digest_cache.lookup(["s3://b/m"], "etag=1") == known(1)
    assert digest_cache.lookup(["s3://b/m.index", "s3://b/m.data"], "etag=1") == known(2)
    for uris, mark in ((["s3://b/m"], "etag=2"), (["s3://b/n"], "etag=1"), (["s3://b/m.index"], "etag=1")):
        assert digest_cache.lookup(uris, mark) is None
    digest_cache.store(["s3://b/m"], "etag=1", known(3))
    assert digest_cache.lookup(["s3://b/m"], "etag=1") == known(3)


def test_without_a_mark_nothing_is_known() -> None:
    digest_cache.store(["s3://b/m"], None, known())
    assert digest_cache.lookup(["s3://b/m"], None) is None


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"])
def test_the_same_address_at_another_endpoint_is_another_thing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digest_cache.store(["s3://b/m"], "etag=1", known())
    monkeypatch.setenv(name, "http://elsewhere")
    assert digest_cache.lookup(["s3://b/m"], "etag=1") is None


def test_another_version_takes_digests_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    digest_cache.store(["s3://b/m"], "etag=1", known())
    monkeypatch.setattr(digest_cache, "__version__", "99.0")
    assert digest_cache.lookup(["s3://b/m"], "etag=1") is None


def test_it_is_bounded_and_what_was_asked_for_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_cache, "_MOST", 10)
    for number in range(1, 9):
        digest_cache.store([f"s3://b/{number}"], "etag=1", known(number))
    assert digest_cache.lookup(["s3://b/1"], "etag=1") == known(1)
    for number in range(9, 18):
        digest_cache.store([f"s3://b/{number}"], "etag=1", known(number))
    kept = [number for number in range(1, 18) if digest_cache.lookup([f"s3://b/{number}"], "etag=1")]
    assert kept == [1, *range(9, 18)]


WRITER = """
    import sys
    from liteferry.storage import digest_cache

    for number in range(40):
        digest_cache.store([f"s3://b/{sys.argv[1]}/{number}"], "etag=1", digest_cache.Known("sha256:" + sys.argv[1], number))
        digest_cache.store(["s3://b/both"], "etag=1", digest_cache.Known("sha256:both", 1))
"""


def test_processes_and_threads_at_once_lose_nothing() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), name]) for name in "ab"]

    def keep(number: int) -> None:
        digest_cache.store([f"s3://b/c/{number}"], "etag=1", Known("sha256:c", number))

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(keep, range(40)))
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for name in "abc":
        found = [digest_cache.lookup([f"s3://b/{name}/{number}"], "etag=1") for number in range(40)]
        assert found == [Known(f"sha256:{name}", number) for number in range(40)]


def test_a_damaged_file_is_nothing_known_and_made_anew(cache: Path) -> None:
    digest_cache.store(["s3://b/m"], "etag=1", known())
    (cache / "digests.sqlite").write_bytes(b"no database" * 1000)
    assert digest_cache.lookup(["s3://b/m"], "etag=1") is None
    digest_cache.store(["s3://b/m"], "etag=1", known())
    assert digest_cache.lookup(["s3://b/m"], "etag=1") == known()


def test_one_that_another_process_holds_for_long_is_not_waited_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_cache, "_PATIENCE_S", 0.1)
    digest_cache.store(["s3://b/m"], "etag=1", known())
    holder = sqlite3.connect(cache / "digests.sqlite")
    holder.execute("BEGIN EXCLUSIVE")
    assert digest_cache.lookup(["s3://b/m"], "etag=1") is None
    digest_cache.store(["s3://b/m"], "etag=1", known(2))
    holder.close()
    assert digest_cache.lookup(["s3://b/m"], "etag=1") == known()


def test_a_cache_that_cannot_be_made_is_nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "file" / "cache"))
    digest_cache.store(["s3://b/m"], "etag=1", known())
    assert digest_cache.lookup(["s3://b/m"], "etag=1") is None


# What a store says, and whether it will do


def ago(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("facts", "lasts"),  # made when the test runs: minutes may have gone since it was collected
    [
        (lambda: {"generation": "17"}, True),
        (lambda: {"ETag": '"abc"', "LastModified": ago(0)}, True),
        (lambda: {"etag": "0x8D"}, True),
        (lambda: {"ETag": 'W/"abc"'}, False),
        (lambda: {"mtime": time.time() - 3600}, True),
        (lambda: {"mtime": time.time()}, False),
        (lambda: {"created": ago(3600)}, True),
        (lambda: {"created": ago(0)}, False),
        (lambda: {"created": datetime.datetime(2020, 1, 1)}, True),
        (lambda: {"mtime": "yesterday"}, False),
        (dict, False),
    ],
)
def test_only_what_cannot_be_the_same_for_other_content_is_a_mark(facts: Callable[[], dict[str, object]], lasts: bool) -> None:
    entry = object_store._entry({"size": 5, **facts()})
    assert (entry.mark is not None) == lasts
    assert entry.size == 5 and entry.stamp


def test_a_mark_is_another_one_when_anything_that_the_store_says_is() -> None:
    facts: dict[str, object] = {"size": 5, "ETag": '"abc"', "LastModified": datetime.datetime(2026, 1, 1)}
    others: list[dict[str, object]] = [{"size": 6}, {"ETag": '"abd"'}, {"LastModified": datetime.datetime(2026, 1, 2)}]
    marks = [object_store._entry({**facts, **other}).mark for other in ({}, *others)]
    assert None not in marks and len(set(marks)) == 4


def test_a_folder_has_a_mark_when_all_of_its_files_have(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"memory://known-{time.time_ns()}"
    for name in ("a", "b"):
        storage.write_bytes(f"{place}/m/{name}", b"1")
    assert object_store.stat(f"{place}/m").mark is None, "what was written this minute may be written again in the same tick"
    monkeypatch.setattr(object_store, "_SETTLED_S", -1.0)
    before = object_store.stat(f"{place}/m").mark
    assert before is not None
    storage.write_bytes(f"{place}/m/b", b"2")
    assert object_store.stat(f"{place}/m").mark not in (None, before)


# Plans


@pytest.fixture(params=["s3", pytest.param("gs", marks=pytest.mark.nightly)])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """Three checkpoints that are no models: a file, a folder, and an index with data beside it."""
    found: Bucket = request.getfixturevalue(request.param)
    found.put("m/a.keras", b"a" * 100)
    for name in ("saved_model.pb", "variables/variables.index"):
        found.put(f"m/b/{name}", name.encode())
    for name in ("c.index", "c.data-00000-of-00001"):
        found.put(f"m/{name}", name.encode())
    return found


@pytest.fixture
def job(bucket: Bucket, tmp_path: Path) -> Job:
    np.savez(tmp_path / "rows.npz", x=np.zeros((4, 8), np.float32))
    entries = [f"{{checkpoints: '{bucket.uri}/m/{name}', samples: rows}}" for name in ("a.keras", "b", "c.index")]
    text = f"models: [{', '.join(entries)}]\nsamples: {{rows: {{path: '{tmp_path}/rows.npz'}}}}\n"
    (tmp_path / "job.yaml").write_text(text)
    return load_job(str(tmp_path / "job.yaml"))


def plans_of(job: Job, tmp_path: Path) -> dict[str, ModelPlan]:
    return {plan.model_id: fingerprint(plan) for plan in plan_models(job, str(tmp_path / "out"))}


def forget_copies(cache: Path) -> None:
    """What the cache holds of contents goes, as it does when others need the room."""
    for path in cache.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def downloads(bucket: Bucket) -> list[str]:
    """Objects whose content was asked for since the last time."""
    listed = re.compile(r"list-type=|[?&]fields=|/o\?|prefix=")
    found = [request for request in bucket.faults.requests if request.startswith("GET ") and not listed.search(request)]
    found = [request for request in found if "alt=media" in request or "s3" in bucket.uri.partition("://")[0]]
    bucket.faults.requests.clear()
    return found


def test_an_unchanged_checkpoint_is_downloaded_once(job: Job, bucket: Bucket, cache: Path, tmp_path: Path) -> None:
    first = plans_of(job, tmp_path)
    assert len(downloads(bucket)) == 5, "two folders' worth and a file: the test sees what is downloaded"
    forget_copies(cache)
    second = plans_of(job, tmp_path)
    assert downloads(bucket) == []
    assert [plan.is_remembered for plan in (*first.values(), *second.values())] == [False] * 3 + [True] * 3
    for name, plan in second.items():
        assert plan.digest is not None
        was = first[name]
        assert (plan.digest, plan.size_bytes, plan.files, plan.stamp) == (was.digest, was.size_bytes, was.files, was.stamp)


@pytest.mark.parametrize(
    ("name", "content", "model_id"),
    [
        ("m/a.keras", b"b" * 100, "a"),
        ("m/b/saved_model.pb", b"saved_model.bp", "b"),
        ("m/c.data-00000-of-00001", b"c.data-00000-of-00002", "c.index"),
    ],
)
def test_other_content_of_the_same_size_is_noticed(
    job: Job, bucket: Bucket, tmp_path: Path, name: str, content: bytes, model_id: str
) -> None:
    before = plans_of(job, tmp_path)
    downloads(bucket)
    bucket.put(name, content)
    after = plans_of(job, tmp_path)
    assert downloads(bucket), "nothing was read of what has changed"
    assert {other for other in before if before[other].digest != after[other].digest} == {model_id}
    assert before[model_id].size_bytes == after[model_id].size_bytes
    assert {other for other in after if not after[other].is_remembered} == {model_id}


def test_what_is_to_be_exported_is_read_after_all(job: Job, bucket: Bucket, cache: Path, tmp_path: Path) -> None:
    first = plans_of(job, tmp_path)
    forget_copies(cache)
    downloads(bucket)
    second = {name: read_remembered(plan) for name, plan in plans_of(job, tmp_path).items()}
    assert len(downloads(bucket)) == 5
    assert second == first


def test_a_memory_that_is_wrong_costs_a_download_and_no_model(job: Job, bucket: Bucket, tmp_path: Path) -> None:
    """The bytes decide of what is exported."""
    right = plans_of(job, tmp_path)
    for plan in right.values():
        digest_cache.store(plan.files, local_cache.seen(plan.files).mark, known())
    assert {plan.digest for plan in plans_of(job, tmp_path).values()} == {"sha256:1"}
    assert {name: read_remembered(plan) for name, plan in plans_of(job, tmp_path).items()} == right
    assert plans_of(job, tmp_path)["a"].digest == right["a"].digest, "and it is put right"


def test_one_that_has_gone_when_it_is_read_has_no_digest(job: Job, bucket: Bucket, cache: Path, tmp_path: Path) -> None:
    plans_of(job, tmp_path)
    again = plans_of(job, tmp_path)
    forget_copies(cache)
    storage.remove_tree(f"{bucket.uri}/m/a.keras")
    assert read_remembered(again["a"]).digest is None
