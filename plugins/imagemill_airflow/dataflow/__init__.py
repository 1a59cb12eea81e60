"""A conversion on Dataflow: checked before it is paid for, launched, joined, watched, explained when it fails."""
