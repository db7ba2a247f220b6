#!/bin/sh
# Becomes a host of its own inside fresh mount, network, process and host name spaces, then runs its command.
# minion.sh NAME KIND ADDRESS FOLDER KEEP-PATHS COMMAND...
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
for place in etc var srv opt root home usr/local; do
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

hostname "$name"
echo "127.0.0.1 localhost $name" >/etc/hosts
: >/etc/resolv.conf
rm -rf /var/log/journal /etc/machine-id
rm -f /var/log/syslog* /var/log/messages*
if [ "$kind" = bare ]; then
    # A host with neither log nor service manager nor nginx.
    : >/mnt/nothing
    chmod 644 /mnt/nothing
    for program in nginx service systemctl journalctl invoke-rc.d rc-service start-stop-daemon; do
        for place in /bin /sbin /usr/bin /usr/sbin; do
            [ ! -e "$place/$program" ] || mount --bind /mnt/nothing "$place/$program"
        done
    done
    rm -rf /etc/init.d /etc/nginx /var/log
    mkdir /var/log
else
    number=1
    while [ "$number" -le 200 ]; do
        echo "Nov 21 02:00:00 $name test[1]: line $number of the log"
        number=$((number + 1))
    done >/var/log/syslog
fi

until ip -o addr show dev eth0 2>/dev/null | grep -q "$address/"; do sleep 0.05; done
[ "$kind" = bare ] || service nginx start >/dev/null 2>&1 || true
# This shell stays as the first process, and so buries the orphans, as every host's does.
"$@" &
wait "$!"
