"""API keys: create, rotate and revoke."""
