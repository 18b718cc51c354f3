#!/bin/sh
# mmdebstrap hook: the kernel and its modules, without what an installation would bring along (an initramfs of 30 MB, made here for
# a minute and unpacked at each boot).
set -eu
root=$1
chroot "$root" sh -eu <<'END'
cd "$(mktemp -d)"
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
apt-get -qq -o APT::Sandbox::User=root download "$package"
dpkg -x "$package"_*.deb kernel
cp kernel/boot/vmlinuz-* /boot/vmlinuz
cp -a kernel/lib/modules /usr/lib/
depmod "$(ls /usr/lib/modules)"
rm -r "$PWD"
END
