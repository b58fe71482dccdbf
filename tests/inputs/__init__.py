"""Which files are read in tests? Documents, pictures and disks, well made and hostile."""
