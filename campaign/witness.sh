#!/bin/sh
# witness.sh LEDGER TOKEN SECONDS: a real host writes down what it was really told, as invented hosts do.
# It says TOKEN and its name, and works for SECONDS.
ledger=$1 token=$2 seconds=$3
handle=$$-$(date +%s%N)
note() {
    printf '{"at": %s, "did": "%s", "handle": "%s", "host": "%s", %s}\n' \
        "$(date +%s.%N)" "$1" "$handle" "$(hostname)" "$2" >>"$ledger"
}
note took "\"command\": \"$token\""
said=$(printf '%s\n%s' "$token" "$(hostname)")
sleep "$seconds"
note answered "\"state\": \"done\", \"rc\": 0, \"stdout\": \"$(printf '%s\n' "$said" | base64 -w0)\""
printf '%s\n' "$said"
