"""python -m runners.launch: see ``launch``."""

from runners.launch.launch import main

main()
