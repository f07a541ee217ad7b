"""One sacrificial process per unit of work: `run` it, and whatever it does comes back as an `Outcome`."""

from liteferry.sandbox.child import Reporter
from liteferry.sandbox.client import Limits, Outcome, close, run, warm_up
from liteferry.sandbox.flavors import Flavor

__all__ = ["Flavor", "Limits", "Outcome", "Reporter", "close", "run", "warm_up"]
