"""Which HTTP requests does the management accept, and how does it answer? Here bodies become domain values."""

from typing import Final

PREFIX: Final = "/api/v1"
"""Prefix of the paths of all routes."""
