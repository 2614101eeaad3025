"""Settings: profile, password, sessions and programs that are signed in."""
