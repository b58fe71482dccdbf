"""Migration of the tables to this version by Alembic: python -m management does it at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

SCRIPTS: Final = Path(__file__).parent / "migrations"
"""Folder of the migrations."""


def upgrade(engine: Engine) -> None:
    """Migrate the tables to the newest version; nothing happens when they have it already."""
    configuration = _configuration()
    # One writer at a time: the second of two workers that start finds the tables migrated.
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")


def revisions() -> set[str]:
    """Return all versions of the tables that this server knows."""
    return {script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions()}


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return configuration
