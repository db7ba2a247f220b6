# Runs another script on a minion's host and signs what it printed, with the key that the minion shows its master.
#
# arguments: JID KEY SCRIPT; standard input goes to SCRIPT. KEY: a path, or "" to find it, or "off" to sign nothing.
# stdout: one line that SCRIPT printed, then "proof SIGNATURE" (base64) or "proof - REASON".
# Signed (RSA PKCS #1 v1.5, SHA-256) is "omserver-answer-1 JID", a line feed, and that line without its end.
# The job id also is SCRIPT's name: by it, look.sh finds what runs.

exec 2>/dev/null
PATH=$PATH:/usr/local/bin:/usr/bin:/bin
jid=$1 key=$2
line=$(/bin/sh -c "$3" "omserver-$jid" | LC_ALL=C tr -c '\n -~' '?')
printf '%s\n' "$line"

message() {
    printf 'omserver-answer-1 %s\n%s' "$jid" "$line"
}

minion_words() {
    tr '\0' ' ' <"/proc/$PPID/cmdline"
}

# Salt's own place, or what the folder says that the minion was started with (-c).
find_key() {
    key=/etc/salt/pki/minion/minion.pem
    read -r words <"/proc/$PPID/cmdline"
    case $words in
        *-c/* | *-c\ /* | *--config-dir*) ;;
        *) return 0 ;;
    esac
    # Word for word first: a folder may have a space in its name. A minion that retitled itself has one word.
    folder=$(tr '\0' '\n' <"/proc/$PPID/cmdline" | sed -n -e 's/^-c=\{0,1\}\(\/.*\)/\1/p' \
        -e 's/^--config-dir=\(\/.*\)/\1/p' -e '/^-c$/{n;p;}' -e '/^--config-dir$/{n;p;}' | tail -n 1)
    [ -d "$folder" ] || folder=$(minion_words | sed -n 's/.* \(-c\|--config-dir\)[ =]*\(\/[^ ]*\).*/\2/p')
    [ -d "$folder" ] || return 0
    pki=$(sed -n 's/^[" ]*pki_dir[" ]*: *"\{0,1\}\([^",]*\).*/\1/p' "$folder/minion")
    key=${pki:-$folder/pki/minion}/minion.pem
}

by_openssl() {
    message | OPENSSL_CONF=/dev/null openssl dgst -sha256 -sign "$key" | base64
}

# With the interpreter that the minion itself runs in.
by_python() {
    python=$(minion_words)
    message | "${python%% *}" -c '
import base64, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
with open(sys.argv[1], "rb") as file:
    key = serialization.load_pem_private_key(file.read(), None)
signature = key.sign(sys.stdin.buffer.read(), PKCS1v15(), hashes.SHA256())
sys.stdout.write(base64.b64encode(signature).decode())
' "$key"
}

[ "$key" != off ] || { echo "proof - off"; exit 0; }
[ -n "$key" ] || find_key
[ -r "$key" ] || { echo "proof - The minion's key $key can't be read."; exit 0; }
signature=$(by_openssl)
[ -n "$signature" ] || signature=$(by_python)
# In one line: words of which nothing is left out between them.
# shellcheck disable=SC2086
set -- $signature
IFS=
signature=$*
echo "proof ${signature:-- The host has neither openssl nor Python with cryptography to sign with.}"
