"""Migration of the tables to this version by Alembic: python -m management does it at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

SCRIPTS: Final = Path(__file__).parent / "migrations"
"""Folder of the migrations."""


def upgrade(connection: Connection, version: str = "head") -> None:
    """Migrate the tables to that version, which is the newest by default; nothing happens when they have it already.

    The connection has a writing transaction: the second of two workers that start finds the tables migrated.
    """
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, version)


def revisions() -> set[str]:
    """Return all versions of the tables that this server knows."""
    return {script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions()}


def newest() -> str:
    """Return the version of the tables that this server makes."""
    return str(ScriptDirectory.from_config(_configuration()).get_current_head())


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return configuration
