#!/bin/sh
# build_box.sh - a Vagrant box for libvirt, made of the distribution's own packages and nothing else.
#
#   build_box.sh SUITE MIRROR KEY FOLDER
#
# Leaves FOLDER/plain.box: Debian of that suite with its stock kernel, ssh, sudo, and the user vagrant who
# is let in with the public key in the file KEY. As root. Nothing is mounted outside of this process.
set -eu

[ -n "${LAB_BOX_MOUNTS:-}" ] || LAB_BOX_MOUNTS=private exec unshare --mount -- "$0" "$@"

suite=$1 mirror=$2 key=$3 folder=$4
root="$folder/root"
disk="$folder/disk"
first_sector=2048
size_mib=12288

say() { printf 'box: %s\n' "$*"; }

say "unpacking $suite"
trap 'rm -rf --one-file-system "$root" "$disk" "$folder/core.img" "$folder/box.img"' EXIT
debootstrap --variant=minbase --include="$(echo \
    linux-image-amd64 initramfs-tools grub2-common grub-pc-bin systemd-sysv dbus udev kmod zstd \
    ifupdown isc-dhcp-client iproute2 openssh-server sudo rsync procps python3 ca-certificates |
    tr ' ' ,)" "$suite" "$root" "$mirror" >"$folder/debootstrap.log" 2>&1 ||
    { tail -5 "$folder/debootstrap.log" >&2; exit 1; }

say "giving it a network, a user and what its disk needs"
printf 'deb %s %s main\n' "$mirror" "$suite" "$mirror" "$suite-updates" >"$root/etc/apt/sources.list"
printf 'UUID=%s / ext4 defaults 0 1\n' "${uuid:=$(cat /proc/sys/kernel/random/uuid)}" >"$root/etc/fstab"
printf 'auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n' >"$root/etc/network/interfaces"
echo plain >"$root/etc/hostname"
printf '127.0.0.1 localhost plain\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
echo 'GRUB_CMDLINE_LINUX="net.ifnames=0"' >>"$root/etc/default/grub"
# only what a virtual disk needs: an emulated processor takes long to unpack the rest
echo 'MODULES=list' >"$root/etc/initramfs-tools/conf.d/modules"
printf '%s\n' ext4 virtio_pci virtio_blk virtio_scsi sd_mod >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
chroot "$root" useradd --create-home --shell /bin/bash vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$key" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant: /home/vagrant/.ssh
echo 'UseDNS no' >>"$root/etc/ssh/sshd_config"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

# The machine's own update-grub will write this anew; in a folder it would name a disk of this machine.
kernel=$(basename "$root"/boot/vmlinuz-*)
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<CONFIG
set timeout=0
menuentry plain {
    linux /boot/$kernel root=UUID=$uuid ro net.ifnames=0 console=ttyS0
    initrd /boot/$(basename "$root"/boot/initrd.img-*)
}
CONFIG

say "writing the disk"
rm -f "$disk"
truncate -s "${size_mib}M" "$disk"
printf '%s,,L,*\n' "$first_sector" | sfdisk -q "$disk"
mke2fs -q -t ext4 -U "$uuid" -d "$root" -E "offset=$((first_sector * 512))" "$disk" \
    "$((size_mib - 2))M"
# grub's first stage in the first sector, with the partition table kept, and the rest behind it
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$folder/core.img" \
    biosdisk part_msdos ext2 normal linux echo
dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$folder/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none

say "packing"
qemu-img convert -O qcow2 "$disk" "$folder/box.img"
cat >"$folder/metadata.json" <<METADATA
{"provider": "libvirt", "format": "qcow2", "virtual_size": $((size_mib / 1024))}
METADATA
# What an emulated machine needs is the box's affair, not that of the lab's Vagrantfile.
cat >"$folder/Vagrantfile" <<'VAGRANTFILE'
Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 900
  config.ssh.insert_key = false
  config.vm.provider "libvirt" do |libvirt|
    libvirt.driver = "qemu"
    libvirt.cpu_mode = "custom"
    libvirt.cpu_model = "Nehalem" # NumPy wants x86-64-v2
    libvirt.disk_driver cache: "unsafe"
    libvirt.graphics_type = "none"
    libvirt.video_type = "none"
  end
end
VAGRANTFILE
tar -C "$folder" -cf "$folder/plain.box.part" metadata.json Vagrantfile box.img
mv "$folder/plain.box.part" "$folder/plain.box"
say "done: $(du -h "$folder/plain.box" | cut -f1)"
