"""Runs labs without a browser: every notebook in its own process and tenant, a report, and the book."""
