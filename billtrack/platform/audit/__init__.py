"""Who did what, to which object, and what changed: append-only.

Owns the audit entries, chained by hashes, and, in a side table, the personal values
that belong to them, so that erasing a person leaves every entry in place. Does not decide
what is worth an entry: the operation that writes does.
"""

from billtrack.platform.audit.actor import Actor
from billtrack.platform.audit.operations import Change, PersonalChange, record

__all__ = ["Actor", "Change", "PersonalChange", "record"]
