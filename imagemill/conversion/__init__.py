"""From index rows to shards: planning, the steps a runner moves batches between, and the accounts they keep."""
