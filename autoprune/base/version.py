"""The version of AutoPrune."""

__version__ = "0.1.0"
