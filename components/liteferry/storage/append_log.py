"""Lines of this process on their way to a store, where nothing can be appended: kept, and written as small objects at a bounded
rate. They tell how a run goes; who cannot be told may still have the result, so what the store refuses is tried again later.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid

from liteferry import storage
from liteferry.errors import StorageError

WRITE_EVERY_S = 2.0
_PART_BYTES = 64 << 10


class StoreLog:
    """`<host>-<pid>-<random>.<part>.jsonl` in a folder; each part grows until it is full, then the next one begins."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._part = 0
        self._content = b""
        self._written = 0
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._has_new = threading.Event()
        self._is_over = threading.Event()
        threading.Thread(target=self._keep_writing, name="liteferry-log", daemon=True).start()

    def append(self, line: str) -> None:
        """Keeps a line for the next object."""
        with self._lock:
            self._content += f"{line}\n".encode()
        self._has_new.set()

    def flush(self) -> None:
        """Writes what is not written yet. Never raises."""
        with self._writing, contextlib.suppress(StorageError):
            with self._lock:
                content, part = self._content, self._part
            if self._is_over.is_set() or len(content) == self._written:
                return
            storage.write_bytes(storage.join(self._folder, f"{self._name}.{part:06d}.jsonl"), content)
            self._written = len(content)
            if self._written >= _PART_BYTES:
                with self._lock:
                    self._content, self._part, self._written = self._content[self._written :], part + 1, 0

    def close(self) -> None:
        """Nothing is written any more when this returns."""
        self._is_over.set()
        self._has_new.set()
        with self._writing:
            pass

    def _keep_writing(self) -> None:
        while not self._is_over.is_set():
            self._has_new.wait()
            self._has_new.clear()
            self.flush()
            self._is_over.wait(WRITE_EVERY_S)
