"""The JSON faces of billtrack, one package a version.

Parses requests, calls one operation or query, and writes the answer. Owns no
rule and no table.
"""
