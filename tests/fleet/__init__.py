"""Real hosts for tests, each with its own files, network and processes: Salt minions, and ssh servers."""
