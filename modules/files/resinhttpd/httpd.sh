#!/bin/sh
# Starts Resin, as OMServer's module 1005 copies it. Make it yours.
home=$(cd "$(dirname "$0")/.." && pwd) || exit 1
exec java -Xmx512m -jar "$home/lib/resin.jar" -resin-home "$home" "$@"
