#!/bin/sh
# kernel.sh - has a virtual machine run a kernel with BPF and uprobes; run by Vagrant, as root.
#
# A stock kernel of these years has both, and then nothing is done. Otherwise the distribution's
# current one is installed, and a reboot asked for.
set -eu

say() { printf 'lab: %s\n' "$*"; }

has_bpf() { [ -e /proc/sys/kernel/unprivileged_bpf_disabled ]; }
has_uprobes() { [ -e /sys/bus/event_source/devices/uprobe/type ]; }

if has_bpf && has_uprobes; then
    say "kernel $(uname -r) has BPF and uprobes"
    exit 0
fi
if [ -e /var/lib/memory-leak-lab-kernel ]; then
    say "kernel $(uname -r) has no BPF or no uprobes, and it is this distribution's current one" >&2
    exit 1
fi
say "kernel $(uname -r) has no BPF or no uprobes: installing this distribution's current one"
if grep -q '^ID=ubuntu' /etc/os-release; then
    kernel=linux-image-generic
else
    kernel=linux-image-$(dpkg --print-architecture)
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install "$kernel"
touch /var/lib/memory-leak-lab-kernel /run/memory-leak-lab-reboot
say "rebooting into it; should JupyterLab not answer afterwards, run: vagrant reload"
