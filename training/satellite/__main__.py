"""Entry point of ``python -m training.satellite``: see ``train``."""

from training.satellite.train import main

main()
