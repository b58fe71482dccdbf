"""What fails around a control plane, and how does it notice? Full disks, exhausted processes, kills."""
