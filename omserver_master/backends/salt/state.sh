# Applies Salt states on a minion's host, in the interpreter and with the configuration that the minion runs with.
# It replaces PROGRAM by stateonhost.py; the states and the pillar come on standard input.

program=$(cat <<'OMSERVER_PROGRAM'
PROGRAM
OMSERVER_PROGRAM
)
# Who started us was started by the minion.
pid=$PPID words=''
while [ "${pid:-1}" -gt 1 ]; do
    words=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    case $words in *salt[-_]minion*) break ;; esac
    words=''
    pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status")
done 2>/dev/null
folder=$(printf '%s' "$words" | sed -n 's/.* \(-c\|--config-dir\)[ =]*\(\/[^ ]*\).*/\2/p')
python=${words%% *}
exec "${python:-python3}" -c "$program" "${folder:-/etc/salt}"
