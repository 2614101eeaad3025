"""Personal data across rooms: export and erasure.

Owns the list of personal data that billtrack holds, and the order of an erasure.
"""
