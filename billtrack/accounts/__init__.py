"""Accounts: who sends a request, and whether they may.

Owns users and their roles, sign-in, API keys and tokens, and access control. Does not own what a
user may see of another room's rows: queries there take the `Reach` that is granted here.
"""
