"""Preflight: what a run would do, cost and fail at, without doing it."""
