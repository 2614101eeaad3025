"""Reconciliation: compare a file with the stored usage."""
