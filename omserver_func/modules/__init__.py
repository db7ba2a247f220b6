"""What a minion can do; one module a file, named as callers name it."""
