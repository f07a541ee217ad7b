"""`storage`: what stands at a final path is whole whoever is killed when, and a digest sees every byte and name."""

from __future__ import annotations

import os
import random
import signal
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

KILLS = 8


def start(program: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A process of its own that has printed its first line, so that it is in the middle of its work."""
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Files


WRITER = """
    import resource, signal, sys
    from liteferry import storage

    storage.write_bytes(sys.argv[1], b"old" * 100_000)
    print("begun", flush=True)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the kernel kills this process in the middle of a write
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    storage.write_bytes(sys.argv[1], b"new" * 1_000_000)
"""


def test_a_file_is_whole_when_its_writer_is_killed_in_the_middle(tmp_path: Path) -> None:
    writer = start(WRITER, tmp_path / "file")
    writer.communicate()
    assert writer.returncode == -signal.SIGXFSZ, "the writer was to be killed"
    assert (tmp_path / "file").read_bytes() == b"old" * 100_000, "half of a file stood at its final path"


def test_a_file_is_written_into_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "a" / "b" / "file"), b"content")
    assert storage.read_bytes(f"file://{tmp_path}/a/b/file") == b"content"


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(StorageError, match=r"target: cannot be written: Is a directory"):
        storage.write_bytes(str(tmp_path / "target"), b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    hexadecimal = "0123456789abcdef" * 2
    (tmp_path / "below").mkdir()
    kept = ["fleet.json", "notes.tmp", f"{hexadecimal}.tmp", f"fleet.json.{hexadecimal}.tmp.txt", f"below/a.{hexadecimal}.tmp"]
    for name in [*kept, f"fleet.json.{hexadecimal}.tmp", f"index.html.{hexadecimal}.tmp"]:
        (tmp_path / name).write_bytes(b"")
    storage.remove_unfinished(str(tmp_path))
    assert storage.files_under(str(tmp_path)) == sorted(kept)
    storage.remove_unfinished(str(tmp_path / "nowhere"))


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    program = """
        import sys
        from liteferry import storage

        print("begun", flush=True)
        for _ in range(300):
            storage.append_line(sys.argv[1], sys.argv[2] * 5000)
    """
    writers = [start(program, tmp_path / "new" / "lines", letter) for letter in "abc"]
    for writer in writers:
        assert writer.wait() == 0
        writer.communicate()
    lines = (tmp_path / "new" / "lines").read_text().splitlines()
    assert sorted(lines) == [letter * 5000 for letter in "abc" for _ in range(300)]


@pytest.mark.parametrize(
    "call",
    [
        lambda path: storage.read_bytes(path),
        lambda path: storage.digest(path),
        lambda path: storage.size_bytes(path),
        lambda path: storage.append_line(f"{path}/below/a/file", "line"),
        lambda path: storage.write_bytes(f"{path}/below/a/file", b""),
        lambda path: storage.publish_directory(path, f"{path}.published"),
    ],
    ids=["read_bytes", "digest", "size_bytes", "append_line", "write_bytes", "publish_directory"],
)
def test_what_cannot_be_done_names_the_path(tmp_path: Path, call: Callable[[str], object]) -> None:
    write(tmp_path / "file")
    with pytest.raises(StorageError, match="file/nowhere"):
        call(str(tmp_path / "file" / "nowhere"))


def test_what_has_to_be_local_is_refused_elsewhere() -> None:
    with pytest.raises(StorageError, match=r"gs://bucket/key: this has to be a local path; copy the data to one"):
        storage.require_local("gs://bucket/key")


@pytest.mark.parametrize("name", ["nothing", "file", "file/below"])
def test_no_directory_has_no_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / "file")
    assert storage.list_directory(str(tmp_path / name)) == []


def test_removing_a_link_keeps_what_it_points_to(tmp_path: Path) -> None:
    write(tmp_path / "kept" / "file")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("link", "not there"):
        storage.remove_tree(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept"]


# Directories


def test_publishing_replaces_a_directory_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "final" / "old" / "file")
    write(tmp_path / "staging" / "new", "content")
    storage.publish_directory(str(tmp_path / "staging"), str(tmp_path / "final"))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["final", "final/new"]


def test_two_that_publish_to_one_place_at_once_leave_one_of_the_two_whole(tmp_path: Path) -> None:
    for number in range(50):
        for name in ("one", "two"):
            for file in ("a", "b"):
                write(tmp_path / name / file, f"{name} {number}")
        final = tmp_path / f"final {number}"
        threads = [
            threading.Thread(target=storage.publish_directory, args=(str(tmp_path / name), str(final))) for name in ("one", "two")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (final / "a").read_text() == (final / "b").read_text() in (f"one {number}", f"two {number}")
        assert sorted(path.name for path in tmp_path.iterdir() if "final" not in path.name) == []


PUBLISHER = """
    import os, sys
    from liteferry import storage

    for number in range(10**9):
        staging = os.path.join(sys.argv[1], "staging")
        storage.remove_tree(staging)
        for name in ("a", "b", "c/d"):
            storage.write_bytes(os.path.join(staging, name), str(number).encode())
        storage.publish_directory(staging, os.path.join(sys.argv[1], "final"))
        if number == 0:
            print("begun", flush=True)
"""


def test_a_directory_is_whole_and_there_whenever_its_publisher_is_killed(tmp_path: Path) -> None:
    for seed in range(KILLS):
        publisher = start(PUBLISHER, tmp_path)
        time.sleep(random.Random(seed).random() / 20)
        kill(publisher)
        found = {
            path.relative_to(tmp_path / "final").as_posix(): path.read_text()
            for path in (tmp_path / "final").rglob("[a-d]")
            if path.is_file()
        }
        assert found.keys() == {"a", "b", "c/d"}, "half of a directory, or none, stood at its final path"
        assert len(set(found.values())) <= 1, "two versions are mixed in one directory"


def test_a_publication_that_fails_leaves_what_was_published_before(tmp_path: Path) -> None:
    write(tmp_path / "final" / "file", "published before")
    with pytest.raises(StorageError, match="cannot be published"):
        storage.publish_directory(str(tmp_path / "never made"), str(tmp_path / "final"))
    assert (tmp_path / "final" / "file").read_text() == "published before"
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


# Digests


def test_a_digest_is_the_sha256_that_other_tools_compute(tmp_path: Path) -> None:
    path = write(tmp_path / "file", "content")
    assert storage.digest(str(path)) == "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"


def make_tree(root: Path) -> Path:
    write(root / "saved_model.pb", "graph")
    write(root / "variables" / "variables.index", "index")
    write(root / "variables" / "data", "weights")
    return root


def test_equal_directories_have_equal_digests_wherever_they_are(tmp_path: Path) -> None:
    first, second = make_tree(tmp_path / "a"), make_tree(tmp_path / "elsewhere" / "b")
    os.utime(second / "saved_model.pb", (0, 0))
    assert storage.digest(str(first)) == storage.digest(f"{second}/")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write(root / "saved_model.pb", "grapH"),
        lambda root: write(root / "variables" / "data", "weights "),
        lambda root: write(root / "more", ""),
        lambda root: (root / "variables" / "data").unlink(),
        lambda root: (root / "variables" / "data").rename(root / "variables" / "Data"),
        lambda root: (root / "variables" / "data").rename(root / "data"),
        lambda root: (write(root / "saved_model.pb", "index"), write(root / "variables" / "variables.index", "graph")),
    ],
    ids=["a byte", "a length", "an empty file more", "a file less", "a name", "a folder", "two files swapped"],
)
def test_a_digest_sees_every_change(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = make_tree(tmp_path / "model")
    before = storage.digest(str(root))
    change(root)
    assert storage.digest(str(root)) != before


def test_a_file_of_holes_is_refused_and_not_read(tmp_path: Path) -> None:
    """Terabytes of which a few bytes are on the disk: reading them takes hours."""
    sparse = write(tmp_path / "sparse", "head")
    os.truncate(sparse, 2**43)
    with pytest.raises(StorageError, match=r"of its 8,796,093,022,208 bytes [\d,]+ are on the disk"):
        storage.digest(str(sparse))
    os.truncate(sparse, 2**20)
    assert storage.digest(str(sparse)).startswith("sha256:"), "a small file may have holes"


def test_a_digest_and_a_size_follow_links_into_other_folders(tmp_path: Path) -> None:
    plain, linked = make_tree(tmp_path / "plain"), tmp_path / "linked"
    (linked / "variables").parent.mkdir()
    (linked / "saved_model.pb").symlink_to(plain / "saved_model.pb")
    (linked / "variables").symlink_to(plain / "variables")
    assert storage.digest(str(linked)) == storage.digest(str(plain))
    assert storage.size_bytes(str(linked)) == storage.size_bytes(str(plain)) == len("graphindexweights")


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "model")
    before = storage.digest(str(root))
    (root / "self").symlink_to(root)
    (root / "variables" / "up").symlink_to("..")
    assert storage.digest(str(root)) == before


@pytest.mark.parametrize("inside", [False, True], ids=["named itself", "in a directory"])
def test_what_never_ends_is_not_read(tmp_path: Path, inside: bool) -> None:
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(StorageError, match=r"pipe\.keras: cannot be read: it is no file but a pipe"):
        storage.digest(str(tmp_path if inside else tmp_path / "pipe.keras"))


# Patterns


FILES = ("a.keras", "a[1].keras", "a1.keras", ".hidden.keras", "run [final]/b.keras", "run [final]/deep/c.keras", "what?.keras")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.keras", ["a.keras"]),
        ("nothing.keras", []),
        ("*.keras", ["a.keras", "a1.keras", "a[1].keras", "what?.keras"]),
        ("a?.keras", ["a1.keras"]),
        ("a[0-9].keras", ["a1.keras"]),
        ("a[1].keras", ["a[1].keras"]),
        ("a[[]1].keras", ["a[1].keras"]),
        ("a[[]*.keras", ["a[1].keras"]),
        ("what?.keras", ["what?.keras"]),
        ("what[?].keras", ["what?.keras"]),
        ("run [final]/*.keras", ["run [final]/b.keras"]),
        ("run [[]final]/b.keras", ["run [final]/b.keras"]),
        ("run*/*.keras", ["run [final]/b.keras"]),
        ("run [final]/**/*.keras", ["run [final]/b.keras", "run [final]/deep/c.keras"]),
        (".*.keras", [".hidden.keras"]),
        ("run [final]", ["run [final]"]),
        ("run [final]/", ["run [final]/"]),
    ],
)
def test_a_pattern_names_these_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, expected: list[str]) -> None:
    for name in FILES:
        write(tmp_path / name)
    assert storage.glob(f"{tmp_path}/{pattern}") == [f"{tmp_path}/{name}" for name in expected]
    monkeypatch.chdir(tmp_path)
    assert storage.glob(pattern) == expected, "the same pattern relative to the working directory"


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("", ("", "")),
        ("/", ("/", "")),
        ("/*.keras", ("/", "*.keras")),
        ("*.keras", ("", "*.keras")),
        ("a/b.keras", ("a/b.keras", "")),
        ("a/b*/c/*.keras", ("a", "b*/c/*.keras")),
        ("a[[]1]/**", ("a[1]", "**")),
        ("file:///a/**/b", ("/a", "**/b")),
    ],
)
def test_a_pattern_begins_with_what_is_sure(pattern: str, parts: tuple[str, str]) -> None:
    assert storage.split_pattern(pattern) == parts


# One run at a time


HOLDER = """
    import sys, time
    from liteferry import storage

    with storage.exclusive(sys.argv[1]):
        print("begun", flush=True)
        time.sleep(1000)
"""


def test_a_second_process_is_refused_until_the_first_has_gone_however_it_went(tmp_path: Path) -> None:
    lock = tmp_path / "out" / ".staging" / "lock"
    holder = start(HOLDER, lock)
    with pytest.raises(StorageError, match=r"/out: another run is writing here; .*--output"), storage.exclusive(str(lock)):
        pytest.fail("two processes hold the same lock")
    kill(holder)
    with storage.exclusive(str(lock)):
        pass


def test_a_lock_is_free_after_an_error_inside(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), storage.exclusive(lock):
        raise ZeroDivisionError
    with storage.exclusive(lock):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path / "file")
    with (
        pytest.raises(StorageError, match=r"file/out/\.staging: cannot be written"),
        storage.exclusive(f"{tmp_path}/file/out/.staging/lock"),
    ):
        pytest.fail("there is no such place")
