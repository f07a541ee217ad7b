"""`liteferry ship`: copies a run's blessed artifacts to the place from which apps and servers load them, with a manifest.

While a file is copied, its digest is compared with the one recorded when it was judged. Files appear whole, the manifest last.
For a model that is held back, the last blessed files are shipped. Nothing in DEST is removed unless asked, and then only files
that an earlier `ship` wrote.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteferry import lenient, storage
from liteferry.errors import JobError, StorageError
from liteferry.json_records import parse
from liteferry.output import model_folder
from liteferry.report.formats import counted, human_bytes, single_line
from liteferry.storage import beneath, layout
from liteferry.types import Status
from liteferry.version import __version__

WHAT = ("recommended", "blessed", "saved_model")
MANIFEST = "manifest.json"
_MANIFEST_VERSION = 1
_SAVED_MODEL = "saved_model.pb"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What to ship, and under which names.

    `what`: `recommended` (one .tflite for each model), `blessed` (all blessed artifacts) or `saved_model`. `target`: ships the
    variant recommended for this target, if the job has targets. `stable_names`: names files `<model>.tflite`. `prune`: removes
    files of an earlier order.
    """

    what: str = "recommended"
    target: str | None = None
    stable_names: bool = False
    prune: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.what not in WHAT:
            problems.append(f"--what: {self.what!r} is none of {', '.join(WHAT)}")
        if self.stable_names and self.what != "recommended":
            problems.append(
                f"--stable_names: gives one file for each model, {self.what!r} may be several; leave it out, or ship recommended"
            )
        if self.target is not None and self.what != "recommended":
            problems.append(f"--target: decides what is recommended, and --what is {self.what!r}; leave one of them out")
        if problems:
            raise JobError(problems, source="liteferry ship")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shipped:
    """The result of shipping. `silent`: models of the last run with nothing blessed. `removed`: files of an earlier order that
    were removed.
    """

    files: Mapping[str, Mapping[str, Any]]
    silent: tuple[str, ...]
    removed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Item:
    """One artifact: its path below the model's folder, its path below DEST, and its facts for the manifest."""

    folder: str
    source: str
    target: str
    facts: Mapping[str, Any]


def ship(out: str, destination: str, order: Order) -> Shipped:
    """Copies the blessed artifacts in the folder `out` to a folder or a store.

    Raises:
      JobError: there is no run in `out`, the run does not have the target, or DEST lies within `out`.
      StorageError: a file's bytes are not the judged ones, or it cannot be copied. DEST then holds complete files, and the
        previous manifest.
    """
    from liteferry.commands.show import read_fleet

    out, destination = storage.absolute(out), storage.absolute(destination)
    beneath.refuse_links(out)
    if destination == out or destination.startswith(f"{out}/"):
        raise JobError([f"DEST {destination} lies in the run's own folder; name one outside of it"], source="liteferry ship")
    model_ids = [model["model_id"] for model in read_fleet(out)[layout.MODELS]]
    before = _manifest(destination)
    files: dict[str, Mapping[str, Any]] = {}
    silent = []
    for model_id in model_ids:
        items = list(_items(storage.join(out, layout.MODELS, model_id), model_id, order))
        silent += [] if items else [model_id]
        for item in items:
            files |= _put(item, destination)
    earlier = lenient.mapping(before.get("files")).keys() | set(map(str, lenient.listing(before.get("left"))))
    left = sorted(earlier - files.keys())
    content = {
        "schema_version": _MANIFEST_VERSION,
        "liteferry": __version__,
        "what": order.what,
        "target": order.target,
        "files": dict(sorted(files.items())),
        "left": [] if order.prune else left,
    }
    storage.write_bytes(storage.join(destination, MANIFEST), json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
    removed = _remove(destination, left) if order.prune else ()
    return Shipped(files=files, silent=tuple(silent), removed=removed)


def _manifest(destination: str) -> dict[str, Any]:
    content = storage.read_if_there(storage.join(destination, MANIFEST))
    try:
        return lenient.mapping(parse(content)) if content is not None else {}
    except ValueError:
        return {}


def _items(folder: str, model_id: str, order: Order) -> Iterator[_Item]:
    found = model_folder.scan_good(folder)
    folder, report = found.directory, found.complete_report()
    if report.get("status") != Status.BLESSED.value:
        return
    about = {
        "model_id": model_id,
        "version": report.get("version"),
        "checkpoint_digest": lenient.mapping(report.get("checkpoint")).get("digest"),
        "labels": lenient.mapping(report.get("metadata")).get("labels"),
        "input_ranges": lenient.mapping(report.get("input_ranges")) or None,
    }
    if order.what == "saved_model":
        saved = lenient.mapping(report.get("saved_model"))
        path = str(saved.get("path"))
        signatures = saved.get("signatures")
        names = sorted(name for name in report["files"] if name.startswith(f"{path}/"))
        # A server that looks for new versions takes a folder for one as soon as this file is in it.
        for name in sorted(names, key=lambda name: name.endswith(f"/{_SAVED_MODEL}")):
            target = f"{model_id}/{report.get('version')}/{name.removeprefix(f'{path}/')}"
            yield _Item(folder=folder, source=name, target=target, facts=_facts(report, name, about, signatures=signatures))
        return
    for name in _variants(report, order, model_id):
        variant = lenient.mapping(lenient.mapping(report.get("variants")).get(name))
        source = str(variant.get("path"))
        target = f"{model_id}.tflite" if order.stable_names else f"{model_id}.{name}.tflite"
        told = {"variant": name, "contract": variant.get("contract"), "batch": variant.get("batch")}
        yield _Item(folder=folder, source=source, target=target, facts=_facts(report, source, about, **told))


def _variants(report: lenient.Report, order: Order, model_id: str) -> list[str]:
    variants = {name: lenient.mapping(facts) for name, facts in lenient.mapping(report.get("variants")).items()}
    blessed = [name for name, facts in variants.items() if facts.get("status") == Status.BLESSED.value and facts.get("path")]
    if order.what == "blessed":
        return sorted(blessed)
    chosen = report.get("recommended_variant")
    if order.target is not None:
        targets = lenient.mapping(report.get("targets"))
        if order.target not in targets:
            known = ", ".join(sorted(targets)) or "none"
            raise JobError([f"--target: {order.target!r} is no target of {model_id} (targets: {known})"], source="liteferry ship")
        chosen = lenient.mapping(targets[order.target]).get("recommended_variant")
    return [str(chosen)] if chosen in blessed else []


def _facts(report: lenient.Report, name: str, about: Mapping[str, Any], **told: Any) -> dict[str, Any]:
    return {**about, **lenient.mapping(lenient.mapping(report["files"]).get(name)), **told}


def _put(item: _Item, destination: str) -> dict[str, Mapping[str, Any]]:
    """Copies one file, unless the same bytes are there already."""
    target = storage.join(destination, item.target)
    expected = item.facts.get("sha256")
    if storage.exists(target) and not storage.is_directory(target) and storage.digest(target) == expected:
        return {item.target: item.facts}
    source = storage.join(item.folder, item.source)
    with _work_folder(destination) as folder:
        copy = os.path.join(folder, "file")
        storage.download(source, copy)  # check the copy, not the source: the source may be replaced meanwhile
        if storage.digest(copy) != expected:
            raise StorageError(
                f"{source} has other bytes than those that were judged (sha256); it was not shipped. `liteferry verify` shows "
                "more; if a run is still going, ship again after it"
            )
        if storage.is_remote(target):
            storage.upload(copy, target)
        else:
            os.makedirs(os.path.dirname(storage.require_local(target)), exist_ok=True)
            os.replace(copy, storage.require_local(target))
    return {item.target: item.facts}


@contextlib.contextmanager
def _work_folder(destination: str) -> Iterator[str]:
    """A temporary folder on the file system of a local DEST, so that a file can be renamed into place; for a store, on this
    machine's disk.
    """
    where = None if storage.is_remote(destination) else storage.require_local(destination)
    if where is not None:
        os.makedirs(where, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".liteferry-ship-", dir=where) as folder:
        yield folder


def _remove(destination: str, names: Sequence[str]) -> tuple[str, ...]:
    removed = []
    for name in names:
        if beneath.is_inside(name) and storage.exists(storage.join(destination, name)):
            storage.remove_tree(storage.join(destination, name))
            removed.append(name)
    if not storage.is_remote(destination):
        for above in sorted({os.path.dirname(name) for name in removed}, key=len, reverse=True):
            _remove_empty(destination, above)
    return tuple(removed)


def _remove_empty(destination: str, name: str) -> None:
    """Removes a folder and those above it, as long as they are empty; one that is gone already counts as removed."""
    while name and not storage.list_directory(storage.join(destination, name)):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(os.path.join(storage.require_local(destination), name))
        name = os.path.dirname(name)


def print_ship(out: str, destination: str, order: Order) -> int:
    """Ships and prints what was shipped. Returns the exit status: 0, or 1 if nothing in the run is blessed."""
    shipped = ship(out, destination, order)
    total = sum(lenient.integer(facts.get("bytes")) or 0 for facts in shipped.files.values())
    models = {facts["model_id"] for facts in shipped.files.values()}
    print(f"{counted(len(models), 'model')}, {counted(len(shipped.files), 'file')}, {human_bytes(total)} in {destination}")
    for name in shipped.removed:
        print(f"removed: {single_line(name)}")
    for model_id in shipped.silent:
        print(f"nothing of {single_line(model_id)} ships: it has no blessed {_missing(order)}")
    return 0 if shipped.files else 1


def _missing(order: Order) -> str:
    return "SavedModel" if order.what == "saved_model" else "variant"
