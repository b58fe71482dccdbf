"""python -m runners.artifacts: see ``publish``."""

from runners.artifacts.publish import main

main()
