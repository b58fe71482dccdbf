"""What is Atelier compared with? The same networks behind other servers, set up as their documentation says."""
