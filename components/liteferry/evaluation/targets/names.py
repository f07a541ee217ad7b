"""Names of targets, and of a variant that is run as on one of them."""

from __future__ import annotations

CPU, MICROCONTROLLER, GPU = "cpu", "microcontroller", "gpu"
ETHOS = "ethos-u"
_AT = "@"


def on(variant: str, target: str) -> str:
    """The candidate name of a variant that runs as on a target. No variant's own name contains this separator."""
    return f"{variant}{_AT}{target}"


def is_on_a_target(candidate: str) -> bool:
    return _AT in candidate


def is_looked_at(target: str) -> bool:
    """Whether a target's files are analysed by a compiler instead of being run."""
    return target == GPU or target.startswith(ETHOS)
