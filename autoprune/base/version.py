"""The version of AutoPrune."""

__version__ = "0.2.0"
