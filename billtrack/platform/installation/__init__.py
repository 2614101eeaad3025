"""What a database says about itself: its billing time zone, its set-up, its workers.

Owns the single row made with the database and the heartbeats of workers.
Does not own settings: those come from the environment, see `billtrack.platform.config`.
"""
