"""Worker processes of Beam's local engine: the launcher does not wait for one that has died, and they end when the launcher does.

Beam starts each through a shell, in a thread. When one dies, that thread ends with an exception and the run waits for ever; when
the launcher is killed, they go on alone. Workers on other machines, and other runners, are not concerned.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from typing import Any

from liteferry.errors import WorkerLostError

_LAUNCHER = "LITEFERRY_LAUNCHER"  # its pid, for the processes that it starts
_BEAMS_THREAD = "run_worker"


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """For the launcher's main thread: ends the wait for a worker process that has died.

    Raises:
      WorkerLostError: one has died; what is left of the others has been killed.
    """
    os.environ[_LAUNCHER] = str(os.getpid())
    lost: list[str] = []
    before = threading.excepthook

    def look(failure: Any) -> None:
        if failure.thread is None or failure.thread.name != _BEAMS_THREAD:
            before(failure)
        elif not lost:
            lost.append(str(failure.exc_value))
            _kill_descendants()  # first: on its way out the engine waits for every worker
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it from any wait

    threading.excepthook = look
    try:
        yield
    except BaseException as error:  # whatever the engine makes of it, the cause is the worker
        if not lost:
            raise
        what = f"a worker process has died ({lost[0]}); finished models are kept, the same command goes on with the rest"
        raise WorkerLostError(what) from error
    finally:
        threading.excepthook = before
        os.environ.pop(_LAUNCHER, None)


def _kill_descendants() -> None:
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def follow_launcher() -> None:
    """In a process that the launcher has started: ends it when the launcher has ended. Elsewhere nothing."""
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
