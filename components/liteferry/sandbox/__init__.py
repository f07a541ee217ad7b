"""Runs each unit of work in a process of its own that may die: `run` it, and however it ends, the caller gets an `Outcome`."""

from typing import TYPE_CHECKING

from liteferry.types import on_first_use

if TYPE_CHECKING:
    from liteferry.sandbox.client import SandboxSpec, run
    from liteferry.sandbox.flavors import Flavor, preload
    from liteferry.sandbox.nurseries import close, warm_up
    from liteferry.sandbox.outcome import Failure, Limits, Outcome
    from liteferry.sandbox.reporter import Reporter
    from liteferry.sandbox.sessions import Session, session

__all__ = [
    "Failure",
    "Flavor",
    "Limits",
    "Outcome",
    "Reporter",
    "SandboxSpec",
    "Session",
    "close",
    "preload",
    "run",
    "session",
    "warm_up",
]

__getattr__ = on_first_use(
    __name__,
    {
        **dict.fromkeys(("SandboxSpec", "run"), "client"),
        **dict.fromkeys(("Flavor", "preload"), "flavors"),
        **dict.fromkeys(("close", "warm_up"), "nurseries"),
        **dict.fromkeys(("Failure", "Limits", "Outcome"), "outcome"),
        "Reporter": "reporter",
        **dict.fromkeys(("Session", "session"), "sessions"),
    },
)
