"""The ground floor: money, calendar periods and error categories.

Owns what every other room stands on. Standard library only: no Flask, no
SQLAlchemy, no clock, no settings.
"""
