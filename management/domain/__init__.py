"""What is a deployment? Plain data and the rules on it: no database, no process, no connection."""
