"""One file a kind (``salt-api`` is ``salt_api.py``), each with one `Rig`."""
