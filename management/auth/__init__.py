"""Who may do what? Keys are judged on a request's path, before anything else of it is read."""
