"""Where modules are found, described and run: always in a child process, never in the master's own."""
