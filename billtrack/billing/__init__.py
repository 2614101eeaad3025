"""Billing: from prices and usage to money.

Owns pricing (pure arithmetic), plans, monthly statements and the totals of all customers.
"""
