"""What keeps a replica running: a process of this machine; others to come."""
