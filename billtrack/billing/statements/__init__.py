"""What a period costs one user, every line explained: usage x plan x pricing.

Owns no table: a statement is computed whenever it is asked for. Reads daily
totals from `usage` and price lists from `plans`; all arithmetic is `pricing`.
"""
