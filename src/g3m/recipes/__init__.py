"""The recipes of the built-in datasets, one TOML file each, and the groups."""
