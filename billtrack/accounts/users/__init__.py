"""Accounts of people and machines: who they are, their role, what a role may.

Owns the tables of this room, passwords and one-time links. Does not know how somebody signs in.
"""
