"""Users and what proves who they are.

Owns users, passwords, browser sessions, API keys, the table of permissions
and the idempotency of creating requests. Does not own what a user may see of
another room's rows: queries there take the `Reach` that is granted here.
"""
