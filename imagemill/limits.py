"""Limits that both what a person asks for and what the mill makes are held to."""

MAX_SHARDS = 99_999
"""Of a split: numbers of shards have five digits in file names, so that they sort."""
