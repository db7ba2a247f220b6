"""The rig of the engine that docs/backends.md adds as an example."""
