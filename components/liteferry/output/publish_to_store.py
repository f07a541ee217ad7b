"""A finished model's folder -> an object store, which cannot rename one: never half of it under a marker, whoever is killed when.

Under the model's lease: the old marker goes first; then the files come, what the new report does not name goes, report and page
come; what is there is held against what was sent; the marker comes last. In between there is no marker, and by the readers' rule
(`published`) no model. Whoever was killed on the way leaves the lease behind, which tells the next run what was being put there.
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
from liteferry.storage.layout import PAGE, REPORT

# In a model's folder while it is put there: who does it, and what it is.
PUBLISHING = "PUBLISHING"
_AT_ONCE = 8
_TRIES = 3
_SAVED_MODEL = "saved_model.pb"

Settled = Callable[[], dict[str, Any] | None]


class _LostError(Exception):
    """Somebody else has taken the lease over: what this process took for the state of the folder is no longer known."""


def put_in_place(source: str, target: str, *, intent: Mapping[str, Any], settled: Settled) -> dict[str, Any] | None:
    """Makes the folder `target` on a store hold what the local folder `source` holds.

    Args:
      source: a model's folder, whole: files, report, page and marker.
      intent: what is being put there, for whoever finds it unfinished; read with `unfinished`.
      settled: asked while nobody else can write there; a report when somebody has meanwhile put the same result there.

    Returns:
      The report that `settled` gave, and then nothing was written; None when `source` was put there.

    Raises:
      StorageError: then there is no marker at `target`, or, when nothing at all could be written, what was there before.
    """
    for attempt in range(_TRIES):
        with leases.held(storage.join(target, PUBLISHING), intent) as lease:
            # Who was overtaken may have written among the other's files, so it does not take the other's result for whole.
            report = settled() if attempt == 0 else None
            if report is not None:
                return report
            try:
                _replace(source, target, lease)
            except _LostError:
                continue
            return None
    raise StorageError(f"{target}: cannot be published: others have taken it over {_TRIES} times; see {PUBLISHING} there for who")


def unfinished(target: str) -> Mapping[str, Any]:
    """What a process was putting there that did not come to its end, or has not yet; empty where there is none."""
    return leases.note_of(storage.join(target, PUBLISHING))


def is_unfinished(folder: model_folder.ModelFolder) -> bool:
    """Whether a process is putting something there, or was."""
    return any(name.startswith(f"{PUBLISHING}/") for name in folder.sizes)


def clear(target: str) -> None:
    """Removes what a dead publisher left in a folder that is whole. Raises StorageError."""
    leases.clear(storage.join(target, PUBLISHING))


def _replace(source: str, target: str, lease: leases.Lease) -> None:
    sizes = {name: os.path.getsize(os.path.join(source, name)) for name in storage.files_under(source)}
    marker = next(name for name in model_folder.MARKERS if name in sizes)
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

        # A server that looks for new versions takes a folder for one as soon as this file is in it.
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


def _refuse_unsafe(lease: leases.Lease) -> None:
    if not lease.is_safe():
        raise _LostError


def _without_markers(target: str) -> dict[str, int]:
    """What is there, with its bytes, once no marker is."""
    for _ in range(_TRIES):
        there = _sizes(target)
        left = [name for name in model_folder.MARKERS if name in there]
        if not left:
            return there
        for name in left:
            storage.remove_tree(storage.join(target, name))
    raise StorageError(f"{storage.join(target, left[0])}: cannot be removed, so nothing may be put beside it")


def _sizes(target: str) -> dict[str, int]:
    """What is there, without leases."""
    return {name: size for name, size in storage.sizes_under(target).items() if not name.startswith(f"{PUBLISHING}/")}


def _difference(target: str, expected: Mapping[str, int]) -> str | None:
    """What of a folder is not as it was sent, or None."""
    found = _sizes(target)
    if found == expected:
        return None
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    name = wrong[0]
    return (
        f"{storage.join(target, name)}: {found.get(name, 'no')} bytes are there, {expected.get(name, 'no')} were sent "
        f"({len(wrong)} of {len(expected)} files differ); not published. Run again"
    )
