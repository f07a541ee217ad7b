"""The environment of a report: versions of libraries, the processor, and the confinements that the kernel enforced."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
from collections.abc import Mapping

from liteferry import lenient
from liteferry.sandbox import held
from liteferry.version import __version__

LIBRARIES = {
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
    """Versions of the libraries used, read without importing them; the processor; and which confinements the kernel enforced."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "liteferry": __version__, "cpu": _cpu()}
    versions["confinement"] = held.in_words()
    for key, distribution in LIBRARIES.items():
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


def upgrades(report: lenient.Report, now: Mapping[str, str | None] | None = None) -> list[str]:
    """`tensorflow 2.20.0 -> 2.21.0` for each library whose version `now` differs from the report's and that may change its
    results: TensorFlow always; the Keras that computed the reference; LiteRT and the quantizer where there are variants; TFMA
    where there are task metrics. A version that one side does not know counts as equal.

    Args:
      now: versions as `environment` has them; those of this process by default.
    """
    versions = environment() if now is None else now
    before = lenient.mapping(report.get("environment"))
    pairs = [(library, lenient.text(before.get(library)), versions.get(library)) for library in _deciding(report)]
    return [f"{library} {old} -> {new}" for library, old, new in pairs if old is not None and new is not None and old != new]


def _deciding(report: lenient.Report) -> list[str]:
    oracle = lenient.text(lenient.mapping(report.get("saved_model")).get("oracle"))
    keras = (
        ["keras", "tf_keras"]
        if oracle is None
        else [library for library in ("keras", "tf_keras") if oracle.split()[0] == library]
    )
    variants = lenient.mapping(report.get("variants"))
    return [
        "tensorflow",
        *keras,
        *(["ai_edge_litert"] if variants else []),
        *(["ai_edge_quantizer"] if variants.keys() - {"float32"} else []),
        *(["tensorflow_model_analysis"] if report.get("metrics") else []),
    ]
