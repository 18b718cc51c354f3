#!/bin/sh
# mmdebstrap hook: the kernels and their modules, without what an installation would bring along (an initramfs of 30 MB, made here for
# a minute and unpacked at each boot). Each is /boot/vmlinuz-NAME, and /boot/version-NAME says which modules are its own.
set -eu
root=$1
chroot "$root" sh -eu <<'END'
cd "$(mktemp -d)"
# unpack NAME PACKAGE: the kernel that the Debian package stands for
unpack() {
  package=$(apt-cache depends "$2" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
  apt-get -qq -o APT::Sandbox::User=root download "$package"
  dpkg -x "$package"_*.deb "$1"
  cp "$1"/boot/vmlinuz-* "/boot/vmlinuz-$1"
  version=$(ls "$1/lib/modules")
  echo "$version" >"/boot/version-$1"
}
unpack cloud linux-image-cloud-amd64
cp -a cloud/lib/modules/. /usr/lib/modules
depmod "$version"

# of the kernel for hardware only what a machine with a watchdog needs: the rest is 300 MB
unpack hardware linux-image-amd64
depmod --basedir hardware "$version"
for module in virtio_pci virtio_blk virtio_net ext4 i6300esb; do
  modprobe --dirname hardware --set-version "$version" --show-depends "$module"
done | sed -n 's/^insmod .*\(lib\/modules\/[^ ]*\).*/\1/p' | sort -u | while read -r file; do
  mkdir -p "/usr/$(dirname "$file")"
  cp "hardware/$file" "/usr/$file"
done
cp hardware/lib/modules/"$version"/modules.builtin* hardware/lib/modules/"$version"/modules.order "/usr/lib/modules/$version"
depmod "$version"
rm -r "$PWD"
END
