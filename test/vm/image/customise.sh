#!/bin/sh
# Makes a Debian tree into that of a test machine: customise.sh ROOT FILES AUTHORIZED_KEYS
set -eu
root=$1 files=$2 authorized_keys=$3

# a place that is there in the tree, whatever the caller's is
export TMPDIR=/tmp
cp -r --preserve=mode "$files/." "$root/"
install -D -m 600 "$authorized_keys" "$root/root/.ssh/authorized_keys"
chmod 700 "$root/root/.ssh"
rm -f "$root"/etc/ssh/ssh_host_*
chroot "$root" ssh-keygen -q -t ed25519 -N '' -C vm -f /etc/ssh/ssh_host_ed25519_key
echo localhost >"$root/etc/hostname"
: >"$root/etc/machine-id"
# the key is the only way in
sed -i 's/^root:[^:]*:/root:*:/' "$root/etc/shadow"

units="chroot $root systemctl --quiet"
$units enable vm-network.service ssh.service
# nothing begins by itself: what runs is what a test starts, or Holdfast
for unit in mariadb nginx drbd logd nftables e2scrub_reap; do $units disable "$unit.service" 2>/dev/null || true; done
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim; do
  $units disable "$timer.timer" 2>/dev/null || true
done
# seconds of every boot, for nothing that is used here
$units mask getty@tty1.service serial-getty@ttyS0.service ldconfig.service systemd-binfmt.service \
  systemd-firstboot.service systemd-hwdb-update.service systemd-journal-flush.service systemd-pstore.service \
  systemd-random-seed.service systemd-timesyncd.service systemd-udev-settle.service systemd-update-done.service

# the database as the package's installation leaves it, for the disk that the machines replicate, and where the package has it
mkdir -p "$root/srv/mysql" "$root/srv/template/data"
chroot "$root" chown mysql:mysql /srv/template/data
chroot "$root" mariadb-install-db --user=mysql --datadir=/srv/template/data \
  --auth-root-authentication-method=socket --skip-test-db >/dev/null
rm -rf "$root"/var/lib/mysql/*
cp -a "$root/srv/template/data/." "$root/var/lib/mysql/"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
