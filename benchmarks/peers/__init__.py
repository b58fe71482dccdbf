"""What Atelier is measured beside: the same networks behind other servers, each as its own documentation says."""
