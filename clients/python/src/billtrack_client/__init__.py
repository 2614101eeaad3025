"""Record usage in billtrack from Python: typed, batched, and never counted twice.

Owns what waits to be sent, in memory or on the disk. Whether a record is right is the
server's to say. Standard library only.
"""

from billtrack_client.client import Client
from billtrack_client.limits import Limits
from billtrack_client.refusals import Refused
from billtrack_client.version import __version__

__all__ = ["Client", "Limits", "Refused", "__version__"]
