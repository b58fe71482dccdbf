"""Which steps lead from the first tables to those of today? One file a step."""
