"""What `make bench` measures: each figure beside its limit, taken in the same run.

Machines are noisy, so rounds alternate between figure and limit, medians are
compared, and ratios are what to quote.
"""
