"""Names of targets, and of a variant that is run as on one of them."""

from __future__ import annotations

CPU, MICROCONTROLLER, GPU = "cpu", "microcontroller", "gpu"
ETHOS = "ethos-u"
_AT = "@"


def on(variant: str, target: str) -> str:
    """What a variant is called where it is run as on a target. No variant's own name has this sign."""
    return f"{variant}{_AT}{target}"


def is_on_a_target(candidate: str) -> bool:
    return _AT in candidate


def is_looked_at(target: str) -> bool:
    """Whether a target's files are looked at by a compiler, and not run."""
    return target == GPU or target.startswith(ETHOS)
