"""Publishing on a store: killed at any of its requests, done by several at once or refused by the store, a reader that follows
the rule sees one whole model or none.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteferry import storage
from liteferry.commands.verify import verify
from liteferry.errors import Reason, ReasonCode, Stage, StorageError
from liteferry.evaluation.results import Evaluation
from liteferry.output import model_folder, publish_to_store, run_lock
from liteferry.output.begin import find_finished
from liteferry.output.finished import finished_report, numbered
from liteferry.output.publish import judge_and_publish
from liteferry.plan.model_plan import ModelPlan, begin_attempt
from liteferry.storage import leases
from liteferry.types import ExportedModel
from tests.output.test_publish import ARTIFACTS, PROVEN, evaluate, export, make_plan, other_checkpoint


def plan_on(out: str, folder: Path, **changes: Any) -> ModelPlan:
    """A plan of one model that is published at `out`, as a worker has it when it begins."""
    (plan,) = begin_attempt([dataclasses.replace(make_plan(folder / "job"), out=out, **changes)])
    return plan


def attempt_of(plan: ModelPlan) -> ModelPlan:
    """The same work once more, as the next run begins it."""
    looked, done = find_finished(plan, force=True)
    assert done is None
    return begin_attempt([looked])[0]


def made(plan: ModelPlan, content: str = "content", *, reason: ReasonCode | None = None) -> ExportedModel:
    """What the export left in the work folder, with that content in each file."""
    exported = export(plan, reason=reason)
    for path in Path(plan.staging_directory()).rglob("*"):
        if path.is_file():
            path.write_text(content)
    return exported


def publish(plan: ModelPlan, content: str = "content", *, reason: ReasonCode | None = None) -> dict[str, Any]:
    return judge_and_publish(plan, made(plan, content, reason=reason), evaluate())


def names(plan: ModelPlan) -> set[str]:
    return set(storage.sizes_under(plan.model_directory()))


# What a reader does. Written down once more, with none of the package's code: it is what docs/storage.md tells the world.


@dataclasses.dataclass
class Seen:
    """`wholes`: digests of reports that were read with all their files. `torn`: what a marker stood for and was not there, though
    the same marker stood there before and after."""

    wholes: set[str]
    torn: list[str]
    looks: int = 0


def read_by_the_rule(directory: str) -> tuple[str | None, list[str]]:
    """The digest of the report of a whole model, and what is wrong beside a marker that vouches for it."""
    markers = [name for name in ("BLESSED", "NOT_BLESSED") if storage.exists(f"{directory}/{name}")]
    if len(markers) != 1:
        return None, []
    try:
        marker = storage.read_bytes(f"{directory}/{markers[0]}")
    except StorageError:
        return None, []
    wrong = []
    try:
        report = storage.read_bytes(f"{directory}/report.json")
        if hashlib.sha256(report).hexdigest() != json.loads(marker)["report_sha256"]:
            wrong.append("the report is another one")
        for name, facts in json.loads(report)["files"].items():
            content = storage.read_bytes(f"{directory}/{name}")
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != facts["sha256"]:
                wrong.append(f"{name} has other bytes")
    except StorageError as error:
        wrong.append(str(error))
    if not wrong:
        return hashlib.sha256(report).hexdigest(), []
    try:
        is_same = storage.read_bytes(f"{directory}/{markers[0]}") == marker
    except StorageError:
        is_same = False
    return None, wrong if is_same else []  # replaced while it was read: begin again


def good_version(directory: str) -> str | None:
    """What a reader does who always wants a good version: where no whole model stands, the one before stands beside it."""
    for _ in range(20):  # a publisher may have been between the two looks: it has finished then
        for place in (directory, f"{directory}/last_good"):
            whole, _ = read_by_the_rule(place)
            if whole is not None:
                return whole
    return None


@pytest.fixture
def reading() -> Iterator[Callable[[str], Seen]]:
    """Starts readers that poll a model's folder until the test ends."""
    stop = threading.Event()
    threads = []

    def start(directory: str) -> Seen:
        seen = Seen(set(), [])

        def poll() -> None:
            while not stop.is_set():
                whole, torn = read_by_the_rule(directory)
                seen.wholes.update([whole] if whole else [])
                seen.torn += torn
                seen.looks += 1
                time.sleep(0.05)  # the emulators run in this process, too

        threads.append(threading.Thread(target=poll, daemon=True))
        threads[-1].start()
        return seen

    yield start
    stop.set()
    for thread in threads:
        thread.join()


# What lies there in the end


def test_a_model_is_published_as_on_a_disk(store: str, tmp_path: Path) -> None:
    plan = plan_on(store, tmp_path)
    local = dataclasses.replace(plan, out=str(tmp_path / "out"), work="")
    on_store, on_disk = publish(plan), publish(local)
    assert on_store["status"] == on_disk["status"] == "blessed"
    assert names(plan) == ARTIFACTS | PROVEN == names(local)
    for name in ARTIFACTS:
        assert storage.read_bytes(f"{plan.model_directory()}/{name}") == storage.read_bytes(f"{local.model_directory()}/{name}")
    assert finished_report(plan) == model_folder.scan(plan.model_directory()).complete_report()
    assert not os.path.exists(plan.staging_directory()), "the work folder goes when the model is published"


def test_a_new_result_replaces_the_old_one_and_all_of_its_files(store: str, tmp_path: Path) -> None:
    plan = plan_on(store, tmp_path)
    assert judge_and_publish(plan, made(plan, "old"), evaluate(difference=0.1))["status"] == "not_blessed"
    again = attempt_of(other_checkpoint(plan))
    assert publish(again, "new", reason=ReasonCode.LOAD_CORRUPT)["status"] == "failed"
    assert names(plan) == {"report.json", "report.html", "NOT_BLESSED"}


def test_published_work_is_found_again_and_other_work_is_not(store: str, tmp_path: Path) -> None:
    plan = plan_on(store, tmp_path)
    assert finished_report(plan) is None
    publish(plan)
    assert finished_report(plan) is not None
    assert finished_report(other_checkpoint(plan)) is None
    assert (numbered(plan).version, numbered(other_checkpoint(plan)).version) == (1, 2)


DAMAGES: dict[str, Callable[[str], None]] = {
    "no marker": lambda folder: storage.remove_tree(f"{folder}/BLESSED"),
    "both markers": lambda folder: storage.write_bytes(f"{folder}/NOT_BLESSED", storage.read_bytes(f"{folder}/BLESSED")),
    "a marker of another report": lambda folder: storage.write_bytes(f"{folder}/BLESSED", model_folder.vouch_for(b"{}")),
    "an empty marker": lambda folder: storage.write_bytes(f"{folder}/BLESSED", b""),
    "another report": lambda folder: storage.write_bytes(f"{folder}/report.json", b"{}"),
    "a file lost": lambda folder: storage.remove_tree(f"{folder}/tflite/float32.tflite"),
    "a file cut short": lambda folder: storage.write_bytes(f"{folder}/tflite/float32.tflite", b"con"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_done_again(memory_store: str, tmp_path: Path, damage: Callable[[str], None]) -> None:
    plan = plan_on(memory_store, tmp_path)
    publish(plan)
    damage(plan.model_directory())
    assert finished_report(plan) is None


# Killed

# Every request that changes something, in a process that is killed before the given one.
CHANGES = ("write_bytes", "upload", "remove_tree", "create_exclusively")


def target_of(call: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    return str(arguments[1 if call.__name__ == "upload" else 0])


def _publish_until(request: int, plan: ModelPlan, content: str, environment: dict[str, str], done: Any) -> None:
    os.environ.update(environment)  # where the emulators are
    changes: list[str] = []

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            if storage.is_remote(target_of(call, arguments)):
                changes.append(call.__name__)
                if len(changes) == request:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        return counted

    for name in CHANGES:
        setattr(storage, name, dying(getattr(storage, name)))
    publish_to_store._AT_ONCE = 1
    done.send((publish(plan, content)["status"], changes))


def publish_in_a_process(plan: ModelPlan, content: str, *, killed_at: int = 0) -> list[str] | None:
    """Publishes in a new process, which is killed before its n-th change. Returns its changes, None when it was killed."""
    here, there = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_publish_until, args=(killed_at, plan, content, dict(os.environ), there))
    process.start()
    there.close()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"it ended with {process.exitcode}"
    if process.exitcode:
        return None
    status, changes = here.recv()
    assert status == "blessed", "it was refused"
    return list(changes)


def first_and_last_of_each_kind(changes: list[str]) -> list[int]:
    """Numbers of changes, from 1."""
    backwards = changes[::-1]
    firsts = {changes.index(kind) + 1 for kind in CHANGES if kind in changes}
    return sorted(firsts | {len(changes) - backwards.index(kind) for kind in CHANGES if kind in changes})


_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.output.test_publish", "liteferry.output.publish_to_store", "s3fs", "gcsfs"])


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.nightly)], ids=["some", "every"])
def test_killed_at_any_request_it_is_finished_by_the_next_run_and_never_read_half(
    shared_store: str, tmp_path: Path, reading: Callable[[str], Seen], every: bool
) -> None:
    plan = plan_on(shared_store, tmp_path)
    publish(plan, "first")
    changes = publish_in_a_process(attempt_of(plan), "second")
    assert changes is not None
    assert len(changes) > len(CHANGES) + len(ARTIFACTS), "too few to have met every step"
    seen = reading(plan.model_directory())
    kills = range(1, len(changes) + 1) if every else first_and_last_of_each_kind(changes)
    assert len(kills) > len(set(changes))
    versions = []
    for killed_at in kills:
        new = attempt_of(plan)
        assert publish_in_a_process(new, f"killed at {killed_at}", killed_at=killed_at) is None, f"{killed_at}: it lived"
        assert good_version(plan.model_directory()) is not None, "a reader that looks at both places finds a good version"
        report = model_folder.scan(plan.model_directory()).complete_report()
        if report:  # the marker stands: then every file is what it was judged as
            whole, torn = read_by_the_rule(plan.model_directory())
            assert whole is not None, torn
        next_run = attempt_of(plan)
        versions.append(next_run.version)
        publish(next_run, f"after {killed_at}")
        whole, torn = read_by_the_rule(plan.model_directory())
        assert (whole is not None, torn) == (True, [])
        assert names(plan) == ARTIFACTS | PROVEN, "nothing of the dead is left"
    assert set(versions) == {1}, "the same work keeps its number whenever it is killed"
    assert seen.torn == []
    assert seen.looks > len(kills)
    assert seen.wholes


def test_a_number_that_was_half_published_is_never_another_function(shared_store: str, tmp_path: Path) -> None:
    plan = plan_on(shared_store, tmp_path)
    publish(plan, "first")
    second = attempt_of(other_checkpoint(plan))
    assert second.version == 2
    assert publish_in_a_process(second, "second", killed_at=5) is None
    assert numbered(second).version == 2, "the same function goes on with its number"
    assert numbered(dataclasses.replace(plan, digest="sha256:third")).version == 3, "another one does not take it"
    assert numbered(plan).version == 3


def test_what_a_dead_publisher_left_beside_a_whole_model_goes_with_the_next_look(shared_store: str, tmp_path: Path) -> None:
    plan = plan_on(shared_store, tmp_path)
    changes = publish_in_a_process(plan, "first")
    assert changes is not None
    storage.remove_tree(plan.model_directory())
    (again,) = begin_attempt([numbered(plan)])
    assert publish_in_a_process(again, "again", killed_at=len(changes)) is None, "the last change is to give the lease back"
    assert any(name.startswith(publish_to_store.PUBLISHING) for name in names(plan))
    _, done = find_finished(plan, force=False)
    assert done is not None
    assert done["status"] == "blessed"
    assert names(plan) == ARTIFACTS | PROVEN


# Replaced


def killed_between(plan: ModelPlan) -> str:
    """A model whose blessed successor was half sent when its publisher was killed. Returns the digest of its report."""
    publish(plan, "first")
    before, _ = read_by_the_rule(plan.model_directory())
    assert before is not None
    second = attempt_of(other_checkpoint(plan))
    assert publish_in_a_process(second, "second", killed_at=6) is None
    assert read_by_the_rule(plan.model_directory())[0] is None
    assert good_version(plan.model_directory()) == before
    return before


def test_the_last_good_one_comes_back_where_its_successor_was_half_sent_and_the_next_is_not_blessed(
    shared_store: str, tmp_path: Path
) -> None:
    plan = plan_on(shared_store, tmp_path)
    before = killed_between(plan)
    third = attempt_of(dataclasses.replace(plan, digest="sha256:third"))
    told = judge_and_publish(third, made(third, "third"), evaluate(difference=0.1))
    assert (told["status"], bool(told["held_back"])) == ("not_blessed", True)
    assert read_by_the_rule(plan.model_directory()) == (before, [])
    assert names(plan) == ARTIFACTS | PROVEN


def test_a_successor_that_is_sent_again_takes_its_place(shared_store: str, tmp_path: Path) -> None:
    plan = plan_on(shared_store, tmp_path)
    before = killed_between(plan)
    assert publish(attempt_of(other_checkpoint(plan)), "second")["status"] == "blessed"
    after, torn = read_by_the_rule(plan.model_directory())
    assert after not in (None, before) and torn == []
    assert not any(name.startswith("last_good/") for name in names(plan))


def test_a_blessing_that_is_taken_back_is_nowhere_to_be_read(memory_store: str, tmp_path: Path) -> None:
    plan = plan_on(memory_store, tmp_path)
    publish(plan, "first")
    again = attempt_of(plan)
    told = judge_and_publish(again, made(again, "again"), evaluate(difference=0.1))
    assert told["status"] == "not_blessed"
    assert storage.exists(f"{plan.model_directory()}/NOT_BLESSED")
    assert not any(name.startswith("last_good/") for name in names(plan))


# Several at once


def test_two_that_publish_the_same_model_take_turns(
    store: str, tmp_path: Path, reading: Callable[[str], Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOOK_EVERY_S", 0.02)
    plan = plan_on(store, tmp_path)
    publish(plan, "first")
    seen = reading(plan.model_directory())

    def publish_some(who: str) -> None:
        for number in range(4):
            assert publish(attempt_of(plan), f"{who} {number}")["status"] == "blessed"

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(publish_some, who) for who in ("one", "two", "three")]:
            future.result()
    whole, torn = read_by_the_rule(plan.model_directory())
    assert (whole is not None, torn) == (True, [])
    assert seen.torn == []
    assert names(plan) == ARTIFACTS | PROVEN


def test_the_later_of_two_runs_keeps_what_the_other_has_finished(store: str, tmp_path: Path) -> None:
    begun = [attempt_of(plan_on(store, tmp_path)) for _ in range(2)]
    first = publish(begun[0], "first")
    before = {name: storage.stamp(f"{begun[0].model_directory()}/{name}") for name in names(begun[0])}
    second = publish(begun[1], "second")
    assert second == first
    assert {name: storage.stamp(f"{begun[0].model_directory()}/{name}") for name in names(begun[0])} == before
    assert not os.path.exists(begun[1].staging_directory())


def test_a_run_with_force_replaces_what_was_there_before_it_began(store: str, tmp_path: Path) -> None:
    plan = plan_on(store, tmp_path)
    publish(plan, "first")
    publish(attempt_of(plan), "second")
    assert storage.read_bytes(f"{plan.model_directory()}/tflite/float32.tflite") == b"second"


def test_who_lost_its_lease_on_the_way_marks_nothing(memory_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen in the middle, followed by another, woken up: what it wrote among the other's files it writes again as a whole."""
    plan, other = (attempt_of(plan_on(memory_store, tmp_path)) for _ in range(2))
    upload, marks, first_at_it = storage.upload, [], threading.Lock()

    def frozen_once(*pair: str) -> None:
        if not first_at_it.acquire(blocking=False):
            return upload(*pair)
        folder = storage.join(plan.model_directory(), publish_to_store.PUBLISHING)
        (name,) = storage.list_directory(folder)
        stale = json.loads(storage.read_bytes(f"{folder}/{name}"))
        storage.write_bytes(f"{folder}/{name}", json.dumps({**stale, "expires": 0}).encode())
        publish(other, "other's ok")
        marks.append(storage.read_bytes(f"{plan.model_directory()}/BLESSED"))
        return upload(*pair)

    monkeypatch.setattr(storage, "upload", frozen_once)
    report = publish(plan, "of its own")  # as long as the other's: sizes do not tell
    whole, torn = read_by_the_rule(plan.model_directory())
    assert (whole is not None, torn) == (True, []), torn
    assert {storage.read_bytes(f"{plan.model_directory()}/{name}") for name in ARTIFACTS} == {b"of its own"}
    assert report["status"] == "blessed"
    assert len(marks) == 1


# A store that refuses


class Refusing:
    """Lets a storage function fail where `is_refused` says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, is_refused: Callable[[str, str], bool]) -> None:
        self.refused = 0
        for name in CHANGES:
            monkeypatch.setattr(storage, name, self._refusing(getattr(storage, name), is_refused))

    def _refusing(self, call: Callable[..., Any], is_refused: Callable[[str, str], bool]) -> Callable[..., Any]:
        def asked(*arguments: Any) -> Any:
            place = target_of(call, arguments)
            if storage.is_remote(place) and is_refused(call.__name__, place):
                self.refused += 1
                if call.__name__ == "remove_tree":
                    return None  # as it does with what cannot be removed
                raise StorageError(f"{place}: cannot be written: the store is on fire")
            return call(*arguments)

        return asked


REFUSED = {
    "the lease": ("create_exclusively", ""),
    "an artifact": ("upload", "float32.tflite"),
    "the SavedModel": ("upload", "saved_model.pb"),
    "the report": ("upload", "report.json"),
    "the marker": ("upload", "BLESSED"),
    "the old marker's removal": ("remove_tree", "BLESSED"),
    "an old file's removal": ("remove_tree", "old.txt"),
}


@pytest.mark.parametrize(("call", "place"), REFUSED.values(), ids=REFUSED)
def test_what_the_store_refuses_is_the_models_reason_and_nothing_is_marked(
    memory_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, place: str
) -> None:
    plan = plan_on(memory_store, tmp_path)
    first = attempt_of(plan)
    exported = made(first, "first")
    Path(f"{first.staging_directory()}/evaluation").mkdir()
    Path(f"{first.staging_directory()}/evaluation/old.txt").write_text("old")
    judge_and_publish(first, exported, evaluate())
    marker = storage.read_bytes(f"{plan.model_directory()}/BLESSED")
    again = attempt_of(plan)
    with monkeypatch.context() as patched:
        refusing = Refusing(patched, lambda name, uri: name == call and uri.endswith(place))
        report = publish(again, "second")
    assert refusing.refused
    status = "not_blessed" if report["held_back"] else "failed"  # held back: nothing at all of the new one could be written
    assert (report["status"], report["reason"]["code"], report["reason"]["stage"]) == (status, "STORAGE_FAILED", "publish")
    whole, torn = read_by_the_rule(plan.model_directory())
    assert torn == []
    if storage.exists(f"{plan.model_directory()}/BLESSED"):
        assert storage.read_bytes(f"{plan.model_directory()}/BLESSED") == marker, "only what was there before may still be marked"
    assert finished_report(plan) is None or whole == json.loads(marker)["report_sha256"]
    assert publish(attempt_of(plan), "third")["status"] == "blessed", "the next run mends it"
    assert read_by_the_rule(plan.model_directory())[0] is not None


def test_a_store_that_refuses_now_and_then_marks_whole_models_only(
    memory_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(memory_store, tmp_path)
    ends = []
    for number in range(30):
        count = 0

        def every_so_often(_: str, __: str, number: int = number) -> bool:
            nonlocal count
            count += 1
            return (count * 7 + number) % (5 + number % 11) == 0

        begun = attempt_of(plan)
        with monkeypatch.context() as patched:
            Refusing(patched, every_so_often)
            ends.append(publish(begun, f"attempt {number}")["status"])
        whole, torn = read_by_the_rule(plan.model_directory())
        assert torn == []
        if ends[-1] == "blessed":
            assert whole is not None
        assert good_version(plan.model_directory()) is not None or "blessed" not in ends
    assert "blessed" in ends and {"not_blessed", "failed"} & set(ends), "both ends were to be seen"


def test_a_store_that_cannot_be_read_is_written_to_by_nobody(
    memory_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(memory_store, tmp_path)
    publish(plan, "first")

    def refuse(*_: Any) -> Any:
        raise StorageError("cannot be listed: the store is on fire")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "sizes_under", refuse)
        _, done = find_finished(plan, force=False)
    assert done is not None
    assert (done["status"], done["reason"]["code"]) == ("failed", "STORAGE_FAILED")
    assert finished_report(plan) is not None, "what was there is there"


def test_names_and_sizes_are_held_against_what_was_sent(
    memory_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(memory_store, tmp_path)
    upload = storage.upload

    def cut_short(path: str, uri: str) -> None:
        upload(path, uri)
        if uri.endswith("float32.tflite"):
            storage.write_bytes(uri, b"c")

    monkeypatch.setattr(storage, "upload", cut_short)
    report = publish(plan)
    assert report["reason"]["code"] == "STORAGE_FAILED"
    assert re.search(
        r"float32.tflite: 1 bytes are there, 7 were sent \(1 of \d+ files differ\); not published", report["reason"]["message"]
    )
    assert "BLESSED" not in names(plan)


# A runner that moves a model away from its work folder


@pytest.mark.parametrize("is_local", [True, False], ids=["OUT on a disk", "OUT on a store"])
def test_without_its_work_folder_a_model_is_reported_as_such(memory_store: str, tmp_path: Path, is_local: bool) -> None:
    plan = plan_on(memory_store, tmp_path)
    if is_local:
        plan = dataclasses.replace(plan, out=str(tmp_path / "out"), work="")
    exported = made(plan)
    storage.remove_tree(plan.staging_directory())
    report = judge_and_publish(plan, exported, evaluate())
    assert (report["status"], report["reason"]["code"]) == ("failed", "STORAGE_FAILED")
    assert "the runner has moved the model to another worker" in report["reason"]["message"]
    assert names(plan) == {"report.json", "report.html", "NOT_BLESSED"}


def test_a_file_that_is_lost_on_the_way_is_not_vouched_for(memory_store: str, tmp_path: Path) -> None:
    plan = plan_on(memory_store, tmp_path)
    exported = made(plan)
    os.remove(f"{plan.staging_directory()}/tflite/float32.tflite")
    report = judge_and_publish(plan, exported, evaluate())
    assert (report["status"], report["reason"]["code"]) == ("failed", "STORAGE_FAILED")
    assert "tflite/float32.tflite has been removed while the run went on" in report["reason"]["message"]


def test_a_model_that_is_brought_twice_is_published_once(store: str, tmp_path: Path) -> None:
    plan = attempt_of(plan_on(store, tmp_path))
    exported = made(plan)
    first = judge_and_publish(plan, exported, evaluate())
    before = storage.stamp(plan.model_directory())
    assert judge_and_publish(plan, exported, evaluate()) == first
    assert storage.stamp(plan.model_directory()) == before


# Verified from anywhere


def test_a_published_model_is_verified_on_the_store(store: str, tmp_path: Path) -> None:
    plan = plan_on(store, tmp_path)
    reason = Reason(code=ReasonCode.LOAD_CORRUPT, stage=Stage.LOAD, message="so it ended")
    os.makedirs(plan.staging_directory())
    judge_and_publish(plan, ExportedModel(reason=reason), Evaluation(candidates={}))
    storage.write_bytes(f"{store}/fleet.json", b'{"models": [{"model_id": "a", "status": "failed"}]}')
    run_lock.clear_leftovers(store)
    assert verify(store, processes=1, with_rows=False).problems == ()
    storage.write_bytes(f"{plan.model_directory()}/NOT_BLESSED", model_folder.vouch_for(b"{}"))
    ((model_id, sentence),) = verify(store, processes=1, with_rows=False).problems
    assert (model_id, sentence) == ("a", "the marker NOT_BLESSED was written for another report.json (sha256)")
