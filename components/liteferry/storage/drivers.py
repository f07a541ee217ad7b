"""fsspec's drivers: which one serves a URI, how their errors become StorageError, and how often a request is repeated."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from liteferry.errors import StorageError

T = TypeVar("T")

_ATTEMPTS = 3
_FIRST_PAUSE_S = 0.5
_PATIENCE_S = 20.0  # no new attempt after this time: the drivers have repeated the request themselves
STORES = {"gs": "gs", "gcs": "gs", "s3": "s3", "s3a": "s3"}  # scheme -> store, for schemes with special treatment here
_INSTALL = {"gs": "pip install 'liteferry[gcs]'", "s3": "pip install 'liteferry[s3]'"}
_CREDENTIALS = {
    "gs": "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS, or the service account of this machine",
    "s3": "AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine",
}
ENDPOINTS = {"gs": "STORAGE_EMULATOR_HOST, if it is set,", "s3": "AWS_ENDPOINT_URL and AWS_REGION, if they are set,"}
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG)


_drivers: dict[tuple[int, str, str], Any] = {}
_drivers_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().__setitem__("_drivers_lock", threading.Lock()))


def scheme_of(uri: str) -> str:
    return uri.partition("://")[0]


def store_of(uri: str) -> str:
    return STORES.get(scheme_of(uri), scheme_of(uri))


def place(uri: str) -> tuple[Any, str]:
    """The driver of a URI, and the path that the driver knows it by. There is one driver in a process; all threads share its
    connections.
    """
    scheme = scheme_of(uri)
    if store_of(uri) == "gs":
        os.environ.setdefault(
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false"
        )  # otherwise it queries another service about every bucket first
    try:
        import fsspec

        kind = fsspec.get_filesystem_class(scheme)
        kwargs = kind._get_kwargs_from_urls(uri)
    except ImportError as error:
        how = _INSTALL.get(store_of(uri), "install the package that it names")
        raise StorageError(f"{uri}: the driver for {scheme}:// is not installed ({error}); {how}") from error
    except ValueError as error:
        raise StorageError(f"{uri}: no driver for {scheme}:// ({error}); use a local path, gs:// or s3://") from error
    key = (os.getpid(), scheme, repr(sorted(kwargs.items())))
    with _drivers_lock:
        if key not in _drivers:
            _quieten()
            _drivers[key] = kind(use_listings_cache=False, **kwargs)
        return _drivers[key], kind._strip_protocol(uri)


def _quieten() -> None:
    """Turns off the drivers' error logs: each error is raised as well. `run --verbose` sets the level itself."""
    for name in ("gcsfs", "s3fs", "aiobotocore", "fsspec"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET and logging.getLogger().level > logging.INFO:
            logger.setLevel(logging.CRITICAL)


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind a driver's exception, if there is one."""
    while error is not None:
        code = getattr(error, "code", None) or getattr(error, "status", None)
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if str(code).isdigit():
            return int(str(code))
        error = error.__cause__
    return None


def _is_denied(error: BaseException) -> bool:
    name = type(error).__name__
    return (
        isinstance(error, PermissionError)
        or status_of(error) in (401, 403)
        or "Credential" in name
        or name in ("RefreshError", "UnauthorizedSSOTokenError")
        or str(error).startswith("Forbidden")
    )


def _may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if _is_denied(error) or isinstance(error, FileExistsError | ImportError | TypeError | ValueError | NotImplementedError):
        return False
    if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
        return False
    status = status_of(error)
    return status is None or status >= 500 or status in (408, 409, 429)  # 409: two conditional writes collided


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def failure(uri: str, doing: str, error: BaseException, *, attempts: int = 1) -> StorageError:
    store = store_of(uri)
    if isinstance(error, FileNotFoundError):
        what, then = "nothing is there", "correct the path"
    elif isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE and not _is_denied(error):
        what, then = _words(error), "look at this machine's disk"
    elif _is_denied(error):
        what = _words(error)
        then = f"check the credentials ({_CREDENTIALS.get(store, 'see the driver')}) and what they may do there"
    else:
        tried = f" ({attempts} attempts)" if attempts > 1 else ""
        what = f"{_words(error)}{tried}"
        then = f"check the address, {ENDPOINTS.get(store, 'the settings of the driver')} and the network, then start again"
    return StorageError(f"{uri}: cannot be {doing}: {what}; {then}")


def ask(uri: str, doing: str, call: Callable[[], T]) -> T:
    """The answer of a driver to `call`, which may be repeated. FileNotFoundError and FileExistsError are passed on; any other
    error becomes a StorageError, after some attempts where it may be transient.
    """
    started = time.monotonic()
    for attempt in itertools.count(1):
        try:
            return call()
        except (FileNotFoundError, FileExistsError, StorageError):
            raise
        except Exception as error:  # drivers raise the errors of a dozen transport packages
            is_last = attempt == _ATTEMPTS or time.monotonic() - started > _PATIENCE_S
            if is_last or not _may_pass(error):
                raise failure(uri, doing, error, attempts=attempt) from error
        time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))
    raise AssertionError("unreachable")
