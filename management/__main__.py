"""The command line: python -m management."""

from management.cli.main import main

if __name__ == "__main__":  # further workers of the server import this file, too
    main()
