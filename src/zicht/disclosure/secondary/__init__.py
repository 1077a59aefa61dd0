"""Secondary suppression engine: numbers in, a safe pattern out."""

from zicht.disclosure.secondary.engine import intervals, recoverable, suppress
from zicht.disclosure.secondary.system import Demand, Suppression, System, Unmet

__all__ = ["Demand", "Suppression", "System", "Unmet", "intervals", "recoverable", "suppress"]
