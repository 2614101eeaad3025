"""The version of this package, and what it calls itself to the server."""

__version__ = "0.1.0"
USER_AGENT = f"billtrack-client/{__version__}"
