"""What does each network look like? Pure model code: no BentoML, so that training imports the same lines as serving."""
