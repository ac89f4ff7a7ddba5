"""What goes wrong at the gateway."""

from __future__ import annotations


class GatewayError(Exception):
    """Envoy refused an update, did not answer in time, or was asked for something impossible; nothing was changed."""
