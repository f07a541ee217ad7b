"""Worker processes of Beam's local engine: the launcher does not wait for a worker that has died, and workers end when the
launcher does.

Beam starts each worker through a shell, in a thread. When a worker dies, that thread ends with an exception and the run waits for
ever; when the launcher is killed, its workers go on alone. Workers on other machines, and other runners, are not affected.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from liteferry.errors import WorkerLostError

_LAUNCHER = "LITEFERRY_LAUNCHER"  # the launcher's pid, for the processes that it starts
_BEAMS_THREAD = "run_worker"
_LOST_CONNECTION = "RpcError"  # gRPC's error, in the thread that reads from the worker
_LOGS_OF_CONNECTIONS = (
    "apache_beam.runners.worker.data_plane",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
)
_TOLD_WITHIN_S = 10.0
_WAKE = signal.SIGUSR1


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """For the launcher's main thread: ends the wait for a worker process that has died. In another thread, which no signal wakes,
    it only kills the other workers.

    Raises:
      WorkerLostError: a worker has died; the others have been killed.
    """
    os.environ[_LAUNCHER] = str(os.getpid())
    watch = _Watch(threading.excepthook)
    threading.excepthook = watch.look
    loggers = [logging.getLogger(name) for name in _LOGS_OF_CONNECTIONS]
    for logger in loggers:
        logger.addFilter(watch.is_news)
    try:
        with _woken_by_signal() if threading.current_thread() is threading.main_thread() else contextlib.nullcontext():
            yield
    except BaseException as error:  # the lost worker is the cause, whatever the engine raises
        if watch.lost is None:
            raise
        what = f"a worker process has died ({watch.lost}); finished models are kept, the same command goes on with the rest"
        raise WorkerLostError(what) from error
    finally:
        threading.excepthook = watch.before
        for logger in loggers:
            logger.removeFilter(watch.is_news)
        os.environ.pop(_LAUNCHER, None)


class _Watch:
    """Collects the errors that end threads of Beam's engine. One error says that a worker has died, the others that connections
    to it were lost, in any order. `lost`: the message of the first kind.
    """

    def __init__(self, before: Callable[[threading.ExceptHookArgs], Any]) -> None:
        self.before = before
        self.lost: str | None = None
        self._is_known = threading.Event()

    def look(self, failure: threading.ExceptHookArgs) -> None:
        if failure.thread is None or failure.thread.name != _BEAMS_THREAD:
            if not self._comes_of_it(failure.exc_type):
                self.before(failure)
        elif self.lost is None:
            self.lost = str(failure.exc_value)
            self._is_known.set()
            _kill_descendants()  # first: the engine waits for every worker when it ends
            if signal.getsignal(_WAKE) is _wake:
                signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)

    def is_news(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not self._comes_of_it(record.exc_info[0])

    def _comes_of_it(self, kind: type[BaseException] | None) -> bool:
        is_lost_connection = kind is not None and any(base.__name__ == _LOST_CONNECTION for base in kind.__mro__)
        return is_lost_connection and self._is_known.wait(_TOLD_WITHIN_S)


@contextlib.contextmanager
def _woken_by_signal() -> Iterator[None]:
    """Installs a signal that ends any wait of the main thread. Not SIGINT, which background jobs of shells ignore."""
    before = signal.signal(_WAKE, _wake)
    try:
        yield
    finally:
        signal.signal(_WAKE, before)


def _wake(number: int, frame: Any) -> None:
    raise KeyboardInterrupt  # no code between here and `watched` catches it as an ordinary failure


def _kill_descendants() -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def follow_launcher() -> None:
    """Makes a process that the launcher has started end when the launcher ends. Does nothing in other processes."""
    launcher = os.environ.get(_LAUNCHER, "")
    if not launcher.isdecimal() or int(launcher) == os.getpid() or not hasattr(os, "pidfd_open"):
        return
    try:
        descriptor = os.pidfd_open(int(launcher))
    except OSError:
        os._exit(1)
    threading.Thread(target=_end_with, args=(descriptor,), name="liteferry-follow-launcher", daemon=True).start()


def _end_with(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    os._exit(1)
