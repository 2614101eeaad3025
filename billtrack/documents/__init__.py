"""Documents that customers receive or download: usage reports.

Owns their content, their formats and how long files are kept.
"""
