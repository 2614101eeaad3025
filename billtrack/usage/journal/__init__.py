"""What each source sends: how much by hour, and when it was last seen.

A source is an account that records usage. Owns the tables usage_sources and
usage_source_hours. Intake only counts in the memory of its process (`tally`); `writing`
stores the sums every few seconds, so a record pays next to nothing for it. A process that
is killed takes the last seconds of these counts with it, never a record.
"""
