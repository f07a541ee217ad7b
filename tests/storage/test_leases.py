"""`leases`: one holder at a time, the dead are followed at once or after their time, and nobody who was overtaken goes on."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.storage import leases
from liteferry.storage.leases import Holder, Lease

OTHER_MACHINE = "0d1f pid:[1] 4711 99"


def holder(*, process: str = OTHER_MACHINE, left_s: float = 60.0, **changes: Any) -> Holder:
    """Somebody's lease as its object says it, by default of a process on another machine."""
    now = time.time()
    known = {"token": "t", "host": "build-3", "pid": 4711, "process": process, "since": now - 10, "expires": now + left_s}
    return Holder(**{**known, **changes})


def lay(folder: str, number: int, content: Holder | bytes) -> None:
    data = content if isinstance(content, bytes) else json.dumps(dataclasses.asdict(content)).encode()
    storage.write_bytes(f"{folder}/{number:09d}.json", data)


def test_a_lease_is_held_by_one_and_given_back(store: str) -> None:
    folder = f"{store}/lease"
    first = leases.take(folder)
    assert isinstance(first, Lease)
    assert first.is_mine()
    second = leases.take(folder)
    assert isinstance(second, Holder)
    assert (second.pid, second.in_words().split(" since ")[0]) == (os.getpid(), f"process {os.getpid()} on {second.host}")
    first.release()
    assert not first.is_mine()
    assert leases.holder_of(folder) is None
    assert storage.list_directory(folder) == []
    assert isinstance(leases.take(folder), Lease)


def test_of_many_that_want_it_at_once_one_gets_it(store: str) -> None:
    folder = f"{store}/lease"
    for _ in range(3):
        start = threading.Barrier(8)

        def take(start: threading.Barrier = start) -> Lease | Holder:
            start.wait()
            return leases.take(folder)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = [future.result() for future in [pool.submit(take) for _ in range(8)]]
        taken = [lease for lease in found if isinstance(lease, Lease)]
        assert [lease.is_mine() for lease in taken] == [True]
        taken[0].release()


def test_who_waits_gets_it_when_it_is_given_back(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOOK_EVERY_S", 0.05)
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        with leases.held(f"{store}/lease"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result()
    assert most == 1, f"{most} held it at once"


TAKER = """
    import sys, time
    from liteferry.storage import leases

    lease = leases.take(sys.argv[1], {"what": "was being done"})
    print("begun", flush=True)
    time.sleep(600)
"""


def test_a_process_that_was_killed_is_followed_at_once(shared_store: str) -> None:
    folder = f"{shared_store}/lease"
    taker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(TAKER), folder], stdout=subprocess.PIPE, text=True)
    assert taker.stdout is not None
    assert taker.stdout.readline() == "begun\n"
    found = leases.take(folder)
    assert isinstance(found, Holder), "it lives"
    assert found.pid == taker.pid
    taker.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, taker.pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet buried: a zombie holds nothing
    assert leases.note_of(folder) == {"what": "was being done"}
    assert isinstance(leases.take(folder), Lease)
    taker.communicate()
    assert len(storage.list_directory(folder)) == 1, "the dead one's object is removed"


@pytest.mark.parametrize(
    ("before", "is_followed"),
    [
        (holder(left_s=6000), False),
        (holder(left_s=-1), True),
        (holder(process="", left_s=6000), False),
        (b"not a lease", True),
        (b'{"token": "t"}', True),
    ],
    ids=["another machine", "its time is over", "a machine that cannot be told", "no JSON", "half of one"],
)
def test_a_holder_elsewhere_is_followed_when_its_time_is_over(store: str, before: Holder | bytes, is_followed: bool) -> None:
    folder = f"{store}/lease"
    lay(folder, 7, before)
    assert isinstance(leases.take(folder), Lease) is is_followed
    assert storage.list_directory(folder) == [f"00000000{8 if is_followed else 7}.json"]


def test_a_process_with_the_same_number_is_not_the_one_that_died(store: str) -> None:
    folder = f"{store}/lease"
    mine = leases.take(folder)
    assert isinstance(mine, Lease)
    living = json.loads(storage.read_bytes(f"{folder}/000000001.json"))["process"]
    mine.release()
    machine, pid, started = living.rsplit(" ", 2)
    assert pid == str(os.getpid())
    lay(folder, 2, holder(process=f"{machine} {pid} {int(started) - 1}", pid=os.getpid()))
    assert isinstance(leases.take(folder), Lease)


@pytest.mark.parametrize(
    "meanwhile", ["given back", "given back and held by a third", "followed, given back and left by a third"]
)
def test_who_paused_after_its_look_gets_nothing_that_has_changed_since(
    store: str, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """It saw a dead holder, and while it paused another process followed that one, gave the lease back, and a third took it."""
    folder = f"{store}/lease"
    lay(folder, 5, holder(left_s=-1))
    third = holder(token="third", left_s=-1 if "left" in meanwhile else 60)
    place = 5 if "followed" in meanwhile else 1
    real = storage.create_exclusively
    seen: list[bool] = []

    def create(uri: str, data: bytes) -> bool:
        if not seen:
            storage.remove_tree(f"{folder}/000000005.json")
            if "third" in meanwhile:
                lay(folder, place, third)
        made = real(uri, data)
        seen.append(made)
        return made

    monkeypatch.setattr(storage, "create_exclusively", create)
    found = leases.take(folder)
    assert seen[0], "the number that it had in mind was free"
    if "held" in meanwhile:
        assert isinstance(found, Holder)
        assert found.token == "third"
        assert storage.list_directory(folder) == ["000000001.json"]
    else:
        assert isinstance(found, Lease)
        assert len(seen) == 2, "it looked again before it had the lease"
        assert len(storage.list_directory(folder)) == 1


def test_who_came_too_late_does_not_disturb_the_holder(store: str) -> None:
    folder = f"{store}/lease"
    mine = leases.take(folder)
    assert isinstance(mine, Lease)
    lay(folder, 6, holder(token="late dead"))
    assert mine.is_mine()
    found = leases.take(folder)
    assert isinstance(found, Holder)
    assert found.pid == os.getpid(), "the holder is named, not who is about to give up"
    lay(folder, 6, holder(token="late dead", left_s=-1))
    assert isinstance(leases.take(folder), Holder), "even if that one died before it gave up"


def test_who_was_followed_finds_out_though_its_object_is_still_there(store: str) -> None:
    folder = f"{store}/lease"
    first = leases.take(folder)
    assert isinstance(first, Lease)
    token = json.loads(storage.read_bytes(f"{folder}/000000001.json"))["token"]
    lay(folder, 2, holder(token=f"other {token}"))
    assert not first.is_mine()


def test_who_was_taken_for_dead_finds_out(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = f"{store}/lease"
    first = leases.take(folder)
    assert isinstance(first, Lease)
    lay(folder, 2, holder())
    storage.remove_tree(f"{folder}/000000001.json")  # as who follows does
    first.renew()
    assert not first.is_safe()
    assert not first.is_mine()
    first.release()
    assert storage.list_directory(folder) == ["000000002.json"], "what is not its own, a loser leaves alone"


def test_the_same_number_may_be_anothers(store: str) -> None:
    """Taken for dead, followed by one that has given it back since, and that one by a third."""
    folder = f"{store}/lease"
    first = leases.take(folder)
    assert isinstance(first, Lease)
    lay(folder, 1, holder())
    assert not first.is_mine()
    first.renew()
    first.abandon()
    first.release()
    found = leases.holder_of(folder)
    assert found is not None
    assert found.host == "build-3", "the third one's lease is as it was"


def test_a_holder_trusts_its_lease_for_less_time_than_others_do(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "TTL_S", 1.0)
    monkeypatch.setattr(leases, "SKEW_S", 0.6)
    lease = leases.take(f"{store}/lease")
    assert isinstance(lease, Lease)
    assert lease.is_safe()
    time.sleep(0.5)
    assert not lease.is_safe()
    assert leases.holder_of(f"{store}/lease") is not None, "others still take it for alive"


def test_a_lease_is_renewed_while_it_is_held(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTL_S": 2.0, "SKEW_S": 0.5, "RENEW_EVERY_S": 0.2}.items():
        monkeypatch.setattr(leases, name, value)
    with leases.held(f"{store}/lease") as lease:
        time.sleep(3.0)
        assert lease.is_mine()
        assert leases.holder_of(f"{store}/lease") is not None
    assert storage.list_directory(f"{store}/lease") == []


def test_a_holder_that_hangs_is_not_renewed_for_ever(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TTL_S": 0.5, "SKEW_S": 0.1, "RENEW_EVERY_S": 0.1}.items():
        monkeypatch.setattr(leases, name, value)
    with leases.held(f"{store}/lease", at_most_s=0.3) as lease:
        time.sleep(1.5)
        assert not lease.is_safe()
        assert leases.holder_of(f"{store}/lease") is None


def test_work_that_failed_leaves_its_note_and_no_holder(store: str) -> None:
    folder = f"{store}/lease"
    with pytest.raises(ZeroDivisionError), leases.held(folder, {"version": 3}):
        raise ZeroDivisionError
    assert leases.holder_of(folder) is None
    assert leases.note_of(folder) == {"version": 3}
    with leases.held(folder):
        pass
    assert leases.note_of(folder) == {}


def test_who_does_not_wait_is_told_who_holds_it_and_what_to_do(store: str) -> None:
    lay(f"{store}/lease", 1, holder(left_s=41.6, since=0.0))
    words = (
        f"{store}: another run is writing here: process 4711 on build-3 since 1970-01-01 00:00:00 UTC. Wait for it, or give this "
        "one its own --output. If that process is gone, run again in 4[12] s"
    )
    with pytest.raises(StorageError, match=words), leases.exclusive(f"{store}/lease", place=store):
        pytest.fail("held by two")


def test_what_the_dead_left_is_cleared_and_the_living_are_not(store: str) -> None:
    lay(f"{store}/lease", 3, holder(left_s=-1))
    leases.clear(f"{store}/lease")
    assert storage.list_directory(f"{store}/lease") == []
    lay(f"{store}/lease", 3, holder())
    leases.clear(f"{store}/lease")
    assert storage.list_directory(f"{store}/lease") == ["000000003.json"]
