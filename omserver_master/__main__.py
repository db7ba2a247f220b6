"""``python -m omserver_master`` is ``omserver``."""

from omserver_master.commands import main

if __name__ == "__main__":
    main()
