"""The configuration's front door."""

from __future__ import annotations

from pathlib import Path

from claude_failover import config, config_load, config_paths


def test_other_packages_find_everything_they_need_here() -> None:
    assert config.load is config_load.load
    assert config.Loaded is config_load.Loaded
    assert config.Paths is config_paths.Paths
    assert sorted(config.__all__) == sorted(name for name in config.__all__ if hasattr(config, name))


def test_paths_and_settings_agree_on_the_file(tmp_path: Path) -> None:
    environ = {"CLAUDE_FAILOVER_HOME": str(tmp_path)}
    paths = config.find_paths(environ=environ)
    config.write_private(paths.config_file, b"listen: {port: 1}\n")
    loaded = config.load(environ=environ)
    assert loaded.path == paths.config_file
    assert loaded.settings.listen.port == 1
