#!/bin/sh
# Becomes a host of its own inside fresh mount, network, process and host name spaces, then runs its command.
# host.sh NAME KIND ADDRESS FOLDER KEEP-PATHS COMMAND...
# KIND: full (nginx runs, a syslog file is there), bare (no log, no nginx, no service manager), plain (as it is),
#       no-python (no Python of any version, nor what was installed in the checkout).
# What is written below the folders named here lands in memory and is gone with the host.
set -eu
name=$1 kind=$2 address=$3 folder=$4 keep=$5
shift 5

mount --make-rprivate /
mount -t tmpfs -o mode=755 overlays /mnt
mkdir -p /mnt/fleet /mnt/keep
mount --bind "$folder" /mnt/fleet
number=0
for path in $keep; do
    case $path in
        /tmp/* | /run/*)
            number=$((number + 1))
            mkdir "/mnt/keep/$number"
            mount --bind "$path" "/mnt/keep/$number"
            ;;
    esac
done
places='etc var srv opt root home usr/local'
[ "$kind" != no-python ] || places="$places usr/bin"
for place in $places; do
    [ -d "/$place" ] || continue
    part=/mnt/own/$place
    mkdir -p "$part/files" "$part/work"
    chmod --reference="/$place" "$part/files"
    mount -t overlay "own-$name" -o "lowerdir=/$place,upperdir=$part/files,workdir=$part/work" "/$place"
done
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock
number=0
for path in $keep; do
    case $path in
        /tmp/* | /run/*)
            number=$((number + 1))
            mkdir -p "$path"
            mount --bind "/mnt/keep/$number" "$path"
            ;;
    esac
done
mkdir -p "$folder"
mount --bind /mnt/fleet "$folder"
mount -t proc proc /proc
case $kind in plain | no-python) mount -t tmpfs -o mode=700 root /root ;; esac

hostname "$name"
echo "127.0.0.1 localhost $name" >/etc/hosts
: >/etc/resolv.conf
rm -rf /var/log/journal /etc/machine-id
rm -f /var/log/syslog* /var/log/messages*
: >/mnt/nothing
chmod 644 /mnt/nothing
hide() {
    for program; do
        [ ! -f "$program" ] || mount --bind /mnt/nothing "$(readlink -f "$program")"
    done
}
case $kind in
    bare)
        for program in nginx service systemctl journalctl invoke-rc.d rc-service start-stop-daemon; do
            hide "/bin/$program" "/sbin/$program" "/usr/bin/$program" "/usr/sbin/$program"
        done
        rm -rf /etc/init.d /etc/nginx /var/log
        mkdir /var/log
        ;;
    no-python)
        for path in $keep; do
            case $path in
                /usr | /usr/local) ;;
                *) [ ! -d "$path" ] || mount -t tmpfs none "$path" ;;
            esac
        done
        rm -f /usr/bin/python*
        find /usr /opt -name 'python[0-9]*' \( -type f -o -type l \) -perm /111 >/mnt/found
        while read -r path; do hide "$path"; done </mnt/found
        for path in /usr/lib/python*; do
            [ ! -d "$path" ] || mount -t tmpfs none "$path"
        done
        ;;
esac
if [ "$kind" = full ]; then
    number=1
    while [ "$number" -le 200 ]; do
        echo "Nov 21 02:00:00 $name test[1]: line $number of the log"
        number=$((number + 1))
    done >/var/log/syslog
fi

until ip -o addr show dev eth0 2>/dev/null | grep -q "$address/"; do sleep 0.05; done
[ "$kind" != full ] || service nginx start >/dev/null 2>&1 || true
# This shell stays as the first process, and so buries the orphans, as every host's does.
"$@" &
wait "$!"
