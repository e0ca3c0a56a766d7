"""Stand-ins for the loaders of other projects: their calls, our datasets. One module a project."""
