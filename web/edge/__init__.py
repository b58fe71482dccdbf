"""What may no caller and no framework get around? The outermost layer of every server."""
