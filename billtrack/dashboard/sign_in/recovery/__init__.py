"""Password recovery: request a link, choose a password."""
