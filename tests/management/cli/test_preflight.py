"""What would keep a server from starting is found before it starts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from management.configuration import Settings
from management.preflight import obstacles
from management.store import Store
from tests.doubles.management import settings_of


def migrated(home: Path) -> Settings:
    """Settings of a home whose database this version has made."""
    settings = settings_of(home=home)
    store = Store(settings.storage.database)
    store.migrate()
    store.close()
    return settings


def test_a_database_of_this_version_is_no_obstacle(tmp_path: Path) -> None:
    assert obstacles(migrated(tmp_path)) == []


def test_a_database_of_a_newer_version_is_named(tmp_path: Path) -> None:
    settings = migrated(tmp_path)
    with sqlite3.connect(tmp_path / "atelier.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    (obstacle,) = obstacles(settings)
    assert "newer version" in obstacle
    assert str(tmp_path / "atelier.db") in obstacle


def test_a_wrong_file_of_instance_types_is_named(tmp_path: Path) -> None:
    file = tmp_path / "types.toml"
    file.write_text('["gpu.a10"]\ncpu = "many"\nmemory = "1Gi"\n')
    settings = settings_of(home=tmp_path, instance_types=file)
    assert obstacles(settings) == [
        f"ATELIER_INSTANCE_TYPES: {file}: gpu.a10: cpu is not a valid quantity (for example 500m)"
    ]
    file.write_text('["gpu.a10"]\ncpu = 1\nmemory = "1Gi"\n')
    assert obstacles(settings) == []
