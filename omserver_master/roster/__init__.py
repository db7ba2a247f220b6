"""The hosts of a site and the ways to them: how both are changed, and how hosts are brought in.

The operations and the commands on the master's machine both work through here, so that they mean the same.
"""
