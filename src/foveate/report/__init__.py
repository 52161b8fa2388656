"""The page: everything known of a run, as one self-contained file; and what a run keeps for it."""
