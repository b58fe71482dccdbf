"""Which files are read in tests? Documents, pictures and disks, valid and hostile."""
