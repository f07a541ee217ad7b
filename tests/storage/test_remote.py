"""The door to storage with object stores behind it: S3 and GCS emulators over HTTP, and fsspec's memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from liteferry import storage
from liteferry.errors import StorageError
from tests.support.emulators import Bucket

STORES = ("s3", "gs", "memory")


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest) -> str:
    """An empty folder of a store."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/folder"
    bucket: Bucket = request.getfixturevalue(request.param)
    return f"{bucket.uri}/folder"


@pytest.fixture(params=("s3", pytest.param("gs", marks=pytest.mark.nightly)))
def bucket(request: pytest.FixtureRequest) -> Bucket:
    found: Bucket = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liteferry.storage.drivers._FIRST_PAUSE_S", 0.01)


FILES = {
    "a.keras": b"one",
    "a1.keras": b"two",
    "a[1].keras": b"three",
    ".hidden.keras": b"",
    "what?.keras": b"four",
    "run [final]/b.keras": b"five",
    "run [final]/deep/c.keras": b"six",
    "saved/saved_model.pb": b"graph",
    "saved/variables/variables.index": b"index",
    "saved/.secret/d.keras": b"seven",
    "a#1 50%+ü.keras": b"eight",
}


def fill(place: str) -> None:
    for name, content in FILES.items():
        storage.write_bytes(storage.join(place, name), content)


def fill_disk(root: Path) -> None:
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_what_is_written_is_read_and_found_at_once(place: str) -> None:
    uri = storage.join(place, "deep", "name.bin")
    assert not storage.exists(uri)
    assert storage.list_directory(place) == []
    for content in (b"first", b"", b"\x00\xff" * 100_000):
        storage.write_bytes(uri, content)
        assert storage.read_bytes(uri) == content
        assert storage.size_bytes(uri) == len(content)
        assert storage.list_directory(place) == ["deep"]
        assert storage.list_directory(f"{place}/deep") == ["name.bin"]
        assert storage.exists(uri) and storage.exists(place) and storage.exists(f"{place}/deep")
        assert storage.is_directory(place) and not storage.is_directory(uri)
    storage.remove_tree(uri)
    assert not storage.exists(uri) and not storage.exists(place)


def test_a_tree_on_a_store_is_told_as_the_same_tree_on_a_disk(place: str, tmp_path: Path) -> None:
    fill(place)
    fill_disk(tmp_path)
    for name in ("", "saved", "run [final]", "a.keras"):
        here, there = str(tmp_path / name), storage.join(place, name)
        assert storage.files_under(there) == storage.files_under(here), name
        assert storage.size_bytes(there) == storage.size_bytes(here), name
        assert storage.digest(there) == storage.digest(here), name
        assert storage.list_directory(there) == storage.list_directory(here), name
        assert storage.sizes_under(there) == storage.sizes_under(here), name
        assert storage.is_directory(there) == storage.is_directory(here), name


PATTERNS = (
    "a.keras",
    "nothing.keras",
    "*.keras",
    "a?.keras",
    "a[0-9].keras",
    "a[1].keras",
    "a[[]1].keras",
    "what?.keras",
    "what[?].keras",
    "run [final]/*.keras",
    "run*/*.keras",
    "run*/deep/*",
    "*/*",
    "**/*.keras",
    "**/*",
    "**/deep/**/*.keras",
    "saved/**",
    "r*/**/c.keras",
    ".*.keras",
    "run [final]",
    "*/",
    "s*/v*/",
    "a#1*",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_names_what_it_names_on_a_disk(tmp_path: Path, pattern: str) -> None:
    place = f"memory://{uuid.uuid4().hex}/folder"
    fill(place)
    fill_disk(tmp_path)
    expected = [path.removeprefix(str(tmp_path)).rstrip("/") for path in storage.glob(f"{tmp_path}/{pattern}")]
    found = [uri.removeprefix(place).rstrip("/") for uri in storage.glob(f"{place}/{pattern}")]
    assert found == expected


@pytest.mark.parametrize("pattern", ["*.keras", "**/*.keras", "r*/**/c.keras", "a[1].keras", "*/"])
def test_stores_answer_patterns(bucket: Bucket, tmp_path: Path, pattern: str) -> None:
    fill(bucket.uri)
    fill_disk(tmp_path)
    expected = [path.removeprefix(str(tmp_path)).rstrip("/") for path in storage.glob(f"{tmp_path}/{pattern}")]
    assert [uri.removeprefix(bucket.uri).rstrip("/") for uri in storage.glob(f"{bucket.uri}/{pattern}")] == expected
    assert expected


def test_names_that_only_begin_alike_are_not_below(place: str) -> None:
    for name in ("model/a", "model2/b", "model.keras"):
        storage.write_bytes(storage.join(place, name), b"x")
    assert storage.files_under(f"{place}/model") == ["a"]
    storage.remove_tree(f"{place}/model")
    assert storage.files_under(place) == ["model.keras", "model2/b"]


def test_removing_takes_a_name_as_it_is_written(place: str) -> None:
    for name in ("a[12]/x", "a1/x", "a2/x"):
        storage.write_bytes(storage.join(place, name), b"x")
    storage.remove_tree(f"{place}/a[12]")
    assert storage.files_under(place) == ["a1/x", "a2/x"]
    storage.remove_tree(f"{place}/not there")


def test_a_directory_goes_up_and_comes_down_the_same(place: str, tmp_path: Path) -> None:
    fill_disk(tmp_path / "here")
    storage.upload(str(tmp_path / "here"), f"{place}/up")
    storage.download(f"{place}/up", str(tmp_path / "new" / "back"))
    assert storage.digest(str(tmp_path / "new" / "back")) == storage.digest(str(tmp_path / "here"))
    storage.upload(str(tmp_path / "here" / "a.keras"), f"{place}/one.keras")
    storage.download(f"{place}/one.keras", str(tmp_path / "one.keras"))
    assert (tmp_path / "one.keras").read_bytes() == b"one"
    assert sorted(os.listdir(tmp_path)) == ["here", "new", "one.keras"], "something was left behind"


def test_a_local_place_is_copied_the_same_way(tmp_path: Path) -> None:
    fill_disk(tmp_path / "here")
    storage.upload(str(tmp_path / "here"), f"file://{tmp_path}/up")
    storage.download(str(tmp_path / "up"), str(tmp_path / "back"))
    assert storage.digest(str(tmp_path / "back")) == storage.digest(str(tmp_path / "here"))


def test_a_stamp_changes_with_the_content_and_is_the_same_from_anywhere(place: str) -> None:
    storage.write_bytes(f"{place}/m/a", b"1")
    storage.write_bytes(f"{place}/m/b", b"1")
    before = [storage.stamp(uri) for uri in (f"{place}/m/a", f"{place}/m/b", f"{place}/m")]
    assert [storage.stamp(uri) for uri in (f"{place}/m/a", f"{place}/m/b", f"{place}/m")] == before
    storage.write_bytes(f"{place}/m/a", b"2")
    after = [storage.stamp(uri) for uri in (f"{place}/m/a", f"{place}/m/b", f"{place}/m")]
    assert [left == right for left, right in zip(before, after, strict=True)] == [False, True, False]
    storage.write_bytes(f"{place}/m/c", b"2")
    assert storage.stamp(f"{place}/m") != after[2]


def test_a_local_stamp_changes_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    before = storage.stamp(str(tmp_path)), storage.stamp(str(tmp_path / "a"))
    (tmp_path / "a").write_bytes(b"22")
    assert storage.stamp(str(tmp_path)) != before[0] and storage.stamp(str(tmp_path / "a")) != before[1]


# Only one may create


@pytest.fixture(params=("s3", pytest.param("gs", marks=pytest.mark.nightly), "disk"))
def contested(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{tmp_path}/lock" if request.param == "disk" else f"{request.getfixturevalue(request.param).uri}/lock"


def test_of_many_that_create_a_file_one_did(contested: str) -> None:
    answers: list[bool] = []
    start = threading.Barrier(8)

    def create() -> None:
        start.wait()
        answers.append(storage.create_exclusively(contested, b"the same bytes from all"))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]
    assert not storage.create_exclusively(contested, b"later")
    assert storage.read_bytes(contested) == b"the same bytes from all"
    storage.remove_tree(contested)
    assert storage.create_exclusively(contested, b"after it was removed")


def test_who_created_knows_it_although_the_answer_was_lost(bucket: Bucket) -> None:
    """The store makes the object and fails to say so; the driver asks again and is told that it is there."""
    uri = f"{bucket.uri}/lock"
    bucket.fail("PUT" if uri.startswith("s3") else "POST", "lock|upload", status=500, is_done=True, times=1)
    assert storage.create_exclusively(uri, b"mine")
    assert len([request for request in bucket.faults.requests if request.startswith(("PUT", "POST"))]) == 2
    assert not storage.create_exclusively(uri, b"mine")


# What goes wrong


@pytest.mark.parametrize(("scheme", "driver", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")])
def test_a_store_without_a_driver_says_how_to_get_one(scheme: str, driver: str, extra: str) -> None:
    code = f"import sys; sys.modules['{driver}'] = None; from liteferry import storage; storage.read_bytes('{scheme}://b/x')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert f"StorageError: {scheme}://b/x: the driver for {scheme}:// is not installed" in said
    assert f"pip install 'liteferry[{extra}]'" in said


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(StorageError, match=r"nonsense://b/x: no driver for nonsense://"):
        storage.exists("nonsense://b/x")


def test_what_is_missing_is_named(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("there", b"1")
    missing = f"{bucket.uri}/nothing"
    for ask in (storage.read_bytes, storage.size_bytes, storage.stamp, storage.digest):
        with pytest.raises(StorageError, match=rf"{missing}: cannot be read: nothing is there"):
            ask(missing)
    with pytest.raises(StorageError, match=rf"{missing}: cannot be read: nothing is there"):
        storage.download(missing, str(tmp_path / "x"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("scheme", ["s3", pytest.param("gs", marks=pytest.mark.nightly)])
def test_a_missing_bucket_is_no_empty_folder(request: pytest.FixtureRequest, scheme: str) -> None:
    request.getfixturevalue(scheme)
    for ask in (storage.read_bytes, storage.list_directory, storage.files_under, storage.stamp):
        with pytest.raises(StorageError, match=rf"{scheme}://not-made/a: there is no bucket 'not-made'; correct the name"):
            ask(f"{scheme}://not-made/a")
    for pattern in ("*", "**/*.keras"):
        with pytest.raises(StorageError, match=r"there is no bucket 'not-made'"):
            storage.glob(f"{scheme}://not-made/{pattern}")
    with pytest.raises(StorageError, match=r"there is no bucket 'not-made'"):
        storage.write_bytes(f"{scheme}://not-made/a", b"x")
    with pytest.raises(StorageError, match=r"the name of a bucket cannot be a pattern"):
        storage.glob(f"{scheme}://*/a")


def test_what_is_denied_names_the_credentials_and_is_asked_for_once(bucket: Bucket) -> None:
    bucket.put("secret", b"1")
    bucket.fail("*", "secret", status=403)
    before = len(bucket.faults.requests)
    with pytest.raises(StorageError, match=r"/secret: cannot be read: .*; check the credentials \("):
        storage.read_bytes(f"{bucket.uri}/secret")
    assert len(bucket.faults.requests) - before <= 2


@pytest.mark.parametrize("status", [500, 503])
def test_what_fails_for_a_moment_is_asked_for_again(bucket: Bucket, status: int) -> None:
    bucket.put("m", b"content")
    bucket.fail("GET", "/m\\b", status=status, times=1)
    assert storage.read_bytes(f"{bucket.uri}/m") == b"content"


def test_a_download_that_was_cut_is_done_again(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("m", b"0123456789" * 1000)
    bucket.fail("GET", r"/m\?(?!.*fields)", cut_to=4000, times=1)
    storage.download(f"{bucket.uri}/m", str(tmp_path / "m"))
    assert (tmp_path / "m").read_bytes() == b"0123456789" * 1000


def test_a_name_that_is_no_file_name_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    """ "a/../../x" would be written outside of the folder that it is downloaded to."""
    bucket.put("n//evil", b"1")
    if bucket.uri.startswith("s3"):  # GCS's emulator keeps names as paths and refuses this one
        bucket.put("m/../../evil", b"1")
    for name in {key.partition("/")[0] for key in bucket.names()}:
        with pytest.raises(StorageError, match="which is not a valid file name"):
            storage.download(f"{bucket.uri}/{name}", str(tmp_path / "into" / name))
    assert list(tmp_path.rglob("evil")) == []


def test_objects_that_stand_for_empty_folders_are_no_files(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("m/", b"")
    bucket.put("m/empty/", b"")
    bucket.put("m/a", b"1")
    assert storage.files_under(f"{bucket.uri}/m") == ["a"]
    storage.download(f"{bucket.uri}/m", str(tmp_path / "m"))
    assert storage.files_under(str(tmp_path / "m")) == ["a"]
    storage.remove_tree(f"{bucket.uri}/m")
    assert bucket.names() == []
