"""Trace a process's memory through the kernel: a client, and the service that has the privilege.

client.py       the notebook's side: Tracer, run_memleak
memory.py       the notebook's side: MemoryTracer, for page faults, brk and mmap
groups.py       the notebook's side: CappedGroup, a memory cgroup with a limit, and its swap
pressure.py     the notebook's side: PressureTracer, for reclaim, swapping and OOM kills
control.py      start and stop the service
protocol.py     what the two say to each other
service.py      the root side: one process per connection
permission.py   who may trace whom
session.py      one traced process: probes, totals; memory_session.py: page faults and calls;
                pressure_session.py: what a shortage of memory does to it
group_session.py  one capped group: capped_cgroup.py and swap_device.py make and remove it,
                holdings.py remembers what there is to remove, room.py says whether there is room
probes.py       which library, which instruction
program.py      the kernel side, as a session sees it; heap_program.py, memory_program.py and
                pressure_program.py: its kinds; formats.py: where a tracepoint's fields lie
compiler.py     bcc, in a process that ends with its work
bytecode.py     compiled functions, and how the kernel takes them
attach.py       put them on instructions and tracepoints
kernel.py       headers for bcc, in a mount namespace of the service's own
maps.py         read a BPF map in one call
memleak.py      bcc's own tool, run and parsed
programs/       the C that runs in the kernel
"""
