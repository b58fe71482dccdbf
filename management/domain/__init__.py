"""What is a deployment? Plain data and its rules: no database, no process, no connection."""
