"""What spans rooms about a person: export of personal data, and erasure.

Owns the list of what is held about somebody, and in which order it is erased.
"""
