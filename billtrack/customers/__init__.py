"""What spans rooms about a customer: opening an account with its subscription.

Owns no table. Calls the operations of `accounts` and `plans` in one
transaction of the caller.
"""
