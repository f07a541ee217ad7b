"""Reads the headers of sample files in a child process: Arrow and tf.Example are parsed by native code that may crash."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Any

from liteferry.errors import ReasonCode, SamplesError
from liteferry.samples.formats.registry import describe_file
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, mismatch
from liteferry.sandbox import reader
from liteferry.sandbox.reader import NoAnswer
from liteferry.storage.transient import is_storage_failure, is_transient_read_error


def describe_contained(paths: Sequence[str], *, schema_file: str | None) -> Iterator[FileFacts]:
    """As `describe_files`, in a child process. A file that kills the reader raises a SamplesError as well."""
    requests = [{"path": path, "schema_file": schema_file} for path in paths]
    readable = [*paths, *([schema_file] if schema_file else [])]
    answers = reader.ask(answer, requests, readable=readable)
    for path, found in zip(paths, answers, strict=True):
        if isinstance(found, NoAnswer):
            raise mismatch(f"{path}: {found.what}")
        if "error" in found:
            told = found["error"]
            raise SamplesError(ReasonCode(told["code"]), str(told["message"])) from _cause(told)
        columns = {
            str(name): ColumnSpec(
                dtype=str(dtype),
                shape=tuple(shape),
                is_flat=bool(is_flat),
                default=default,
                is_image=bool(is_image),
                origin=tuple(map(str, origin)),
            )
            for name, dtype, shape, is_flat, default, is_image, origin in found["columns"]
        }
        yield FileFacts(columns=columns, range_sizes=tuple(map(int, found["range_sizes"])))


def _cause(told: dict[str, Any]) -> OSError | None:
    """The error that `is_transient_read_error` looks for below a SamplesError, rebuilt from the flags in the reader's answer."""
    if told["trouble"]:
        return OSError(errno.EIO, os.strerror(errno.EIO))
    return OSError("cannot be read to its end") if told["misread"] else None


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Runs in the reader. Returns {columns, range_sizes}, or {error: {code, message}}; a column is its name and the fields of
    `ColumnSpec`.
    """
    try:
        facts = describe_file(request["path"], schema_file=request["schema_file"])
    except SamplesError as error:
        told = {"code": error.reason.code.value, "message": error.reason.message}
        return {"error": {**told, "trouble": is_storage_failure(error), "misread": is_transient_read_error(error)}}
    columns = [
        [name, spec.dtype, list(spec.shape), spec.is_flat, _plain(spec.default), spec.is_image, list(spec.origin)]
        for name, spec in facts.columns.items()
    ]
    return {"columns": columns, "range_sizes": list(facts.range_sizes)}


def _plain(default: str | float | bytes | None) -> str | float | None:
    return default.decode("utf-8", "surrogateescape") if isinstance(default, bytes) else default
