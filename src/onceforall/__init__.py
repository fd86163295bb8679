"""Once-for-All: train one elastic network, get a specialised network for every device."""

__version__ = "0.1.0"
