"""Envoy in front of everything: routes, traffic splits, health checks, faults, and the access log that meters."""
