"""Control planes that follow one another on one home, and the API in this process for thousands of requests."""
