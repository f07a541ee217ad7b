"""Writes and checks the proof files in a published model's folder: bill of materials, card and, for a blessed model, the
statement with the digest of every file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from liteferry import lenient, storage
from liteferry.errors import StorageError
from liteferry.json_records import parse
from liteferry.output import manifest, model_folder, publish_to_store, signing
from liteferry.report.proof.statement import PREDICATE_TYPE, STATEMENT_TYPE, statement
from liteferry.storage import beneath, layout, leases
from liteferry.types import Status

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer


def written_about(report: Mapping[str, Any]) -> dict[str, bytes]:
    """Name -> content of the files made from a report, except the report, its page and its marker. Empty if there are no
    artifacts, as in an attempt that is held back.
    """
    from liteferry.report.proof.bill import bill
    from liteferry.report.proof.model_card import model_card

    if not report.get("files") or not report.get("saved_model"):
        return {}
    return {layout.BILL: bill(report), layout.CARD: model_card(report)}


def statement_of(report: Mapping[str, Any], beside: Mapping[str, bytes]) -> bytes | None:
    """The statement on a model's folder; None if the model is not blessed.

    Args:
      beside: name -> content of the files that are not among the report's `files`, whose digests the report has.
    """
    if report.get("status") != Status.BLESSED.value:
        return None
    about = {name: hashlib.sha256(content).hexdigest() for name, content in beside.items()}
    return statement(report, {**_judged(report), **about})


def _judged(report: lenient.Report) -> dict[str, str]:
    """Path of each file that was judged -> its sha256 in hex, without the prefix that reports have."""
    files = lenient.mapping(report.get("files")).items()
    return {name: str(lenient.mapping(facts).get("sha256")).removeprefix("sha256:") for name, facts in files}


def problems(directory: str, report: lenient.Report, key: Key | None) -> Iterator[str]:
    """How a local model's folder differs from its statement, a sentence for each file.

    Args:
      key: the key that must have signed it; None: accepts an unsigned statement, and a folder without one.
    """
    name = layout.statement_name(str(report.get("model_id")))
    if report.get("status") != Status.BLESSED.value:
        return
    if name not in model_folder.scan(directory).sizes:
        if key is not None:
            yield f"{name} is not there: nothing of this folder is signed; run the job again with --sign"
        return
    try:
        content = beneath.read_bytes(directory, name)
        line = signing.opened(content, key) if key is not None else signing.payload_of(content)
    except signing.NotSignedError as error:
        yield f"{name}: {error}"
        return
    yield from (f"{name}: {sentence}" for sentence in _differences(directory, report, line))


def _differences(directory: str, report: lenient.Report, line: bytes) -> Iterator[str]:
    try:
        told = lenient.mapping(parse(line))
    except ValueError:
        yield "it is no in-toto statement"
        return
    own = lenient.mapping(told.get("predicate"))
    if (told.get("_type"), told.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        yield "it is not an in-toto statement of LiteFerry"
        return
    for key in ("model_id", "status", "version"):
        if own.get(key) != report.get(key):
            yield f"it says {key} {json.dumps(own.get(key))[:200]}, report.json {json.dumps(report.get(key))[:200]}"
    vouched, judged = _subjects(told), _judged(report)
    found = model_folder.scan(directory).sizes.keys() - {layout.statement_name(str(report.get("model_id")))}
    yield from (f"{name} is gone" for name in sorted(vouched.keys() - found))
    yield from (f"it does not vouch for {name}" for name in sorted(found - vouched.keys()))
    for name in sorted(found & vouched.keys()):
        # The judged files were compared with the report's digests before, see `manifest`.
        if (judged.get(name) or _digest(directory, name)) != vouched[name]:
            yield f"{name} is not the file that it vouches for (its sha256 differs)"


def _digest(directory: str, name: str) -> str:
    return hashlib.sha256(beneath.read_bytes(directory, name)).hexdigest()


def _subjects(told: Mapping[str, Any]) -> dict[str, object]:
    subjects = map(lenient.mapping, lenient.listing(told.get("subject")))
    return {str(one.get("name")): lenient.mapping(one.get("digest")).get("sha256") for one in subjects}


def sign_all(out: str, model_ids: Iterable[str], signer: Signer) -> list[str]:
    """Signs the statement of every blessed model among these. Returns why some are not signed, a sentence each."""
    told = []
    for model_id in model_ids:
        try:
            why = sign(out, model_id, signer)
        except (StorageError, signing.NotSignedError) as error:
            why = str(error)
        told += [f"{model_id}: {why}"] if why else []
    return told


def sign(out: str, model_id: str, signer: Signer) -> str | None:
    """Signs the statement of a blessed model in place; does nothing if this key has signed it already. The artifacts must be
    the judged ones, and the files about them unchanged.

    Returns:
      Why it is not signed; None if it is, or if the model is not blessed.

    Raises:
      StorageError: it cannot be read or written.
    """
    directory = storage.join(out, layout.MODELS, model_id)
    report = model_folder.scan(directory).complete_report()
    if report.get("status") != Status.BLESSED.value or _is_signed(directory, report, signer.public_key):
        return None
    with _alone_with(directory, report):
        folder = model_folder.scan(directory)
        report = folder.complete_report()
        if report.get("status") != Status.BLESSED.value:
            return None  # another run has published something else
        leases_there = {one for one in folder.sizes if one.startswith(f"{publish_to_store.PUBLISHING}/")}
        beside = layout.beside(model_id) | leases_there
        found = manifest.problems(directory, lenient.mapping(report.get("files")), beside)
        name = layout.statement_name(model_id)
        there = sorted(folder.sizes.keys() & (layout.beside(model_id) - {name}))
        line = statement_of(report, {one: beneath.read_bytes(directory, one) for one in there})
        before = beneath.read_bytes(directory, name) if name in folder.sizes else None
        if before is not None and not found:
            found = list(_changed(before, line or b""))
        if found or line is None:
            return f"{found[0] if found else 'it is not blessed'}; it is not signed. `liteferry verify` shows more"
        beneath.write_bytes(out, f"{layout.MODELS}/{model_id}/{name}", signing.signed(line, signer))
    return None


@contextlib.contextmanager
def _alone_with(directory: str, report: Mapping[str, Any]) -> Iterator[None]:
    """Keeps other runs from publishing the model while the context lasts; on a disk, locks the whole OUT."""
    if not storage.is_remote(directory):
        yield
        return
    intent = {key: report.get(key) for key in ("version", "export_digest")}
    with leases.held(storage.join(directory, publish_to_store.PUBLISHING), intent):
        yield


def _is_signed(directory: str, report: Mapping[str, Any], key: Key) -> bool:
    name = layout.statement_name(str(report.get("model_id")))
    if name not in model_folder.scan(directory).sizes:
        return False
    try:
        line = signing.opened(beneath.read_bytes(directory, name), key)
    except signing.NotSignedError:
        return False
    return _subjects(lenient.mapping(parse(line))).get(layout.REPORT) == _digest(directory, layout.REPORT)


def _changed(before: bytes, line: bytes) -> Iterator[str]:
    """Why the folder no longer matches its statement."""
    try:
        told = _subjects(lenient.mapping(parse(signing.payload_of(before))))
    except ValueError:
        yield "its statement is not an in-toto statement"
        return
    now = _subjects(lenient.mapping(parse(line)))
    for name in sorted(told.keys() | now.keys()):
        if told.get(name) != now.get(name):
            yield f"{name} has changed since its statement was written"
