"""How figures are shown to people, on pages and in documents alike.

Owns the filters that write money, quantities and times, the charts, and the
plain view data that templates take. Reads no table of its own and decides
nothing.
"""
