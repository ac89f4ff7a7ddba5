"""What was used, by whom, once: the ledger that bills are made from."""
