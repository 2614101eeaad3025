"""Letters: an outbox of rows, and handing them to a mail server or into a folder.

Owns the `letters` table and how a letter looks. Does not own why one is written, nor what a
link in it is good for: whoever queues a letter does so in the transaction that causes it.
"""

from billtrack.notifications.mail.operations import queue

__all__ = ["queue"]
