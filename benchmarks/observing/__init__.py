"""What does it cost to observe many replicas? Simulated Pods, and the CPU time of the control plane that has them."""
