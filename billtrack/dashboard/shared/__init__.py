"""Shared parts of the pages: blueprint and menu, form fields, periods, ranges of days, jobs."""
