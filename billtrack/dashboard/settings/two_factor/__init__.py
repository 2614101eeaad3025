"""Two-factor authentication: switch on and off, recovery codes."""
