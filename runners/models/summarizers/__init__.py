"""How is a text summarized? One file per engine, chosen in ``choice``; each is pure model code without a server."""
