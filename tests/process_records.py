"""Records of a process and a machine, made by hand: what the tests of figures and panels draw."""

import dataclasses

from lablib.records import (
    EXCLUSIVE,
    FILE_OR_SHARED,
    PRESENT,
    SWAPPED,
    AddressSpace,
    CappedRun,
    CgroupMemory,
    Chunk,
    GroupEnd,
    GroupSample,
    GroupStep,
    HeapMap,
    Member,
    MemoryPressure,
    OomKill,
    PageFault,
    PressureShare,
    PressureTrace,
    ProcessSizes,
    ReclaimTotals,
    ResidentPages,
    Segment,
    Target,
    Vma,
    VmstatSample,
)

PAGE = 4096
KIB, MIB = 1 << 10, 1 << 20
PROGRAM = 0x5581_2000_0000
HEAP = 0x5581_2A31_2000
ARENA = 0x7F10_C000_0000
LIBC = 0x7F10_D9E0_0000
LOADER = 0x7F10_DA20_0000
STACK = 0x7FFC_9B10_0000


def whole(start, size, kind, owner, rss=0, permissions="rw-p", path="", **more):
    """A segment that is a VMA of its own."""
    vma = Vma(start, start + size, permissions, path=path, rss_bytes=rss, pss_bytes=rss)
    name = path.rsplit("/", 1)[-1] if path.startswith("/") else ""
    return Segment(start, start + size, kind, owner, vma, name=name, **more)


def make_space(heap_bytes=132 * KIB, heap_rss=8 * KIB, pid=812):
    """A process with a thread: 22 segments, of which .data and .bss share a VMA."""
    exe, libc, loader = "/srv/app", "/lib/libc.so.6", "/lib/ld-linux-x86-64.so.2"
    kernel, linker = "the kernel, at exec", "the dynamic linker"
    writable = Vma(
        PROGRAM + 4 * PAGE, PROGRAM + 6 * PAGE, "rw-p", path=exe, rss_bytes=PAGE, pss_bytes=PAGE
    )
    bss_start = writable.start + 0x90
    segments = [
        whole(PROGRAM, PAGE, "read_only", kernel, PAGE, "r--p", exe),
        whole(PROGRAM + PAGE, 2 * PAGE, "text", kernel, 2 * PAGE, "r-xp", exe),
        whole(PROGRAM + 3 * PAGE, PAGE, "read_only", kernel, PAGE, "r--p", exe),
        Segment(writable.start, bss_start, "data", kernel, writable, "app", ".data"),
        Segment(bss_start, writable.end, "bss", kernel, writable, "app", ".bss"),
        whole(HEAP, heap_bytes, "heap", "malloc, by brk", heap_rss, path="[heap]"),
        whole(ARENA, 132 * KIB, "arena", "malloc, for a thread", 12 * KIB, is_inferred=True),
        whole(ARENA + 132 * KIB, 64 * MIB - 132 * KIB, "reserved", "malloc", 0, "---p"),
        whole(LIBC - 80 * MIB, PAGE, "guard", "pthread_create", 0, "---p"),
        whole(LIBC - 80 * MIB + PAGE, 8 * MIB, "thread_stack", "pthread_create", 16 * KIB),
        whole(LIBC - 64 * MIB, 64 * MIB, "anonymous", "the program, by mmap", 24 * MIB),
        whole(LIBC, 160 * KIB, "library", linker, 160 * KIB, "r--p", libc),
        whole(LIBC + 160 * KIB, 1400 * KIB, "library", linker, 900 * KIB, "r-xp", libc),
        whole(LIBC + 1560 * KIB, 340 * KIB, "library", linker, 128 * KIB, "r--p", libc),
        whole(LIBC + 1900 * KIB, 24 * KIB, "library", linker, 24 * KIB, "rw-p", libc),
        whole(LOADER - 64 * KIB, 16 * KIB, "shared", "the program, by mmap", PAGE, "rw-s"),
        whole(LOADER, 160 * KIB, "loader", kernel, 152 * KIB, "r-xp", loader),
        whole(LOADER + 160 * KIB, 16 * KIB, "loader", kernel, 16 * KIB, "rw-p", loader),
        whole(STACK, 132 * KIB, "stack", kernel, 12 * KIB, path="[stack]"),
        whole(STACK + 528 * KIB, 16 * KIB, "kernel", kernel, 0, "r--p", "[vvar]"),
        whole(STACK + 544 * KIB, 8 * KIB, "vdso", kernel, PAGE, "r-xp", "[vdso]"),
        whole(0xFFFF_FFFF_FF60_0000, PAGE, "kernel", kernel, 0, "--xp", "[vsyscall]"),
    ]
    return AddressSpace(pid, "./app", tuple(segments))


def make_pages(start=HEAP, present=8, total=33):
    """Pages of which the first are in memory, one of them of a file, and the last is in swap."""
    flags = [PRESENT | EXCLUSIVE] * (present - 1) + [PRESENT | FILE_OR_SHARED]
    flags += [0] * (total - present - 1) + [SWAPPED]
    return ResidentPages(start, PAGE, bytes(flags))


def make_sizes(count=20, interval_s=0.1):
    """A process that promises 256 MiB at once and pays 2 MiB more each time."""
    return [
        ProcessSizes(
            elapsed_s=index * interval_s,
            vm_size_bytes=260 * MIB if index >= 3 else 4 * MIB,
            rss_bytes=(2 + 2 * index) * MIB,
            pss_bytes=(1 + 2 * index) * MIB,
            swap_bytes=0,
            rss_anon_bytes=2 * index * MIB,
            rss_file_bytes=2 * MIB,
            rss_shared_bytes=0,
            stack_bytes=132 * KIB,
            page_table_bytes=60 * KIB,
            minor_faults=100 + 512 * index,
            major_faults=0,
        )
        for index in range(count)
    ]


def make_heap_map():
    """A heap of 132 KiB: 40 blocks used, every second one of 16 behind them free, and the top."""
    start, end = HEAP, HEAP + 132 * KIB
    chunks, at = [], start
    sizes = [0x290] + [0x410] * 40 + [0x210] * 16
    for index, size in enumerate(sizes):
        is_free = index > 40 and index % 2
        state = "used" if not is_free else "cached" if index < 48 else "free"
        chunks.append(Chunk(at, size, state))
        at += size
    chunks.append(Chunk(at, end - at, "top"))
    return HeapMap.of(start, end, chunks)


def make_faults():
    """First writes to ten pages, two reads, and a copy-on-write that came thrice."""
    faults = [PageFault(HEAP + i * PAGE, True, False, False, False, 1, 0.1 * i) for i in range(10)]
    faults += [PageFault(HEAP + i * PAGE, False, False, False, True, 1, 1.5) for i in (12, 13)]
    faults.append(PageFault(HEAP + 2 * PAGE, True, False, True, False, 3, 2.0))
    return faults


def make_vmstat(free_mib, interval_s=1.0, **changes):
    """A sample a second with this much free memory; `changes` are lists of MiB by field's name."""
    return [
        VmstatSample(
            elapsed_s=index * interval_s,
            free_bytes=int(free * MIB),
            **{
                **dict.fromkeys(_OTHER_FIELDS, 0),
                **{name: int(values[index] * MIB) for name, values in changes.items()},
            },
        )
        for index, free in enumerate(free_mib)
    ]


_OTHER_FIELDS = {
    field.name for field in dataclasses.fields(VmstatSample) if field.default is dataclasses.MISSING
} - {"elapsed_s", "free_bytes"}


def make_member(name="eater", rss=40 * MIB, swap=0, adj=0, pid=812):
    """A process with page tables of 100 KiB."""
    return Member(name, pid, rss, swap, 100 * KIB, adj, 666 + adj // 3)


def make_group_sample(
    index, anon=0, file=0, swap=0, hits=0, kills=0, waited_s=0.0, has_pressure=True, **more
):
    """A group with 64 MiB of RAM and 32 of swap, on a machine with 64 MiB of swap."""
    share = PressureShare(0, 0, 0, waited_s)
    memory = CgroupMemory(
        elapsed_s=index * 0.2,
        path="/sys/fs/cgroup/lab",
        version=2,
        process_count=1,
        usage_bytes=anon + file,
        limit_bytes=more.pop("limit", 64 * MIB),
        peak_bytes=None,
        swap_bytes=swap,
        swap_limit_bytes=more.pop("swap_limit", 32 * MIB),
        limit_hits=hits,
        ooms=kills,
        oom_kills=kills,
        anon_bytes=anon,
        file_bytes=file,
        shmem_bytes=0,
        page_faults=0,
        major_faults=0,
    )
    pressure = MemoryPressure(share, share) if has_pressure else None
    return GroupSample(
        elapsed_s=index * 0.2,
        memory=memory,
        pressure=pressure,
        is_pressure_of_machine=False,
        swap_total_bytes=64 * MIB,
        swap_free_bytes=64 * MIB - swap,
        swapped_in_bytes=0,
        swapped_out_bytes=swap,
        **more,
    )


def make_group(count=40, **more):
    """20 MiB of a file, then 4 MiB of anonymous memory a sample: reclaim, swap, and an OOM kill."""
    samples, hits, waited_s = [], 0, 0.0
    for index in range(count):
        taken = min(4 * index, 96) * MIB
        anon = min(taken, 64 * MIB)
        file = max(0, min(20 * MIB, 64 * MIB - anon))
        swap = taken - anon
        is_over = 4 * index > 96
        hits += taken + 20 * MIB > 64 * MIB and not is_over
        waited_s += 0.1 if swap and not is_over else 0
        held = (0, 0, 0) if is_over else (anon, file, swap)
        samples.append(make_group_sample(index, *held, hits, int(is_over), waited_s, **more))
    return samples


def make_run(source="live"):
    """Small asks for the last page, and large is killed for it; then small as well."""
    large, small = make_member("large", 38 * MIB), make_member("small", 25 * MIB, adj=100, pid=813)
    sample = make_group_sample(0, anon=63 * MIB, members=(large, small))
    trace = PressureTrace(
        source="ebpf",
        kernel="6.1.0",
        target=Target(0, "/sys/fs/cgroup/lab"),
        seconds=1.0,
        oom_kills=(OomKill(0.5, 812, "eater", 667, 0), OomKill(0.6, 813, "eater", 700, 100)),
        memcg_reclaim=ReclaimTotals(3, 0.01, 0.005, 100, 90, 90),
        direct_reclaim=ReclaimTotals(),
        by_limit=ReclaimTotals(),
        major_faults=2,
        page_bytes=PAGE,
    )
    answer = {"pages": 100, "major_faults": 4032, "microseconds": 74_800}
    steps = (
        GroupStep(0.05, 0.1, "reader read 40", {"bytes": 40 * MIB, "checksum": 6}),
        GroupStep(0.3, 0.01, "small grow 16", {"rate": 16}),
        GroupStep(0.4, 0.075, "small touch 20", answer),
    )
    ends = (GroupEnd(0.61, "small", 813, "SIGKILL"), GroupEnd(0.62, "large", 812, "SIGKILL"))
    return CappedRun(source, "6.1.0", "no swap", (sample,), steps, ends, trace)
