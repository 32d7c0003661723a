"""The command `manyways`: arguments to calls, nothing more."""
