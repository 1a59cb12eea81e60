"""What changed between two versions, from their shard indexes."""
