"""Trace a process's memory through the kernel: a client, and the service that has the privilege.

client.py       the notebook's side: Tracer, run_memleak
memory.py       the notebook's side: MemoryTracer, for page faults, brk and mmap
control.py      start and stop the service
protocol.py     what the two say to each other
service.py      the root side: one process per connection
permission.py   who may trace whom
session.py      one traced process: probes, totals; memory_session.py: page faults and calls
probes.py       which library, which instruction
program.py      the kernel side, as a session sees it; heap_program.py, memory_program.py: its kinds
compiler.py     bcc, in a process that ends with its work
bytecode.py     compiled functions, and how the kernel takes them
attach.py       put them on instructions and tracepoints
kernel.py       headers for bcc, in a mount namespace of the service's own
maps.py         read a BPF map in one call
memleak.py      bcc's own tool, run and parsed
programs/       the C that runs in the kernel
"""
