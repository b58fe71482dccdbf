"""What may be asked over HTTP, and what is answered? Requests become domain values here, and errors messages."""

from typing import Final

PREFIX: Final = "/api/v1"
"""The path that all routes of the API begin with."""
