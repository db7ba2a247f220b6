#!/bin/sh
# Becomes an OpenSSH server, as the command of host.sh.   sshd.sh FOLDER NAME
# Everybody may log in with the key or a certificate of FOLDER; ops also with a password, and may use sudo.
set -eu
folder=$1 name=$2
mkdir -p /run/sshd
rm -rf /etc/ssh
mkdir -m 755 /etc/ssh
cp "$folder/hosts/$name" /etc/ssh/host_key
chmod 600 /etc/ssh/host_key
cp "$folder/key.pub" /etc/ssh/authorized_keys
cp "$folder/ca.pub" /etc/ssh/ca.pub
chmod 644 /etc/ssh/*.pub /etc/ssh/authorized_keys
useradd --create-home --shell /bin/sh --password "$(cat "$folder/shadow")" ops
mkdir -p /etc/sudoers.d
echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
chmod 440 /etc/sudoers.d/ops
cat >/etc/ssh/sshd_config <<END
Port 22
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
TrustedUserCAKeys /etc/ssh/ca.pub
PermitRootLogin prohibit-password
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 3000:30:4000
MaxSessions 100
LoginGraceTime 600
PrintMotd no
LogLevel ERROR
Subsystem sftp internal-sftp
END
exec "$(command -v sshd || echo /usr/sbin/sshd)" -D -e
