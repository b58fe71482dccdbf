"""What can fail around a control plane, and how is it detected? Full disks, exhausted resources, kills."""
