"""What spans rooms about a customer: its account, its role, and its personal data.

Opens accounts, invites to them, changes their role, hands out personal data and erases them.
Owns no table. Calls the operations of all rooms that know a customer, in one transaction of
the caller.
"""
