"""Sign-in of people: password, two-factor code, session, password recovery.

Owns every step from the password to the session, and what slows guessing down.
"""
