"""Who may do what? Keys are checked against a request's path before anything else of the request is read."""
