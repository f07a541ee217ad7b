"""The cache of what lies on stores: bounded, shared by processes, never half of anything, never taken away from who uses it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.storage import local_cache, object_store
from liteferry.storage.local_cache import NoRoomError, Wanted
from tests.support.emulators import Bucket

KILOBYTE = b"x" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for ten kilobytes."""
    monkeypatch.setenv(local_cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setenv(local_cache.GIGABYTES, "0.00001")
    return tmp_path / "cache"


@pytest.fixture
def place() -> str:
    return f"memory://{os.urandom(8).hex()}"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URIs that were downloaded."""
    found: list[str] = []
    fetch = object_store.fetch

    def note(uri: str, *arguments: object) -> None:
        found.append(uri)
        fetch(uri, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(object_store, "fetch", note)
    return found


def held(cache: Path) -> list[str]:
    """What lies in the cache, by name."""
    return sorted(path.name for path in cache.glob("*/content/*"))


def size_of(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.glob("*/content/**/*") if path.is_file())


def test_a_local_place_costs_nothing(tmp_path: Path, cache: Path) -> None:
    with local_cache.localise(f"file://{tmp_path}/model.keras") as path:
        assert path == f"{tmp_path}/model.keras"
    assert not cache.exists()


def test_a_file_and_a_folder_keep_their_names_and_are_fetched_once(place: str, fetched: list[str]) -> None:
    storage.write_bytes(f"{place}/a/model.keras", b"weights")
    storage.write_bytes(f"{place}/saved/variables/v.index", b"index")
    for _ in range(3):
        with local_cache.localise(f"{place}/a/model.keras") as file, local_cache.localise(f"{place}/saved") as folder:
            assert Path(file).name == "model.keras" and Path(file).read_bytes() == b"weights"
            assert Path(folder).name == "saved" and (Path(folder) / "variables" / "v.index").read_bytes() == b"index"
    assert fetched == [f"{place}/a/model.keras", f"{place}/saved"]


def test_files_that_belong_together_lie_side_by_side(place: str) -> None:
    uris = (f"{place}/m.index", f"{place}/m.data-00000-of-00001")
    for uri in uris:
        storage.write_bytes(uri, uri.encode())
    with local_cache.lease([Wanted(uris=uris)]) as copies:
        assert len({os.path.dirname(copies.path(uri)) for uri in uris}) == 1


def test_what_has_changed_is_fetched_again_unless_the_old_was_asked_for(place: str) -> None:
    uri = f"{place}/m"
    storage.write_bytes(uri, b"old")
    before = local_cache.stamp_of([uri])
    with local_cache.localise(uri, stamp=before):
        pass
    storage.write_bytes(uri, b"new")
    with local_cache.localise(uri) as path:
        assert Path(path).read_bytes() == b"new"
    with local_cache.localise(uri, stamp=before) as path:
        assert Path(path).read_bytes() == b"old", "the copy that a run has looked at is as good as it was"


def test_what_has_changed_and_is_no_longer_here_is_an_error(place: str) -> None:
    storage.write_bytes(f"{place}/m", b"old")
    before = local_cache.stamp_of([f"{place}/m"])
    storage.write_bytes(f"{place}/m", b"new")
    with (
        pytest.raises(StorageError, match=rf"{place}/m: has changed since this run looked at it first"),
        local_cache.localise(f"{place}/m", stamp=before),
    ):
        pytest.fail("other bytes than the digest's were handed out")


@pytest.mark.parametrize("store", ["s3", pytest.param("gs", marks=pytest.mark.nightly)])
def test_what_changes_while_it_is_read_is_an_error_and_leaves_nothing(
    request: pytest.FixtureRequest, store: str, cache: Path
) -> None:
    bucket: Bucket = request.getfixturevalue(store)
    bucket.put("m/a", b"1" * 100)
    bucket.put("m/b", b"1" * 100)
    bucket.fail("GET", r"/m(/|%2F)b\b(?!.*fields)", before=lambda: bucket.put("m/a", b"2" * 100), times=1)
    with pytest.raises(StorageError, match="has changed while it was read"), local_cache.localise(f"{bucket.uri}/m"):
        pytest.fail("half of the old and half of the new")
    assert held(cache) == []


def test_one_problem_does_not_cost_the_others_anything(place: str) -> None:
    storage.write_bytes(f"{place}/good", b"1")
    with local_cache.lease([Wanted(uris=(f"{place}/{name}",)) for name in ("missing", "good")]) as copies:
        assert Path(copies.path(f"{place}/good")).read_bytes() == b"1"
        assert list(copies.problems) == [f"{place}/missing"]
        with pytest.raises(StorageError, match="missing: cannot be read: nothing is there"):
            copies.raise_problems()


def test_what_a_copy_is_called_in_messages_is_its_uri(place: str) -> None:
    storage.write_bytes(f"{place}/dir/m.index", b"1")
    with local_cache.lease([Wanted(uris=(f"{place}/dir/m.index",))]) as copies:
        path = copies.path(f"{place}/dir/m.index")
        said = {"message": f"{path}: damaged", "list": [1, None, path.removesuffix(".index")]}
        assert copies.in_uris(said) == {"message": f"{place}/dir/m.index: damaged", "list": [1, None, f"{place}/dir/m"]}


# Bounded


def test_what_was_used_longest_ago_goes_first(place: str, cache: Path) -> None:
    for name in "abcd":
        storage.write_bytes(f"{place}/{name}", KILOBYTE * 3)
    for name in ("a", "b", "c", "a", "d"):
        time.sleep(0.02)
        with local_cache.localise(f"{place}/{name}"):
            assert size_of(cache) <= 10_000
    assert held(cache) == ["a", "c", "d"]


def test_what_is_in_use_stays(place: str, cache: Path) -> None:
    for name in "abcd":
        storage.write_bytes(f"{place}/{name}", KILOBYTE * 3)
    with local_cache.localise(f"{place}/a") as path:
        for name in "bcdbcd":
            with local_cache.localise(f"{place}/{name}"):
                assert os.path.exists(path) and size_of(cache) <= 10_000
    assert "a" in held(cache)


def test_more_than_it_holds_is_an_error_that_says_how_to_raise_it(place: str, cache: Path) -> None:
    storage.write_bytes(f"{place}/big", KILOBYTE * 11)
    message = rf"{place}/big: 11,000 bytes are needed at once, and the cache in {cache} holds 10,000; raise LITEFERRY_CACHE_GB"
    with pytest.raises(NoRoomError, match=message), local_cache.localise(f"{place}/big"):
        pytest.fail("the bound does not hold")
    for name in "ab":
        storage.write_bytes(f"{place}/{name}", KILOBYTE * 6)
    with local_cache.localise(f"{place}/a"):
        pass
    with (
        pytest.raises(NoRoomError, match="12,000 bytes"),
        local_cache.lease([Wanted(uris=(f"{place}/{name}",)) for name in "ab"]),
    ):
        pytest.fail("the bound does not hold for what is there already")


def test_who_finds_no_room_waits_until_there_is_some(place: str, cache: Path) -> None:
    """Eight at once, each with two of four files of four kilobytes: at most one of them can go on at a time."""
    for name in "abcd":
        storage.write_bytes(f"{place}/{name}", KILOBYTE * 4)
    seen: list[int] = []

    def work(first: str, second: str) -> None:
        with local_cache.lease([Wanted(uris=(f"{place}/{name}",)) for name in (first, second)]) as copies:
            copies.raise_problems()
            assert all(os.path.getsize(copies.path(f"{place}/{name}")) == 4000 for name in (first, second))
            seen.append(size_of(cache))

    run_all([functools.partial(work, *pair) for pair in ("ab", "ba", "cd", "dc", "ac", "bd", "ad", "cb")])
    assert len(seen) == 8 and max(seen) <= 10_000


def run_all(calls: list[Callable[[], None]]) -> None:
    failed: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised again below
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it waits for ever"
    if failed:
        raise failed[0]


def test_of_many_threads_that_want_the_same_one_downloads(place: str, fetched: list[str]) -> None:
    storage.write_bytes(f"{place}/m", KILOBYTE)

    def work() -> None:
        with local_cache.localise(f"{place}/m") as path:
            assert Path(path).read_bytes() == KILOBYTE

    run_all([work] * 12)
    assert fetched == [f"{place}/m"]


# Several processes, and their deaths


USER = """
    import os, sys, time
    from liteferry.storage import local_cache

    with local_cache.localise(sys.argv[1]) as path:
        assert len(open(path, "rb").read()) == 5000
        print("holds", flush=True)
        if sys.argv[2] == "stay":
            time.sleep(1000)
"""


def start(uri: str, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(USER), uri, how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_one_download(s3: Bucket, cache: Path) -> None:
    s3.put("m", KILOBYTE * 5)
    processes = [start(f"{s3.uri}/m", "go") for _ in range(4)]
    for process in processes:
        said, errors = process.communicate(timeout=60)
        assert said == "holds\n", errors
    assert len([request for request in s3.faults.requests if request.startswith("GET") and "/m?" in request]) == 1
    assert held(cache) == ["m"]


def test_what_another_process_uses_stays_until_it_is_gone(s3: Bucket, cache: Path) -> None:
    for name in "ab":
        s3.put(name, KILOBYTE * 5)
    s3.put("big", KILOBYTE * 6)
    user = start(f"{s3.uri}/a", "stay")
    assert user.stdout is not None and user.stdout.readline() == "holds\n"
    got: list[str] = []

    def want() -> None:
        with local_cache.localise(f"{s3.uri}/big"):
            got.append("big")

    waiter = threading.Thread(target=want, daemon=True)
    waiter.start()
    time.sleep(1.5)
    assert got == [] and held(cache) == ["a"], "it was taken away from who uses it"
    user.kill()
    user.wait()
    waiter.join(30)
    assert got == ["big"] and held(cache) == ["big"]


def test_what_a_killed_download_left_is_swept(gs: Bucket, cache: Path) -> None:
    gs.put("m", KILOBYTE * 5)
    stuck, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        stuck.set()
        go_on.wait(60)

    gs.fail("GET", r"/m\?alt=media", before=hang, times=1)
    process = start(f"{gs.uri}/m", "go")
    assert stuck.wait(60), process.communicate()
    process.kill()
    process.wait()
    go_on.set()
    assert [path.suffix for path in cache.iterdir() if path.is_dir()] == [".part"]
    gs.put("other", KILOBYTE * 9)
    with local_cache.localise(f"{gs.uri}/other"):
        assert [path.suffix for path in cache.iterdir() if path.is_dir()] == [""], "the part still takes room"
    with local_cache.localise(f"{gs.uri}/m") as path:
        assert os.path.getsize(path) == 5000
