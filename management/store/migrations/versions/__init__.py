"""Which migrations lead from the first tables to the current ones? One file each."""
