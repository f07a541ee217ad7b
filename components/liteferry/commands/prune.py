"""`liteferry prune`: lists models in an output folder whose checkpoint no longer exists, and removes them after a yes."""

from __future__ import annotations

import dataclasses
import os
import sys
import uuid
from collections.abc import Iterator, Sequence

from liteferry import lenient, storage
from liteferry.commands.show import read_fleet
from liteferry.errors import StorageError
from liteferry.output import model_folder, run_lock
from liteferry.plan import process_log
from liteferry.report.formats import counted, human_bytes, single_line
from liteferry.report.history import forget_models
from liteferry.storage import beneath, layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Orphan:
    """A model's folder whose checkpoint is gone."""

    model_id: str
    status: str
    checkpoint_uri: str
    bytes: int


def orphans(out: str) -> list[Orphan]:
    """Models, in order of model ids, that the last run did not include and whose checkpoint no longer exists at its recorded
    place. Models of another job stay, and so do folders without a report of where the checkpoint was.

    Raises:
      JobError: no finished run in `out`.
    """
    named = {model["model_id"] for model in read_fleet(out)[layout.MODELS]}
    return list(_orphans(out, named))


def _orphans(out: str, named: set[str]) -> Iterator[Orphan]:
    for model_id in storage.list_directory(storage.join(out, layout.MODELS)):
        if model_id in named:
            continue
        folder = model_folder.scan(storage.join(out, layout.MODELS, model_id))
        report = folder.raw_report()
        uri = lenient.text(lenient.mapping(report.get("checkpoint")).get("uri"))
        if uri is None or _may_be_there(uri):
            continue
        status = lenient.model_status(report).value
        yield Orphan(model_id=model_id, status=status, checkpoint_uri=uri, bytes=sum(folder.sizes.values()))


def _may_be_there(uri: str) -> bool:
    """Whether the checkpoint still exists. If the store does not answer, it counts as existing."""
    try:
        return storage.exists(uri)
    except StorageError:
        return True


def remove(out: str, found: Sequence[Orphan]) -> None:
    """Removes the models' folders, their attempts and their entries in the history. On a disk, a folder leaves its final path
    by one rename; on a store, its marker is removed first.

    Raises:
      StorageError: another run is writing here, or a folder cannot be removed.
    """
    with run_lock.exclusive(out):
        for orphan in found:
            for place in (layout.MODELS, layout.ATTEMPTS):
                _remove(out, place, orphan.model_id)
            storage.remove_tree(storage.join(out, process_log.name(orphan.model_id)))
        forget_models(out, [orphan.model_id for orphan in found])


def _remove(out: str, place: str, model_id: str) -> None:
    folder = storage.join(out, place, model_id)
    if storage.is_remote(out):
        for marker in model_folder.MARKERS:
            storage.remove_tree(storage.join(folder, marker))
        storage.remove_tree(folder)
    elif os.path.lexists(folder):
        aside = os.path.join(storage.require_local(out), layout.STAGING, f"pruned-{uuid.uuid4().hex}")
        try:
            os.makedirs(os.path.dirname(aside), exist_ok=True)
            os.rename(folder, aside)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be removed: {error.strerror or error}") from error
        storage.remove_tree(aside)


def print_prune(out: str, *, is_agreed: bool) -> int:
    """Shows what would go and, after a yes, removes it. Returns 0."""
    out = storage.absolute(out)
    beneath.refuse_links(out)
    found = orphans(out)
    if not found:
        print("Every model here still has its checkpoint: nothing to remove.")
        return 0
    for orphan in found:
        print(
            single_line(
                f"{orphan.model_id}  {orphan.status}  {human_bytes(orphan.bytes)}  {orphan.checkpoint_uri} is gone", limit=400
            )
        )
    total = human_bytes(sum(orphan.bytes for orphan in found))
    if not is_agreed and not sys.stdin.isatty():
        print(f"{counted(len(found), 'model')}, {total}. Nothing was removed; --yes removes them.")
        return 0
    if not is_agreed and input(f"Remove {counted(len(found), 'model')}, {total}? [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was removed.")
        return 0
    remove(out, found)
    print(f"{counted(len(found), 'model')} removed, {total}.")
    return 0
