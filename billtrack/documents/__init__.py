"""What is sent or downloaded: usage reports.

Owns what a document says and how long its files are kept.
"""
