"""What spans rooms about a customer: open its account, invite somebody to it, change its role.

Owns no table. Calls the operations of `accounts` and `plans` in one
transaction of the caller.
"""
