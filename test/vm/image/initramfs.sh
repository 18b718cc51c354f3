#!/bin/sh
# The least that leads from a kernel to the root file system, as cpio archive: initramfs.sh ROOT INIT KERNEL OUTPUT
set -eu
root=$1 init=$2 kernel=$3 output=$4
stage=$root/initramfs
mkdir -p "$stage/bin" "$stage/dev" "$stage/proc" "$stage/root" "$stage/modules"
cp "$root/bin/busybox" "$stage/bin/busybox"
install -m 755 "$init" "$stage/init"
for module in virtio_pci virtio_blk virtio_net ext4; do
  chroot "$root" modprobe --set-version "$(cat "$root/boot/version-$kernel")" --show-depends "$module"
done | while read -r verb file _; do
  [ "$verb" = insmod ] || continue
  name=$(basename "$file")
  [ -e "$stage/modules/$name" ] && continue
  cp "$root$file" "$stage/modules/$name"
  echo "$name" >>"$stage/order"
done
chroot "$root" sh -c 'cd /initramfs && find . | busybox cpio -o -H newc' 2>/dev/null | gzip -1 >"$output"
rm -r "$stage"
