"""What do tests use? Real servers, calls, loads, and what is looked up of them."""
