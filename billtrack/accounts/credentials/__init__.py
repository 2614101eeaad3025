"""Credentials of programs: API keys, access tokens and refresh tokens.

Owns how a secret looks, how it is stored and found, and what is cached of it.
"""
