#!/bin/sh
# provision.sh - makes a plain Debian or Ubuntu machine into the lab; run by Vagrant, as root.
#
# It copies the checkout from /vagrant, has ./lab set itself up as the ordinary user, and makes the
# tracer and JupyterLab start with the machine. What is as it should be is left alone: run once
# more, it changes nothing.
set -eu

user=${SUDO_USER:-vagrant}
home=$(getent passwd "$user" | cut -d: -f6)
lab="$home/memory-leak-lab"
units=/etc/systemd/system
certificates=/tmp/memory-leak-lab-certificates.pem
changes=0

say() { printf 'lab: %s\n' "$*"; }
changed() {
    say "$*"
    changes=$((changes + 1))
}
as_user() { runuser -u "$user" -- env HOME="$home" "$@"; }

# Write standard input to a file, unless that is what it holds; say whether it was written.
# Not at the end of a pipe: there the shell would forget that something was changed.
write_file() {
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then
        rm "$1.new"
        return 1
    fi
    mv "$1.new" "$1"
    changed "wrote $1"
}

# pip and uv bring certificates of their own, and are told where to find these and the system's.
trust_certificates() {
    [ -e "$certificates" ] || return 0
    trusted=/var/lib/memory-leak-lab-certificates.pem
    all=$(cat /etc/ssl/certs/ca-certificates.crt "$certificates")
    write_file $trusted <<ALL || true
$all
ALL
    export PIP_CERT=$trusted SSL_CERT_FILE=$trusted
}

# A file that both sides have changed is the host's afterwards, and the learner's is kept as FILE~.
copy_checkout() {
    if ! command -v rsync >/dev/null; then
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install rsync
        changed "installed rsync"
    fi
    copied=$(rsync --archive --update --omit-dir-times --backup --out-format=%n \
        --chown="$user:$(id -gn "$user")" \
        --exclude=.git --exclude=.venv --exclude=.lab --exclude=.vagrant --exclude=results \
        --exclude=build --exclude=__pycache__ /vagrant/ "$lab/" | grep -cv '/$' || true)
    [ "$copied" = 0 ] || changed "copied $copied files of the checkout to $lab"
}

set_up_lab() {
    before=$(state_of_lab)
    (cd "$lab" && as_user ./lab version >/dev/null)
    [ "$before" = "$(state_of_lab)" ] || changed "set up the lab"
    if ! id -nG "$user" | grep -qw docker; then
        usermod -aG docker "$user"
        changed "$user may use Docker"
    fi
}

state_of_lab() { dpkg-query -W | cksum; cat "$lab/.lab/ready" 2>/dev/null || true; }

make_token() {
    settings="$home/.jupyter/jupyter_server_config.json"
    [ ! -e "$settings" ] || return 0
    as_user mkdir -p -m 700 "$home/.jupyter"
    (umask 077 && printf '{"ServerApp": {"ip": "0.0.0.0"}, "IdentityProvider": {"token": "%s"}}\n' \
        "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$settings")
    chown "$user:" "$settings"
    changed "made a token for JupyterLab"
}

start_services() {
    is_new=
    unit=$(cd "$lab" && as_user ./lab --no-system tracer unit)
    if write_file $units/memory-leak-lab-tracer.service <<UNIT; then
$unit
UNIT
        is_new=1
    fi
    if write_file $units/memory-leak-lab.service <<UNIT; then
[Unit]
Description=The Memory Leak Lab's workbook, in JupyterLab
Wants=memory-leak-lab-tracer.service
After=memory-leak-lab-tracer.service docker.service network.target

[Service]
User=$user
WorkingDirectory=$lab
ExecStart=$lab/lab --no-system --port 8888
Restart=on-failure

[Install]
WantedBy=multi-user.target
UNIT
        is_new=1
    fi
    if [ -n "$is_new" ]; then systemctl daemon-reload; fi
    systemctl enable --quiet memory-leak-lab-tracer memory-leak-lab
    # The tracer's code is read when it starts; the notebooks' at each start of a kernel.
    if [ "$copied" != 0 ] && systemctl is-active --quiet memory-leak-lab-tracer; then
        systemctl restart memory-leak-lab-tracer
    fi
    for unit in memory-leak-lab-tracer memory-leak-lab; do
        if systemctl is-active --quiet $unit; then continue; fi
        systemctl start $unit || { say "$unit does not start; see: journalctl -u $unit" && continue; }
        changed "started $unit"
    done
    [ -L /usr/local/bin/lab-address ] || ln -s "$lab/vm/address" /usr/local/bin/lab-address
}

trust_certificates
copy_checkout
set_up_lab
make_token
start_services
if [ "$changes" = 0 ]; then say "nothing had to be changed"; else say "$changes changes"; fi
