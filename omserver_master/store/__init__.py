"""The database: tables, connections to it, and one file of small functions for each noun.

Every function takes a `sqlalchemy.Connection` of a transaction that the caller opened with
`engine.begin`, `engine.read` or `engine.transact`. Times are unix seconds (float) in Python.
"""
