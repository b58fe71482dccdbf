"""What may be asked over HTTP, and what is answered? Requests become domain values here, and errors messages."""
