"""``python -m omserver_client.omctl``: works where a path is too long for a script's first line."""

from . import main

main()
