"""Runs one unit of work in a process of its own, and runs it again if the first failure may not be the unit's fault."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from liteferry.errors import ReasonCode
from liteferry.sandbox import disk, nurseries, scratch
from liteferry.sandbox.child import Request
from liteferry.sandbox.flavors import Flavor
from liteferry.sandbox.outcome import Failure, Limits, Outcome
from liteferry.sandbox.supervision import Supervision
from liteferry.sandbox.units import Unit, name_of

_MOST_LOG_BYTES = 2**20  # of what a child prints, the end


def no_cleanup() -> None:
    """Does nothing: for units that overwrite the results of an earlier run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """The kind of process that a unit gets, and the resources it may use.

    `flavor`: the nursery that it is forked from. `limits`: passing one kills the child's whole process group. `writable`:
    folders below which it may write and read, besides its own scratch folder; created if missing. `readable`: files and folders
    that it may read besides Python and the system's libraries, see `sandbox.readable`. `network`: whether it may reach the
    network. The kernel enforces the last three where it can, see `sandbox.confine`.
    """

    flavor: Flavor
    limits: Limits
    writable: Sequence[str] = ()
    readable: Sequence[str] = ()
    network: bool = False


def run(unit: Unit, argument: Any, spec: SandboxSpec, *, before_retry: Callable[[], None] | None = no_cleanup) -> Outcome:
    """Runs `unit(argument, reporter)` in a process of its own and waits for its end. Never raises for what happens inside.

    A unit is run a second time after two kinds of end. One that was killed from outside gets a nursery of its own, so that
    another unit that may have killed their common nursery cannot affect it again. One that could not read a file may have met a
    transient error of the storage.

    Args:
      unit: a function at the top level of a module; the child imports it by its name.
      argument: anything picklable; it is sent to the child only.
      spec: the kind of process, and the resources it may use.
      before_retry: removes results of the first run; None: there is no second run.

    Raises:
      ValueError: the child could not import the unit.
    """
    flavor, limits = spec.flavor, spec.limits
    request = request_for(unit, argument, spec)
    odd_before = odd_paths(request.writable)
    nursery = nurseries.nursery(flavor)
    outcome, has_begun = _try(request, nursery, limits)
    if not has_begun and not nursery.is_closed:  # the nursery died with the request: a new nursery gets it, once
        nursery.settle()
        nursery = nurseries.nursery(flavor)
        outcome, _ = _try(request, nursery, limits)
    if (outcome.is_killed or outcome.is_misread) and before_retry is not None and not nursery.is_closed:
        before_retry()
        with nurseries.nursery_of_its_own(flavor) if outcome.is_killed else nurseries.shared_nursery(flavor) as nursery:
            again, _ = _try(request, nursery, limits)
        both = "\n".join(filter(None, (outcome.log, again.log)))
        outcome = dataclasses.replace(again, seconds=outcome.seconds + again.seconds, log=both)
    return without_odd_entries(outcome, request.writable, odd_before)


def request_for(unit: Unit, argument: Any, spec: SandboxSpec) -> Request:
    """The request for a unit of work; makes the folders that it may write to. ValueError where no child could import the unit."""
    for given in spec.writable:
        os.makedirs(given, exist_ok=True)
    return Request(
        function=name_of(unit),
        argument=argument,
        writable=tuple(map(os.path.abspath, spec.writable)),
        readable=tuple(dict.fromkeys(path if path.endswith("/.") else os.path.abspath(path) for path in spec.readable)),
        network=spec.network,
        file_bytes=spec.limits.disk_bytes,
    )


def _try(request: Request, nursery: nurseries.Nursery, limits: Limits) -> tuple[Outcome, bool]:
    """Runs one child in a new scratch folder. Returns its outcome, and whether the child was forked at all."""
    with supervised(request, nursery, limits) as (supervision, log):
        outcome = dataclasses.replace(supervision.watch(), log=end_of(log))
        tell(request, outcome)
        return outcome, supervision.has_begun


@contextlib.contextmanager
def supervised(request: Request, nursery: nurseries.Nursery, limits: Limits) -> Iterator[tuple[Supervision, IO[bytes]]]:
    """The supervision of a child that is not started yet, and its log; its scratch folder lasts as long as the context."""
    folder = scratch.new_folder()
    try:
        path, log_path = os.path.join(folder, ".request"), os.path.join(folder, ".log")
        with open(path, "xb") as file:
            pickle.dump(dataclasses.replace(request, scratch=folder, log_path=log_path), file)
        # Kept open: if the child replaces the file, with a link for example, the link is neither read nor truncated.
        with open(log_path, "x+b", buffering=0) as log:
            yield Supervision((path, folder, *request.writable), log, nursery, limits), log
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(request: Request, outcome: Outcome) -> None:
    """Prints what a child has printed, for people who ask for it."""
    if nurseries.VERBOSE in os.environ and outcome.log:
        print(f"--- {request.function} ---\n{outcome.log}", file=sys.stderr, flush=True)


def odd_paths(folders: Sequence[str]) -> set[str]:
    """Links, pipes and devices below folders."""
    return {path for given in folders for path, _ in disk.odd_entries(given)}


def without_odd_entries(outcome: Outcome, folders: Sequence[str], before: set[str]) -> Outcome:
    """Removes links, pipes and devices that a unit has left in its folders, since others read there, and fails the unit: no unit
    makes any.
    """
    odd = [entry for folder in folders for entry in disk.odd_entries(folder) if entry[0] not in before]
    if not odd:
        return outcome
    for path, _ in odd:
        with contextlib.suppress(OSError):
            os.remove(path)
    (path, what), more = odd[0], f" and {len(odd) - 1:,} more" if len(odd) > 1 else ""
    message = (
        f"it left {what}{more} in its work folder ({os.path.basename(path)[:200]}), which was removed; "
        "no step of an export makes any"
    )
    failure = Failure(code=ReasonCode.LOAD_UNSAFE, stage=outcome.stage, message=message)
    return dataclasses.replace(outcome, error=failure)


def end_of(log: IO[bytes], *, since: int = 0) -> str:
    """The end of a log, at most a megabyte. `since`: the size that it had when its earlier part was read."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _MOST_LOG_BYTES, since if since <= size else 0))
    return log.read(_MOST_LOG_BYTES).decode(errors="replace").strip()
