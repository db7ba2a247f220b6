"""Real Salt minions for tests, each with its own files, network and processes."""
