"""One sacrificial process per unit of work: `run` it, and whatever it does comes back as an `Outcome`."""

from liteferry.sandbox.child import Reporter
from liteferry.sandbox.client import run
from liteferry.sandbox.flavors import Flavor
from liteferry.sandbox.nurseries import close, warm_up
from liteferry.sandbox.outcome import Limits, Outcome

__all__ = ["Flavor", "Limits", "Outcome", "Reporter", "close", "run", "warm_up"]
