"""One set of tests for every kind of connection, against real hosts of each."""
