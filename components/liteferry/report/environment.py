"""What a report was computed with: the libraries' versions, the processor, and what the kernel confined."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform

from liteferry.sandbox import held
from liteferry.version import __version__

_LIBRARIES = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "tf_keras": "tf_keras",
    "ai_edge_litert": "ai-edge-litert",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "apache_beam": "apache-beam",
    "tensorflow_model_analysis": "tensorflow-model-analysis",
}


@functools.cache
def environment() -> dict[str, str | None]:
    """Versions of the libraries that computed, read without importing them; the processor; and which confinements the kernel
    enforced.
    """
    versions: dict[str, str | None] = {"python": platform.python_version(), "liteferry": __version__, "cpu": _cpu()}
    versions["confinement"] = held.in_words()
    for key, distribution in _LIBRARIES.items():
        try:
            versions[key] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            versions[key] = None
    return versions


def _cpu() -> str | None:
    """The processor's name, from Linux; elsewhere from the platform module."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None
