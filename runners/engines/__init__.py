"""How does each kind of machine run a network? One file per library, imported only if it is chosen."""
