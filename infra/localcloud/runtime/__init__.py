"""Runs things, for any provider: jobs under a shim, and deployments of replicas behind the gateway."""
