"""The one way in for usage: one schema, one decider, one store for each database."""
