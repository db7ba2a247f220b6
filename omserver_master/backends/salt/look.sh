# Says whether a job runs on a minion's host: "om1-job running" or "om1-job none". Its id comes on standard input.
read -r jid
exec 2>/dev/null
# In brackets, so that the command which searches is not what it finds.
pattern="[${jid%"${jid#?}"}]${jid#?}"
if [ -r /proc/self/cmdline ]; then
    cat /proc/[0-9]*/cmdline | tr '\0' '\n'
else
    ps axww -o args
fi | grep -q "$pattern" && echo om1-job running || echo om1-job none
