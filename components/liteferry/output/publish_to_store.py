"""Puts a finished model's folder on an object store, which cannot rename one. Crash-safe: a marker never stands beside incomplete
files.

Under the model's lease, the old marker is removed first. Then the files are uploaded, files that the new report does not name are
removed, and report and page are uploaded. The listing is compared with what was sent, and the marker comes last. In between there
is no marker, and so no model by the readers' rule (`model_folder`). Where a blessed model is replaced by a blessed one, the old
one is first copied to `last_good` beside it, and removed there after the new marker: a reader who looks at both places always
finds a whole one. A process that is killed leaves its lease behind, whose note tells the next run what was being published.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Mapping
from typing import Any

from liteferry import storage
from liteferry.errors import StorageError
from liteferry.output import model_folder
from liteferry.storage import leases
from liteferry.storage.layout import BLESSED, LAST_GOOD, PAGE, REPORT

# The lease in a model's folder while it is being published; its note says what is published.
PUBLISHING = "PUBLISHING"
_AT_ONCE = 8
_TRIES = 3
_SAVED_MODEL = "saved_model.pb"

Settled = Callable[[], dict[str, Any] | None]


class _LostError(Exception):
    """Another process has taken over the lease, so this process no longer knows the state of the folder."""


def put_in_place(source: str, target: str, *, intent: Mapping[str, Any], settled: Settled) -> dict[str, Any] | None:
    """Makes the folder `target` on a store equal to the local folder `source`.

    Args:
      source: a model's folder, complete: files, report, page and marker.
      intent: what is being published, for a process that finds it unfinished; read with `unfinished`.
      settled: called while no other process can write there; returns a report when another run has published the same result.

    Returns:
      The report that `settled` returned, and then nothing was written; None when `source` was published.

    Raises:
      StorageError: then there is no marker at `target`, or, when nothing could be written at all, the previous state.
    """
    for attempt in range(_TRIES):
        with leases.held(storage.join(target, PUBLISHING), intent) as lease:
            # After losing the lease this process may have written among the other's files: that result may not be whole.
            report = settled() if attempt == 0 else None
            if report is not None:
                return report
            try:
                _replace(source, target, lease)
            except _LostError:
                continue
            return None
    raise StorageError(
        f"{target}: cannot be published: other processes have taken over its lease {_TRIES} times; {PUBLISHING} there names them"
    )


def unfinished(target: str) -> Mapping[str, Any]:
    """The note of a process that has not finished publishing; empty where there is none."""
    return leases.note_of(storage.join(target, PUBLISHING))


def is_unfinished(folder: model_folder.ModelFolder) -> bool:
    """Whether a process is publishing there, or was killed while it did."""
    return any(name.startswith(f"{PUBLISHING}/") for name in folder.sizes)


def clear(target: str) -> None:
    """Removes what a dead publisher left in a complete folder: its lease, and the model before. Raises StorageError."""
    _forget_last_good(target)
    leases.clear(storage.join(target, PUBLISHING))


def restore(target: str) -> None:
    """Puts the last blessed model back where a publisher died before it had put a newer one in its place, and does nothing where
    a whole model stands. Raises StorageError.
    """
    good = storage.join(target, LAST_GOOD)
    if _is_whole(target) or not _is_blessed(good):
        return
    with leases.held(storage.join(target, PUBLISHING), {}) as lease:
        if _is_whole(target) or not _is_blessed(good):
            return
        wanted = _sizes(good)
        for name in sorted(_without_markers(target).keys() - wanted.keys()):
            storage.remove_tree(storage.join(target, name))
        _copy_all(good, target, [name for name in wanted if name not in model_folder.MARKERS])
        complaint = _difference(target, {name: size for name, size in wanted.items() if name not in model_folder.MARKERS})
        if complaint is not None or not lease.is_mine():
            raise StorageError(complaint or f"{target}: another process has taken over while the last blessed model was put back")
        storage.copy_in_store(storage.join(good, BLESSED), storage.join(target, BLESSED))
        _forget_last_good(target)


def _is_whole(folder: str) -> bool:
    return bool(model_folder.scan(folder).complete_report())


def _is_blessed(folder: str) -> bool:
    report = model_folder.scan(folder).complete_report()
    return bool(report) and model_folder.marker_of(report) == BLESSED


def _keep_last_good(target: str, lease: leases.Lease) -> None:
    """Copies a blessed model that is about to be replaced, marker last. What an earlier publisher has copied stays where the
    model itself is not whole any more.
    """
    if not _is_blessed(target):
        return
    good = storage.join(target, LAST_GOOD)
    _forget_last_good(target)
    names = [name for name in _sizes(target) if name not in model_folder.MARKERS]
    _refuse_unsafe(lease)
    _copy_all(target, good, names)
    storage.copy_in_store(storage.join(target, BLESSED), storage.join(good, BLESSED))


def _copy_all(source: str, target: str, names: list[str]) -> None:
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(lambda name: storage.copy_in_store(storage.join(source, name), storage.join(target, name)), names):
            pass


def _forget_last_good(target: str) -> None:
    """Removes the copy, its marker first: a reader never takes half of it for a model."""
    good = storage.join(target, LAST_GOOD)
    if storage.sizes_under(good):
        storage.remove_tree(storage.join(good, BLESSED))
        storage.remove_tree(good)


def _replace(source: str, target: str, lease: leases.Lease) -> None:
    sizes = {name: os.path.getsize(os.path.join(source, name)) for name in storage.files_under(source)}
    marker = next(name for name in model_folder.MARKERS if name in sizes)
    if marker == BLESSED:
        _keep_last_good(target, lease)
    there = _without_markers(target)
    files = [name for name in sizes if name not in (REPORT, PAGE, *model_folder.MARKERS)]
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:

        def all_of(work: Callable[[str], None], names: list[str]) -> None:
            for _ in pool.map(work, names):
                pass

        def upload(name: str) -> None:
            _refuse_unsafe(lease)
            storage.upload(os.path.join(source, name), storage.join(target, name))

        def remove(name: str) -> None:
            _refuse_unsafe(lease)
            storage.remove_tree(storage.join(target, name))

        # A server that watches for new versions loads a folder as soon as this file is in it.
        all_of(upload, [name for name in files if os.path.basename(name) != _SAVED_MODEL])
        all_of(upload, [name for name in files if os.path.basename(name) == _SAVED_MODEL])
        all_of(remove, sorted(there.keys() - sizes.keys()))
        all_of(upload, [name for name in (REPORT, PAGE) if name in sizes])
    complaint = _difference(target, {name: size for name, size in sizes.items() if name not in model_folder.MARKERS})
    if not lease.is_mine():
        raise _LostError
    if complaint is not None:
        raise StorageError(complaint)
    storage.upload(os.path.join(source, marker), storage.join(target, marker))
    _forget_last_good(target)


def _refuse_unsafe(lease: leases.Lease) -> None:
    if not lease.is_safe():
        raise _LostError


def _without_markers(target: str) -> dict[str, int]:
    """Removes the markers; returns what is left, with its bytes."""
    for _ in range(_TRIES):
        there = _sizes(target)
        left = [name for name in model_folder.MARKERS if name in there]
        if not left:
            return there
        for name in left:
            storage.remove_tree(storage.join(target, name))
    raise StorageError(f"{storage.join(target, left[0])}: cannot be removed, so nothing can be published there")


def _sizes(target: str) -> dict[str, int]:
    """The files in the folder with their bytes, without leases and without the model before."""
    aside = (f"{PUBLISHING}/", f"{LAST_GOOD}/")
    return {name: size for name, size in storage.sizes_under(target).items() if not name.startswith(aside)}


def _difference(target: str, expected: Mapping[str, int]) -> str | None:
    """How a folder differs from the uploaded files, or None."""
    found = _sizes(target)
    if found == expected:
        return None
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    name = wrong[0]
    return (
        f"{storage.join(target, name)}: {found.get(name, 'no')} bytes are there, {expected.get(name, 'no')} were sent "
        f"({len(wrong)} of {len(expected)} files differ); not published. Run again"
    )
