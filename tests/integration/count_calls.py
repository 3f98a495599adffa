"""Count how often each probe site of a process is passed, per caller; run by the system's Python.

Usage, as root: python3 -I count_calls.py CHECKOUT PID. Says "ready" once the probes are in place;
after a line on standard input it prints a list of [function, program, place, caller, count]: place
is "site", "entry" (where that is another instruction) or "return", caller a return address.
"""

from __future__ import annotations

import ctypes
import json
import sys

CHECKOUT, PID = sys.argv[1], int(sys.argv[2])
sys.path.insert(0, CHECKOUT)

from lablib.tracing.kernel import enter_private_mounts  # noqa: E402
from lablib.tracing.probes import find_allocators  # noqa: E402

COMMON = """
#include <linux/ptrace.h>
struct call_key { u64 probe; u64 caller; };
BPF_HASH(counts, struct call_key, u64, 65536);
static __always_inline int add(u64 probe, u64 caller) {
    struct call_key key = { probe, caller };
    u64 zero = 0, *count = counts.lookup_or_try_init(&key, &zero);
    if (count)
        __sync_fetch_and_add(count, 1);
    return 0;
}
static __always_inline u64 read_caller(struct pt_regs *ctx) {
    u64 caller = 0;
    bpf_probe_read_user(&caller, sizeof(caller), (void *)PT_REGS_SP(ctx));
    return caller;
}
"""


def main() -> None:
    """Attach, wait, print."""
    enter_private_mounts()
    import bcc

    probes = []
    for allocator in find_allocators(PID):
        for site in allocator.sites:
            place = "return" if site.is_return else "site"
            probes.append((allocator, site, place, site.offset_bytes))
            if not site.is_return and site.entry_bytes != site.offset_bytes:
                probes.append((allocator, site, "entry", site.entry_bytes))
    text = COMMON
    for number, (_, site, _, _) in enumerate(probes):
        caller = "PT_REGS_IP(ctx)" if site.is_return else "read_caller(ctx)"
        text += f"int on_{number}(struct pt_regs *ctx) {{ return add({number}, {caller}); }}\n"
    bpf = bcc.BPF(text=text)
    for number, (allocator, site, _, offset) in enumerate(probes):
        program = bpf.load_func(f"on_{number}", bpf.KPROBE)
        path = f"/proc/self/fd/{allocator.file_descriptor}".encode()
        name = f"count_{PID}_{number}".encode()
        attach = bcc.libbcc.lib.bpf_attach_uprobe
        if attach(program.fd, int(site.is_return), name, path, ctypes.c_uint64(offset), PID, 0) < 0:
            raise SystemExit(f"no probe on {site}")
    print("ready", flush=True)
    sys.stdin.readline()
    rows = []
    for key, count in bpf["counts"].items():
        _, site, place, _ = probes[key.probe]
        rows.append([site.function, site.program, place, key.caller, count.value])
    print(json.dumps(rows))


main()
