"""What the managers' pages need over all customers: this month so far, and how it will end.

Owns the table month_summaries: what a month came to at an instant, taken by the worker where
there are too many customers to price them while somebody waits. Every amount is a sum of
statements, so it is computed by `statements` and `pricing` alone; nothing here knows a price.
"""
