"""Notebooks from one source: what authors write, what learners open, and what the book shows."""
