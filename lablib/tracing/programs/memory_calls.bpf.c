/*
 * memory_calls.bpf.c - the system calls by which an address space grows and shrinks, one by one:
 * what was asked for, what came of it, who asked.
 *
 * A call is recorded at its exit. An exit without an entry, or an entry without an exit, is counted
 * as lost: the kernel leaves out a tracepoint's program where it comes in another's way.
 */

enum memory_call_name { BRK, MMAP, MUNMAP, MREMAP }; /* MEMORY_CALLS in lablib.records */

struct memory_call_begin {
	u64 is_under_way;
	u64 time_ns;
	u64 name;
	u64 address;
	u64 length_bytes;
};

struct memory_call_key {
	u64 time_ns; /* of its entry */
	u64 thread;
};

/* protocol.py's CALL_FIELDS are the words of the key and of this. */
struct memory_call {
	u64 name;
	u64 address;
	u64 length_bytes; /* of brk: the break before it, 0 if that was not seen */
	s64 result;
	u64 stack_id;
};

struct memory_call_walk {
	struct stack_copy copy;
	struct stack fresh;
};

BPF_F_TABLE(
	"hash", u64, struct memory_call_begin, memory_call_begins, MAX_THREADS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct memory_call_key, struct memory_call, memory_calls, MAX_MEMORY_CALLS,
	BPF_F_NO_PREALLOC);
BPF_TABLE("array", u32, u64, last_break, 1); /* since the tracepoints are attached */
BPF_TABLE("percpu_array", u32, struct memory_call_walk, memory_call_walk, 1);

static __always_inline int begin_call(u64 name, u64 address, u64 length_bytes)
{
	struct memory_call_begin begin = { 1, bpf_ktime_get_ns(), name, address, length_bytes };
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct memory_call_begin *former;
	struct bpf_pidns_info ids = {};
	struct session *now;
	u32 zero = 0;

	now = session.lookup(&zero);
	if (!now || !is_target(now, &ids))
		return 0;
	former = memory_call_begins.lookup(&thread);
	if (former && former->is_under_way)
		count(LOST_UNMATCHED);
	if (memory_call_begins.update(&thread, &begin))
		count(LOST_THREADS_FULL);
	return 0;
}

int on_brk_call(struct call_enter *args)
{
	return begin_call(BRK, args->arguments[0], 0);
}

int on_mmap_call(struct call_enter *args)
{
	return begin_call(MMAP, args->arguments[0], args->arguments[1]);
}

int on_munmap_call(struct call_enter *args)
{
	return begin_call(MUNMAP, args->arguments[0], args->arguments[1]);
}

int on_mremap_call(struct call_enter *args)
{
	return begin_call(MREMAP, args->arguments[0], args->arguments[2]);
}

/* The break before this call, 0 where it was not seen; from now on it is `address`. */
static __always_inline u64 exchange_break(u64 address)
{
	u64 *kept, former = 0;
	u32 zero = 0;

	kept = last_break.lookup(&zero);
	if (kept) {
		former = *kept;
		*kept = address;
	}
	return former;
}

static __always_inline void record_call(
	struct session *now, struct memory_call_key *key, struct memory_call *call)
{
	struct memory_call_walk *walk;
	struct registers own = {};
	u32 zero = 0;

	walk = memory_call_walk.lookup(&zero);
	if (!walk || read_own_registers(&own)) {
		count(LOST_UNREADABLE);
		return;
	}
	call->stack_id = walk_stack(now, &own, 0, 0, &walk->copy, &walk->fresh);
	if (find_or_add_stack(call->stack_id, &walk->fresh) < 0) {
		count(LOST_STACKS_FULL);
		return;
	}
	if (memory_calls.insert(key, call))
		count(LOST_CALLS_FULL);
}

int on_memory_call_exit(struct call_exit *args)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct memory_call_begin *begin = memory_call_begins.lookup(&thread);
	struct memory_call call = { .result = args->result };
	struct memory_call_key key = {};
	struct bpf_pidns_info ids = {};
	struct session *now;
	u32 zero = 0;

	now = session.lookup(&zero);
	if (!begin || !now || !is_target(now, &ids))
		return 0; /* or it began before the tracing */
	if (!begin->is_under_way) {
		count(LOST_UNMATCHED);
		return 0;
	}
	begin->is_under_way = 0;
	call.name = begin->name;
	call.address = begin->address;
	call.length_bytes = begin->name == BRK ? exchange_break(args->result) : begin->length_bytes;
	key.time_ns = begin->time_ns;
	key.thread = ids.pid;
	if (now->state == OPEN)
		record_call(now, &key, &call);
	return 0;
}

/* A thread that is gone leaves no state behind. */
int on_memory_thread_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();

	thread_faults.delete(&thread);
	memory_call_begins.delete(&thread);
	return 0;
}
