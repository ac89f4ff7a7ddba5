"""What runs inside a replica: stand-ins for the vendors' model servers."""
