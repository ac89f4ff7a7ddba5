"""What notebooks import: ready-made clients of three clouds, load, checks, cost; and the `lab` command."""
