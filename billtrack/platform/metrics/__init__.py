"""Numbers about the program for Prometheus: what was counted, in all processes together.

Owns the counters and histograms, and the place where processes share them. Knows
nothing of what is counted; what tables tell is read by `billtrack.api.metrics`.
"""
