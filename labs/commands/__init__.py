"""The commands behind `lab`, one module per theme; each is a function that returns an exit code."""
