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
# Each process that is started here costs every job a millisecond: what the shell can do itself, it does.
# shellcheck disable=SC2154  # the om_ variables come on line 1

fail() {
    [ -z "$dir" ] || rm -rf "$dir"
    printf 'om1-cannot %s\n' "$1"
    exit 0
}

# clock: set $moment to the seconds since this host was started, or some other moment that stays the same.
clock() {
    read -r moment rest </proc/uptime || moment=$(date +%s)
}

# keep NAME: store the first bytes of fifo NAME, count the others and throw them away; then write the size down.
# dd writes down at once what it reads, so that nothing is lost when it is stopped.
# It, and the watchers, let go of our standard output: when this shell is killed, who waits for its words learns.
keep() {
    exec </dev/null >/dev/null
    trap 'kill "$job"; exit 0' TERM
    exec 4<"$dir/$1.fifo"
    size=0 records=16
    while [ "$size" -le "$om_cap" ] && [ "$records" -ge 16 ]; do
        LC_ALL=C dd bs=65536 count=16 <&4 >>"$dir/$1" 2>"$dir/$1.said" &
        reader "$1"
        # Should somebody have removed our folder: `said` is then not even begun.
        records=0 bytes=''
        said <"$dir/$1.said"
        [ -z "$bytes" ] || size=$((size + bytes))
        [ -n "$bytes" ] || [ ! -s "$dir/$1" ] || size=$(($(wc -c <"$dir/$1")))
    done
    echo "$size" >"$dir/$1.size"
    [ "$size" -gt "$om_cap" ] || return 0
    wc -c <&4 >"$dir/$1.rest" &
    reader "$1"
}

# said: of what dd said on standard input, set $records to how many it read, and $bytes, which not every dd tells.
said() {
    while IFS='+ ' read -r first second words; do
        case $first:$second:$words in
            *[!0-9]*:*:*) ;;
            *:bytes:*) bytes=$first ;;
            *:"records in") records=$((first + second)) ;;
        esac
    done
}

# reader NAME: wait for who reads fifo NAME now, and let others know who that is.
reader() {
    job=$!
    echo "$job" >"$dir/$1.reader"
    wait "$job"
}

# alarm NAME SECONDS: sleep with fifo NAME held open; a watcher that reads it wakes when the sleep is over.
# Both are stopped with KILL: dash loses a TERM that comes right after a fork.
# It is opened for both, which waits for nobody: should this shell be killed now, who keeps our standard output?
alarm() {
    sleep "$2" 1<>"$dir/$1" &
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

# Who goes on in the background with our pipes open gets a moment, then is no longer listened to;
# but what was said before is read to its end, however slow this host is.
watch_readers() {
    exec <"$dir/enough" >/dev/null
    read -r _
    rounds=300
    while [ "$rounds" -gt 0 ] && { behind out "$keep_out" || behind err "$keep_err"; }; do
        rounds=$((rounds - 1))
        sleep 0.2 || sleep 1
    done
    kill "$keep_out" "$keep_err"
}

# behind NAME KEEPER: whether there is something left to read; who sleeps has found nothing.
behind() {
    state "$2"
    case $state in '' | Z | X) return 1 ;; esac
    read -r job <"$dir/$1.reader" || return 0
    state "$job"
    [ "$state" != S ]
}

# heard PID: whether this reader has ended; it fails where nobody can tell without waiting.
heard() {
    [ -r /proc/uptime ] || return 1
    state "$1"
    case $state in '' | Z | X) return 0 ;; esac
    return 1
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
        # A reader may have made one more file meanwhile.
        rm -rf "$dir" || { sleep 0.2; rm -rf "$dir"; }
    fi
    exit 143
}

# tidy: of a folder with a handle, only what tells how it ended may stay.
tidy() {
    rm -f "$dir/script" "$dir/in" "$dir"/out* "$dir"/err* "$dir/over" "$dir/enough" "$dir/late"
}

# state PID: set $state to a process's letter, and $ticks to the moment in which it started; nothing if it is not there.
state() {
    state='' ticks=''
    read -r state <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086  # these are words
    set -- ${state##*) }
    state=$1 ticks=${20}
}

# ticks PID: the same, but a process that is dead started never.
ticks() {
    state "$1"
    case $state in Z | X) ticks=dead ;; esac
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

# sweep: remove what nobody has asked for in a day, and what a shell left that was killed long ago.
sweep() {
    for place in $places; do
        home "$place" && find "$home" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +
        find "$place" -mindepth 1 -maxdepth 1 -name 'omserver.??????' -user "$(id -u)" -mmin +2880 -exec rm -rf {} +
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
        if [ -n "$om_tell" ]; then cat "$dir/answer"; else echo om1-over; fi
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
    printf 'om1 %s %s %s %s %s %s %s ' "$rc" "$late" "$start" "$end" "$packing" "$out_cut" "$err_cut"
    encoded out "$out_cut"
    printf ' '
    encoded err "$err_cut"
    printf ' end\n'
}

# measure NAME: set $size to the bytes that are stored of a stream, and $cut to those that were thrown away.
measure() {
    size='' rest_size=0 cut=0
    read -r size <"$dir/$1.size" || size=$(($(wc -c <"$dir/$1")))
    [ "$size" -gt "$om_cap" ] || return 0
    [ -s "$dir/$1.rest" ] && read -r rest_size <"$dir/$1.rest"
    cut=$((size - om_cap + rest_size))
}

# encoded NAME CUT
encoded() {
    if [ ! -s "$dir/$1" ]; then
        printf '%s' -
    elif [ "$packing" = gzip ]; then
        head -c "$om_cap" "$dir/$1" | gzip -c | base64 | tr -d '\n'
    elif [ "$2" -gt 0 ]; then
        head -c "$om_cap" "$dir/$1" | base64 | tr -d '\n'
    else
        base64 -w 0 "$dir/$1" || base64 <"$dir/$1" | tr -d '\n'
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
# Words of values are looked at, too; what they could name is not needed either.
set -f
for word in $(export -p); do
    case ${word%%=*} in
        HOME | USER | LOGNAME | SHELL | LANG | LC_ALL | TZ | PWD | _ | *[!A-Za-z0-9_]* | [0-9]*) ;;
        ?*) unset "${word%%=*}" ;;
    esac
done
set +f
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

usual_umask=''
while [ -z "$usual_umask" ] && read -r word value; do
    [ "$word" != Umask: ] || usual_umask=$value
done </proc/self/status
[ -n "$usual_umask" ] || usual_umask=$(umask)
umask 077
places='/tmp /dev/shm /run /var/tmp'
pid='' keep_out='' keep_err='' watch='' alarm='' dir='' om_kind='' om_handle='' om_forget='' om_tell=''

exec 3<&0 </dev/null
read -r head_line <&3 || fail "The work did not arrive whole."
eval "$(base64 -d <<end
$head_line
end
)"
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

mkfifo "$dir/out.fifo" "$dir/err.fifo" "$dir/over" "$dir/enough" || fail "The host can't make pipes in $dir."
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
clock
start=$moment
group=''
if [ "$om_kind" = put ]; then
    put_file >&5 2>&6 5>&- 6>&- &
else
    setsid=/usr/bin/setsid
    [ -x "$setsid" ] || setsid=$(command -v setsid)
    group=${setsid:+-}
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
clock
end=$moment
rounds=30
until { heard "$keep_out" && heard "$keep_err"; } || [ "$rounds" -eq 0 ]; do
    rounds=$((rounds - 1))
done
if [ "$rounds" -eq 0 ]; then
    alarm enough 3
    watch_readers &
    watch=$!
    wait "$keep_out" "$keep_err"
    kill -KILL "$watch" "$alarm"
fi

late=0
if [ -e "$dir/late" ]; then
    late=1
    kill -KILL "$group$pid"
fi
measure out
out_cut=$cut all=$size
measure err
err_cut=$cut all=$((all + size))
packing=plain
[ "$all" -gt 2000 ] && command -v gzip >/dev/null && packing=gzip
if [ -z "$om_handle" ]; then
    report
    rm -rf "$dir"
    case $$ in *00) sweep ;; esac
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
