"""Tells transient storage errors from errors in the file itself, so that a read is tried a second time before its error is
believed.
"""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Iterator

from liteferry.errors import ModelError, ReasonCode, StorageError

_TROUBLE = {
    number
    for name in ("EIO", "ENOSPC", "EDQUOT", "EROFS", "ESTALE", "EMFILE", "ENFILE", "ETIMEDOUT", "EREMOTEIO")
    if (number := getattr(errno, name, None)) is not None
}
# TensorFlow's own errors have no errno; they end with the text of the system's error.
_WORDS = tuple(os.strerror(number) for number in _TROUBLE)
_BROKEN_FILE = (OSError, EOFError, zipfile.BadZipFile, zlib.error)
_LONGEST_CHAIN = 20


def is_storage_failure(error: BaseException) -> bool:
    """Whether an error comes from a disk or a network drive that failed or was full."""
    return isinstance(error, StorageError) or any(
        getattr(cause, "errno", None) in _TROUBLE or _ends_in_trouble(cause) for cause in _causes(error)
    )


def is_transient_read_error(error: BaseException) -> bool:
    """Whether a file that was read wrongly, cut short for example, could have led to this error. Reading it again tells."""
    if isinstance(error, ModelError) and error.reason.code is ReasonCode.LOAD_CORRUPT:
        return True
    return is_storage_failure(error) or any(isinstance(cause, _BROKEN_FILE) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _ends_in_trouble(error: BaseException) -> bool:
    try:
        words = str(getattr(error, "message", error))
    except Exception:  # noqa: BLE001  # the user's __str__: anything
        return False
    return type(error).__module__.startswith("tensorflow") and any(word in words for word in _WORDS)
