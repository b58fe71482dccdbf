"""Entry point of ``python -m benchmarks.serving``: see ``run``."""

from benchmarks.serving.run import main

main()
