"""How does one kind of machine run a network? One file per library, imported where it is chosen."""
