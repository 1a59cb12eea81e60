"""One version of a dataset: its folder as it is found, and the files in it."""
