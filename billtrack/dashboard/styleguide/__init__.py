"""The style guide: every component with sample figures."""
