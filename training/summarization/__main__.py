"""Entry point of ``python -m training.summarization``: see ``train``."""

from training.summarization.train import main

main()
