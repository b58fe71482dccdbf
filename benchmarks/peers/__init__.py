"""What is Atelier measured beside? The same networks behind other servers, as their own documentation says."""
