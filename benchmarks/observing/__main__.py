"""Entry point of ``python -m benchmarks.observing``: see ``run``."""

from benchmarks.observing.run import main

main()
