"""The showing layer: commands and views. Everything shown of a run is a fold of its events."""
