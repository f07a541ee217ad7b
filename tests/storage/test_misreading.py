"""What is worth a second look: errors of storage at that moment, told from errors of what is stored."""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from liteferry.config.job import SamplesSpec
from liteferry.errors import ModelError, ReasonCode, SamplesError, Stage, StorageError
from liteferry.plan import planning
from liteferry.storage.transient import is_storage_failure, is_transient_read_error


def of_errno(number: int) -> OSError:
    return OSError(number, os.strerror(number), "a file")


def raised(error: Exception, because_of: Exception) -> Exception:
    try:
        raise error from because_of
    except type(error) as caught:
        return caught


def of_tensorflow(words: str) -> Exception:
    return type("ResourceExhaustedError", (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})(words)


def model_error(code: ReasonCode) -> ModelError:
    return ModelError(code, Stage.LOAD, "so it is")


CASES: dict[str, tuple[Callable[[], Exception], bool, bool]] = {
    "a disk that fails": (lambda: of_errno(errno.EIO), True, True),
    "a full disk": (lambda: of_errno(errno.ENOSPC), True, True),
    "no descriptor left": (lambda: of_errno(errno.EMFILE), True, True),
    "TensorFlow's full disk": (lambda: of_tensorflow("x.data; No space left on device"), True, True),
    "TensorFlow's memory": (lambda: of_tensorflow("OOM when allocating tensor with shape[1000000]"), False, False),
    "our own door": (lambda: StorageError("out: cannot be written"), True, True),
    "samples on a disk that fails": (
        lambda: raised(SamplesError(ReasonCode.SAMPLES_MISMATCH, "a.npz"), of_errno(errno.EIO)),
        True,
        True,
    ),
    "a model on a disk that fails": (lambda: raised(model_error(ReasonCode.LOAD_FAILED), of_errno(errno.EIO)), True, True),
    "no such file": (lambda: of_errno(errno.ENOENT), False, True),
    "a corrupt file": (lambda: model_error(ReasonCode.LOAD_CORRUPT), False, True),
    "half an archive": (lambda: raised(model_error(ReasonCode.LOAD_FAILED), zipfile.BadZipFile("no end")), False, True),
    "an unsafe file": (lambda: model_error(ReasonCode.LOAD_UNSAFE), False, False),
    "a user's mistake": (lambda: ValueError("Input/output error is what it says"), False, False),
}


@pytest.mark.parametrize("name", CASES)
def test_storage_is_told_from_what_is_stored(name: str) -> None:
    make, is_trouble, is_misread = CASES[name]
    assert (is_storage_failure(make()), is_transient_read_error(make())) == (is_trouble, is_misread)


def test_a_chain_that_leads_to_itself_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert not is_transient_read_error(first)


@pytest.mark.parametrize(("times", "code"), [(1, None), (2, "STORAGE_FAILED")])
def test_samples_on_a_disk_that_fails_are_opened_again_and_never_end_the_run(times: int, code: str | None) -> None:
    left = [StorageError("rows.npz: cannot be read: Input/output error")] * times

    def open_samples(*_: object, **__: object) -> Any:
        if left:
            raise left.pop()
        return "the samples"

    bound = planning.bound_samples("rows", SamplesSpec(path="rows.npz"), opener=open_samples)
    assert (bound.problem.code.value if bound.problem else None) == code
    assert (bound.sample_set is None) == (code is not None)
