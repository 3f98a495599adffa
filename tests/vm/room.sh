#!/bin/sh
# room.sh - a network and a libvirt of the test's own, that are gone when its standard input ends.
#
#   unshare --mount --pid --fork --kill-child --mount-proc room.sh FOLDER
#
# As root, in a mount and pid namespace that it is the first process of. It says "ready" once machines
# can be started. Who enters the namespaces of the process "sleep" sees the inside: a network that
# reaches the outside by slirp4netns only, and a libvirt whose state is in FOLDER.
set -eu

folder=$1

for state in /run/libvirt /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mkdir -p "$folder$state" "$state"
done
cp -r /etc/libvirt/. "$folder/etc/libvirt"
# qemu needs no cgroups, no user and no mounts of its own here: nothing of it outlives this room
cat >>"$folder/etc/libvirt/qemu.conf" <<CONF
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
CONF
rm -rf "$folder/etc/libvirt/qemu/networks/autostart"
for state in /run/libvirt /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
    mount --bind "$folder$state" "$state"
done

unshare --net sleep infinity &
holder=$!
until [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
slirp4netns --configure --disable-host-loopback "$holder" tap0 >"$folder/slirp.log" 2>&1 &

inside() { nsenter --net="/proc/$holder/ns/net" "$@"; }
inside ip link set lo up
until inside ip route | grep -q default; do
    kill -0 $! || { cat "$folder/slirp.log" >&2; exit 1; }
    sleep 0.1
done
inside virtlogd --daemon --pid-file /run/libvirt/virtlogd.pid
inside libvirtd --daemon --pid-file /run/libvirt/libvirtd.pid
until inside virsh -q -c qemu:///system list >"$folder/virsh.log" 2>&1; do
    [ -e /run/libvirt/libvirtd.pid ] || { cat "$folder/virsh.log" >&2; exit 1; }
    sleep 0.2
done
echo ready
cat >/dev/null
