"""A log of this process on an object store, where nothing can be appended: lines are buffered and written as small objects, at
a bounded rate. Logging is best effort: if the store refuses a write, it is tried again later, and no error is raised.
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
    """`<host>-<pid>-<random>.<part>.jsonl` in a folder. Each part grows until it is full; then the next one begins."""

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
        """Buffers a line for the next object."""
        with self._lock:
            self._content += f"{line}\n".encode()
        self._has_new.set()

    def flush(self) -> None:
        """Writes the buffered lines. Never raises."""
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
        """Stops writing. When this returns, nothing is written any more."""
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
