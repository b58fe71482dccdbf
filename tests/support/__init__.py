"""Which helpers do tests share? Real servers, calls, loads, and observations of them."""
