"""Who somebody is, and what that person may do: passwords, sessions, client keys, rights."""
