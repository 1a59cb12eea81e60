"""Pipelines: Beam wiring only."""
