"""Settings of this site; docs/configuration.md explains each. OMSERVER_<NAME> goes before this file."""

AUTO_PLATFORM = "saltstack"

# RPYC_HOST = "127.0.0.1"
# RPYC_PORT = 11511
# WEB_HOST = "127.0.0.1"
# WEB_PORT = 8511
# HOME = "~/.omserver"
# DATABASE_URL = "mariadb://omserver:password@127.0.0.1/omserver?charset=utf8mb4"
# WORKERS = 2
