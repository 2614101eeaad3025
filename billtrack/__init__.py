"""billtrack: a self-hosted usage tracker and billing system."""

__version__ = "0.1.0"
