# Runs one piece of work on a host and says on one line how it went. Any POSIX shell; dash and busybox too.
#
# stdin: line 1, base64: assignments and "set -- WORDS", quoted by the master (onhost.py);
#        then, for a script, one line with its text in base64; then base64 of the standard input or file.
# stdout: om1 RC LATE START END ENCODING OUT_CUT ERR_CUT OUT ERR end
#
# With om_handle, it keeps a folder named by it, in a private folder of the user's, with the files
#   pid      this shell, and the tick in which it started     work     the same of the work, and "-" if it has a group
#   answer   what was said on stdout; whole if "done" is there  stopped  it was stopped, or called off before it came
# and outlives its connection. An empty file of that name is what was forgotten. The kinds ask, stop and forget look after such folders, and start nothing.
# Nothing of the user's stands on this command line, where everybody on the host could read it.
# shellcheck disable=SC2154  # the om_ variables come on line 1

fail() {
    [ -z "$dir" ] || rm -rf "$dir"
    printf 'om1-cannot %s\n' "$1"
    exit 0
}

clock() {
    if read -r up rest </proc/uptime 2>/dev/null; then echo "$up"; else date +%s; fi
}

# keep NAME: store the first bytes of fifo NAME, count the others and throw them away.
# dd writes down at once what it reads, so that nothing is lost when it is stopped.
# It, and the watchers, let go of our standard output: when this shell is killed, who waits for its words learns.
keep() {
    exec </dev/null >/dev/null
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
    exec <"$dir/over" >/dev/null
    read -r _
    : >"$dir/late"
    kill -TERM "$group$pid"
    sleep 2
    kill -KILL "$group$pid"
}

# Who goes on in the background with our pipes open gets a moment, then is no longer listened to.
watch_readers() {
    exec <"$dir/enough" >/dev/null
    read -r _
    kill "$keep_out" "$keep_err"
}

quit() {
    trap '' TERM INT HUP
    # By its number, too: it may not have got its own group yet.
    [ -n "$pid" ] && kill -KILL "$group$pid" "$pid"
    kill "$keep_out" "$keep_err"
    kill -KILL "$watch" "$alarm"
    if [ -n "$om_handle" ]; then
        : >"$dir/stopped"
        tidy
        echo om1-stopped
    else
        rm -rf "$dir"
    fi
    exit 143
}

# tidy: of a folder with a handle, only what tells how it ended may stay.
tidy() {
    rm -f "$dir/script" "$dir/in" "$dir/out" "$dir/err" "$dir"/*.fifo "$dir"/*.rest "$dir/over" "$dir/enough" "$dir/late"
}

# ticks PID: set $ticks to the moment in which a process started; nothing if there is no such process.
ticks() {
    ticks=''
    read -r ticks <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086  # these are words
    set -- ${ticks##*) }
    case $1 in Z | X) ticks=dead ;; *) ticks=${20} ;; esac
}

# alive PID TICKS: whether it runs, and is still the same.
alive() {
    kill -0 "$1" || return 1
    ticks "$1"
    [ "$ticks" = "$2" ]
}

# home PLACE: set $home to our private folder there; it fails if there is none, or it is somebody else's.
home() {
    home=$1/omserver-${LOGNAME:-$USER}
    [ -d "$home" ] && [ ! -L "$home" ] && [ -O "$home" ]
}

# known: set $dir to what is kept under the handle.
known() {
    for place in $places; do
        home "$place" && dir=$home/$om_handle && [ -e "$dir" ] && return 0
    done
    return 1
}

# claim: make the folder of the handle; it fails if somebody has done so before.
claim() {
    known && return 1
    for place in $places; do
        home "$place" || mkdir "$home" || continue
        dir=$home/$om_handle
        mkdir "$dir" && return 0
        [ ! -e "$dir" ] || return 1
    done
    dir=''
    fail "The host has no folder for temporary files that can be written."
}

# up_for: for how many seconds this host has been up; a container counts from its own start. 0 if nobody knows.
up_for() {
    up=0
    read -r up rest </proc/uptime && ticks 1
    [ -z "$ticks" ] || up=$((${up%%.*} - ticks / 100))
    if [ -n "$ticks" ] && [ "$up" -gt 0 ]; then echo "$up"; else echo 0; fi
}

# known_or_called_off: find the folder; what has not come yet, will not be started when it comes.
known_or_called_off() {
    if claim; then
        : >"$dir/stopped"
        echo "om1-none $(up_for)"
        sweep
        exit 0
    fi
    [ -d "$dir" ] || { echo om1-forgotten; exit 0; }
}

# sweep: remove what nobody has asked for in a day.
sweep() {
    for place in $places; do
        home "$place" && find "$home" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +
    done
}

# wait_for ROUNDS WORDS: up to so many fifths of a second, until the command WORDS succeeds.
wait_for() {
    rounds=$1
    shift
    until "$@"; do
        [ "$rounds" -gt 0 ] || return 1
        rounds=$((rounds - 1))
        sleep 0.2 || sleep 1
    done
}

over() {
    [ -e "$dir/done" ] || [ -e "$dir/stopped" ] || { [ -s "$dir/pid" ] && ! runs; }
}

runs() {
    read -r shell shell_ticks <"$dir/pid" && alive "$shell" "$shell_ticks"
}

ask() {
    known_or_called_off
    wait_for 25 test -s "$dir/pid" -o -e "$dir/stopped"
    if ! wait_for "$((om_limit * 5))" over; then
        echo om1-running
    elif [ -e "$dir/done" ]; then
        cat "$dir/answer"
    elif [ -e "$dir/stopped" ]; then
        echo om1-stopped
    else
        echo om1-lost
    fi
}

ended() {
    ! runs
}

# Whether nothing is left of the work; another process may have got its number.
work_gone() {
    ticks "$work"
    case $ticks in
        '' | dead | "$work_ticks") ! kill -0 "$work_group$work" ;;
        *) : ;;
    esac
}

stop() {
    known_or_called_off
    wait_for 25 test -s "$dir/pid" -o -e "$dir/stopped"
    if runs; then
        kill -TERM "$shell"
        wait_for 25 ended || kill -KILL "$shell"
        wait_for 10 ended
    fi
    if [ -e "$dir/done" ]; then
        echo om1-over
        return
    fi
    if read -r work work_ticks work_group <"$dir/work" && ! work_gone; then
        kill -KILL "$work_group$work"
        wait_for 15 work_gone || { echo om1-running; return; }
    fi
    : >"$dir/stopped"
    tidy
    echo om1-stopped
}

# forget HANDLES: their answers are stored elsewhere.
forget() {
    for om_handle; do
        known && rm -rf "$dir" && : >"$dir"
    done
}

# report: the answer. A pipe or file that takes only a part of it makes it fail.
report() {
    printf 'om1 %s %s %s %s %s %s %s ' "$rc" "$late" "$start" "$end" "$packing" "$(cut_bytes out)" "$(cut_bytes err)"
    encoded out
    printf ' '
    encoded err
    printf ' end\n'
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
    head -n 1 <&3 | base64 -d >"$part"
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
places='/tmp /dev/shm /run /var/tmp'
pid='' keep_out='' keep_err='' watch='' alarm='' dir='' om_kind='' om_handle='' om_forget=''

exec 3<&0 </dev/null
read -r head_line <&3 || fail "The work did not arrive whole."
eval "$(printf %s "$head_line" | base64 -d)"
case $om_kind in
    '') fail "The work did not arrive whole." ;;
    ask | stop | forget)
        "$om_kind" "$@"
        exit 0
        ;;
esac
if [ -n "$om_handle" ]; then
    if ! claim; then
        word=twice
        [ ! -e "$dir/stopped" ] || word=off
        echo "om1-$word"
        exit 0
    fi
    ticks "$$"
    echo "$$ $ticks" >"$dir/pid"
    trap '' HUP
    trap quit TERM INT
else
    for place in $places; do
        dir=$(mktemp -d "$place/omserver.XXXXXX") && break
    done
    [ -n "$dir" ] || fail "The host has no folder for temporary files that can be written."
    trap quit TERM INT HUP
fi
if [ "$om_kind" = script ]; then
    read -r script_line <&3 || fail "The work did not arrive whole."
    printf %s "$script_line" | base64 -d >"$dir/script" || fail "The script could not be stored."
    if [ -n "$om_interpreter_word" ]; then
        set -- "$om_interpreter" "$om_interpreter_word" "$dir/script" "$@"
    else
        set -- "$om_interpreter" "$dir/script" "$@"
    fi
fi

mkfifo "$dir/out.fifo" "$dir/err.fifo" || fail "The host can't make pipes in $dir."
in=/dev/null
if [ "$om_stdin" != 0 ] && [ "$om_kind" != put ]; then
    in=$dir/in
    head -n 1 <&3 | base64 -d >"$in"
    [ "$(($(wc -c <"$in")))" -eq "$om_stdin" ] || fail "The work did not arrive whole."
fi
keep out &
keep_out=$!
keep err &
keep_err=$!
exec 5>"$dir/out.fifo" 6>"$dir/err.fifo"
start=$(clock)
group=''
if [ "$om_kind" = put ]; then
    put_file >&5 2>&6 5>&- 6>&- &
else
    setsid=$(command -v setsid) && group=-
    (become "$@") <"$in" >&5 2>&6 &
fi
pid=$!
if [ -n "$om_handle" ]; then
    ticks "$pid"
    echo "$pid $ticks $group" >"$dir/work"
fi
exec 3<&- 5>&- 6>&-
alarm over "$om_limit"
watch_time &
watch=$!
wait "$pid"
rc=$?
kill -KILL "$watch" "$alarm"
end=$(clock)
alarm enough 3
watch_readers &
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
if [ -z "$om_handle" ]; then
    report
    rm -rf "$dir"
    exit 0
fi
# From here on it is over, whoever wants to stop it.
trap '' TERM INT
if report >"$dir/answer"; then
    : >"$dir/done"
    cat "$dir/answer"
else
    rm -f "$dir/answer"
    report
fi
tidy
# shellcheck disable=SC2086  # handles are words
[ -z "$om_forget" ] || forget $om_forget
case $om_handle in *0) sweep ;; esac
