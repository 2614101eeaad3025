"""The worker: runs jobs and periodic tasks in the background, and answers health checks."""
