"""Which models run where? One API to deploy, call, scale, update and delete them."""
