"""What usage costs: price lists, rated lines, and statements of any range of days.

Pure: standard library and billtrack.core only; no clock, no storage. It does not know
who uses what, or how plans and subscriptions are kept.
"""
