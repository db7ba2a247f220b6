# Runs one piece of work on a host and says on one line how it went. Any POSIX shell; dash and busybox too.
#
# stdin: line 1, base64: assignments and "set -- WORDS", quoted by the master (onhost.py);
#        then, for a script, one line with its text in base64; then base64 of the standard input or file.
# stdout: om1 RC LATE START END ENCODING OUT_CUT ERR_CUT OUT ERR end
# Nothing of the user's stands on this command line, where everybody on the host could read it.
# shellcheck disable=SC2154  # the om_ variables come on line 1

fail() {
    printf 'om1-cannot %s\n' "$1"
    exit 0
}

clock() {
    if read -r up rest </proc/uptime 2>/dev/null; then echo "$up"; else date +%s; fi
}

# keep NAME: store the first bytes of fifo NAME, count the others and throw them away.
# dd writes down at once what it reads, so that nothing is lost when it is stopped.
keep() {
    trap 'kill "$job"; exit 0' TERM
    exec 4<"$dir/$1.fifo"
    size=0 before=-1
    while [ "$size" -le "$om_cap" ] && [ "$size" -ne "$before" ]; do
        before=$size
        dd bs=65536 count=16 <&4 >>"$dir/$1" &
        job=$!
        wait "$job"
        [ -s "$dir/$1" ] && size=$(($(wc -c <"$dir/$1")))
    done
    [ "$size" -gt "$om_cap" ] || return 0
    wc -c <&4 >"$dir/$1.rest" &
    job=$!
    wait "$job"
}

# alarm NAME SECONDS: sleep with fifo NAME held open; a watcher that reads it wakes when the sleep is over.
# Both are stopped with KILL: dash loses a TERM that comes right after a fork.
alarm() {
    mkfifo "$dir/$1"
    sleep "$2" >"$dir/$1" &
    alarm=$!
}

watch_time() {
    read -r _
    : >"$dir/late"
    kill -TERM "$group$pid"
    sleep 2
    kill -KILL "$group$pid"
}

# Who goes on in the background with our pipes open gets a moment, then is no longer listened to.
watch_readers() {
    read -r _
    kill "$keep_out" "$keep_err"
}

quit() {
    trap '' TERM INT HUP
    [ -n "$pid" ] && kill -KILL "$group$pid"
    kill "$keep_out" "$keep_err"
    kill -KILL "$watch" "$alarm"
    rm -rf "$dir"
    exit 143
}

# cut NAME: how many bytes of a stream were thrown away.
cut_bytes() {
    size=$(wc -c <"$dir/$1")
    rest_size=''
    [ -e "$dir/$1.rest" ] && read -r rest_size <"$dir/$1.rest"
    if [ "$((size))" -gt "$om_cap" ]; then echo "$((size - om_cap + ${rest_size:-0}))"; else echo 0; fi
}

encoded() {
    if [ ! -s "$dir/$1" ]; then
        printf '%s' -
    elif [ "$packing" = gzip ]; then
        head -c "$om_cap" "$dir/$1" | gzip -c | base64 | tr -d '\n'
    else
        head -c "$om_cap" "$dir/$1" | base64 | tr -d '\n'
    fi
}

# become WORDS: become the command, with the variables of the work; in a subshell only.
become() {
    trap - TERM INT HUP
    umask "$usual_umask"
    exec 3<&- 5>&- 6>&-
    eval "$om_env"
    [ -z "$group" ] || exec "$setsid" "$@"
    exec "$@"
}

put_file() {
    [ ! -d "$om_path" ] || { echo "$om_path is a directory" >&2; return 1; }
    part=$(mktemp "${om_path%/*}/.omserver.XXXXXX") || return 1
    base64 -d <&3 >"$part"
    if [ "$(($(wc -c <"$part")))" -ne "$om_size" ]; then
        echo "only $(($(wc -c <"$part"))) of $om_size bytes could be written beside $om_path" >&2
        rm -f "$part"
        return 1
    fi
    sync "$part" 2>/dev/null
    if ! { chmod "$om_mode" "$part" && mv -f "$part" "$om_path"; }; then
        rm -f "$part"
        return 1
    fi
}

exec 2>/dev/null
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $name in
        HOME | USER | LOGNAME | SHELL | LANG | LC_ALL | TZ | PWD | _) ;;
        *) unset "$name" ;;
    esac
done
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
if [ -z "$LANG$LC_ALL" ] && [ -d /usr/lib/locale/C.utf8 ]; then
    LANG=C.UTF-8
    export LANG
fi
cd / || fail "The host's root folder can't be entered."
for name in base64 dd head wc tr mktemp mkfifo; do
    command -v "$name" >/dev/null || fail "The host has no program named $name."
done

usual_umask=$(umask)
umask 077
pid='' keep_out='' keep_err='' watch='' alarm='' dir=''
for place in /tmp /dev/shm /run /var/tmp; do
    dir=$(mktemp -d "$place/omserver.XXXXXX") && break
done
[ -n "$dir" ] || fail "The host has no folder for temporary files that can be written."
trap quit TERM INT HUP

exec 3<&0 </dev/null
read -r head_line <&3
eval "$(printf %s "$head_line" | base64 -d)"
[ -n "$om_kind" ] || { rm -rf "$dir"; fail "The work did not arrive whole."; }
if [ "$om_kind" = script ]; then
    read -r script_line <&3
    printf %s "$script_line" | base64 -d >"$dir/script" || { rm -rf "$dir"; fail "The script could not be stored."; }
    if [ -n "$om_interpreter_word" ]; then
        set -- "$om_interpreter" "$om_interpreter_word" "$dir/script" "$@"
    else
        set -- "$om_interpreter" "$dir/script" "$@"
    fi
fi

mkfifo "$dir/out.fifo" "$dir/err.fifo" || { rm -rf "$dir"; fail "The host can't make pipes in $dir."; }
keep out </dev/null >/dev/null &
keep_out=$!
keep err </dev/null >/dev/null &
keep_err=$!
exec 5>"$dir/out.fifo" 6>"$dir/err.fifo"
start=$(clock)
group=''
if [ "$om_kind" = put ]; then
    put_file >&5 2>&6 5>&- 6>&- &
else
    setsid=$(command -v setsid) && group=-
    if [ "$om_stdin" = yes ]; then
        base64 -d <&3 5>&- 6>&- | (become "$@") >&5 2>&6 &
    else
        (become "$@") </dev/null >&5 2>&6 3<&- &
    fi
fi
pid=$!
exec 3<&- 5>&- 6>&-
alarm over "$om_limit"
watch_time <"$dir/over" >/dev/null &
watch=$!
wait "$pid"
rc=$?
kill -KILL "$watch" "$alarm"
end=$(clock)
alarm enough 1
watch_readers <"$dir/enough" >/dev/null &
watch=$!
wait "$keep_out" "$keep_err"
kill -KILL "$watch" "$alarm"

late=0
if [ -e "$dir/late" ]; then
    late=1
    kill -KILL "$group$pid"
fi
packing=plain
command -v gzip >/dev/null && [ "$(($(cat "$dir/out" "$dir/err" | wc -c)))" -gt 2000 ] && packing=gzip
printf 'om1 %s %s %s %s %s %s %s ' "$rc" "$late" "$start" "$end" "$packing" "$(cut_bytes out)" "$(cut_bytes err)"
encoded out
printf ' '
encoded err
printf ' end\n'
rm -rf "$dir"
