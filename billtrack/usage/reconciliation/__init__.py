"""Reconciliation: what a sender says it sent, beside what is stored of it.

Owns the comparison and the CSV files that senders compare. Stores nothing and corrects nothing:
what is missing is sent again under its keys, what is too much is reversed.
"""
