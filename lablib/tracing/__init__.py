"""Trace a process's heap through the kernel: a client, and the service that has the privilege.

client.py       the notebook's side: Tracer, run_memleak
control.py      start and stop the service
protocol.py     what the two say to each other
service.py      the root side: one process per connection
permission.py   who may trace whom
session.py      one traced process: probes, totals
probes.py       which library, which instruction
program.py      the kernel side, as a session sees it
compiler.py     bcc, in a process that ends with its work
bytecode.py     compiled functions, and how the kernel takes them
attach.py       put them on instructions and tracepoints
kernel.py       headers for bcc, in a mount namespace of the service's own
maps.py         read a BPF map in one call
memleak.py      bcc's own tool, run and parsed
programs/       the C that runs in the kernel
"""
