"""What each source sends: how much by hour, when it was last seen, and what was refused of it.

A source is an account that records usage. Owns the tables usage_sources, usage_source_hours
and usage_rejected_records. Intake only counts in the memory of its process (`tally`), and the
API leaves there what it refused; `writing` stores both, so a record pays next to nothing for
it. A process that is killed takes the last seconds of these with it, never a record.
"""
