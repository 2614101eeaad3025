"""System health: versions, workers, queue, mail and silent sources."""
