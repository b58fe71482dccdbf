"""How is the management called by its own REST API? Another dialect is a sibling package over the same commands."""

from typing import Final

PREFIX: Final = "/api/v1"
"""Prefix of the paths of all routes."""
