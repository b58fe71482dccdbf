"""The error of a back-up, a restore or a move."""


class BackupError(Exception):
    """The back-up, restore or move failed; the message says why, and what to do."""
