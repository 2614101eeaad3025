"""Notifications to people and programs: mail.

Owns what is sent and whether it arrived. Does not decide when: the rooms above do.
"""
