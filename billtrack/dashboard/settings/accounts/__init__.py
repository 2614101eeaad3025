"""Accounts: list, create, change, deactivate, export and erase."""
