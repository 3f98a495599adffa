/*
 * mappings.bpf.c - what the process maps by itself: mmap, mremap, munmap, from whatever code.
 *
 * Seen at the system calls, so that nobody who doesn't ask libc is missed. A munmap may cover parts
 * of several mappings; so these programs only report, in order, and the service keeps the ledger.
 * What the allocator maps and unmaps for one large block is that block, and not reported.
 */
#include <linux/mman.h>

enum mapping_kind { MAP, UNMAP, UNMAP_FAILED };
enum mapping_class { MAPPING, THREAD_STACK, ARENA, FILE_MAPPING };

#ifndef MAP_STACK
#define MAP_STACK 0x20000
#endif

struct mapping_event_key {
	u64 time_ns;
	u64 thread;
};

/* Read by session.py, whose EVENT_KINDS are `kind`. */
struct mapping_event {
	u64 kind;
	u64 process;
	u64 address;
	u64 length_bytes;
	u64 stack_id;
	u64 mapping_class;
};

struct mapping_call {
	u64 process;
	u64 flags;
	u64 length_bytes;
	u64 old_address; /* mremap only, as the old length */
	u64 old_length_bytes;
	u64 is_for_block; /* it is the allocator's way to get one large block */
	u64 is_in_call;   /* made inside an allocator's call */
	struct stack_copy copy;
	struct stack fresh;
};

BPF_TABLE("array", u32, struct mapping_call, blank_mapping_call, 1);
BPF_F_TABLE("hash", u64, struct mapping_call, mapping_calls, MAX_THREADS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct mapping_event_key, struct mapping_event, mapping_events,
	MAX_MAPPING_EVENTS, BPF_F_NO_PREALLOC);

static __always_inline void report(struct mapping_event *event)
{
	struct mapping_event_key key = { bpf_ktime_get_ns(), (u32)bpf_get_current_pid_tgid() };

	if (mapping_events.insert(&key, event))
		count(LOST_MAPPINGS_FULL);
}

/* Whether a range is what the allocator holds for one block and no more. */
static __always_inline int is_for_one_block(u64 length_bytes, u64 block_bytes)
{
	return length_bytes >= block_bytes && length_bytes - block_bytes <= 2 * PAGE_BYTES;
}

/* Open a transaction for a new mapping; NULL when it is none of ours or can't be recorded. */
static __always_inline struct mapping_call *enter_mapping(u64 length_bytes, u64 flags)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), process;
	struct session *now = find_session();
	struct mapping_call *mapping, *blank;
	struct call *call;
	u32 zero = 0;

	if (!now || now->state != OPEN || !is_traced(now, 1, &process))
		return NULL;
	blank = blank_mapping_call.lookup(&zero);
	if (blank)
		mapping_calls.insert(&thread, blank);
	mapping = mapping_calls.lookup(&thread);
	if (!mapping) {
		count(LOST_THREADS_FULL);
		return NULL;
	}
	call = find_call(thread);
	mapping->process = process;
	mapping->flags = flags;
	mapping->length_bytes = length_bytes;
	mapping->is_in_call = call && call->kind != NO_CALL;
	mapping->is_for_block =
		mapping->is_in_call && is_for_one_block(length_bytes, call->size_bytes);
	return mapping;
}

/* MAP_STACK and the allocator's calls give a mapping away; else it is the program's own. */
static __always_inline u64 classify(struct session *now, struct mapping_call *mapping)
{
	if (mapping->is_in_call)
		return ARENA;
	if (mapping->flags & MAP_STACK)
		return THREAD_STACK;
	if (!(mapping->flags & MAP_ANONYMOUS))
		return FILE_MAPPING;
	/* The first frame is that of mmap itself, or of whoever made the system call. */
	if (mapping->fresh.depth > 1 && is_in_allocator(now, mapping->fresh.frames[1]))
		return ARENA;
	return MAPPING;
}

static __always_inline void report_unmapped(u64 kind, u64 process, u64 address, u64 length_bytes)
{
	struct mapping_event event = {
		.kind = kind, .process = process, .address = address, .length_bytes = length_bytes
	};
	report(&event);
}

/* Whether a munmap is the allocator's way to free the block that this thread freed last. */
static __always_inline int is_part_of_free(u64 address, u64 length_bytes)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct call *first = calls.lookup(&thread);

	return first && first->freed_address >= address &&
	       first->freed_address - address < length_bytes &&
	       is_for_one_block(length_bytes, first->freed_bytes);
}

int on_mmap_enter(struct call_enter *args)
{
	enter_mapping(args->arguments[1], args->arguments[3]);
	return 0;
}

int on_mremap_enter(struct call_enter *args)
{
	struct mapping_call *mapping = enter_mapping(args->arguments[2], MAP_ANONYMOUS);

	if (mapping && !mapping->is_for_block) {
		mapping->old_address = args->arguments[0];
		mapping->old_length_bytes = args->arguments[1];
		report_unmapped(
			UNMAP, mapping->process, mapping->old_address, mapping->old_length_bytes);
	}
	return 0;
}

static __always_inline void report_mapped(
	struct session *now, struct mapping_call *mapping, u64 address)
{
	struct mapping_event event = { .kind = MAP };
	struct registers own = {};

	if (read_own_registers(&own)) {
		count(LOST_UNREADABLE);
		return;
	}
	event.stack_id =
		walk_stack(now, &own, mapping->process, 1, &mapping->copy, &mapping->fresh);
	if (find_or_add_stack(event.stack_id, &mapping->fresh) < 0) {
		count(LOST_STACKS_FULL);
		return;
	}
	event.process = mapping->process;
	event.address = address;
	event.length_bytes = mapping->length_bytes;
	event.mapping_class = classify(now, mapping);
	report(&event);
}

int on_map_exit(struct call_exit *args) /* of mmap and of mremap */
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct mapping_call *mapping = mapping_calls.lookup(&thread);
	struct session *now = find_session();

	if (!mapping)
		return 0;
	if (args->result < 0) {
		count(FAILED_MAPPINGS);
		if (mapping->old_length_bytes)
			report_unmapped(UNMAP_FAILED, mapping->process, 0, 0);
	} else if (now && !mapping->is_for_block) {
		report_mapped(now, mapping, args->result);
	}
	mapping_calls.delete(&thread);
	return 0;
}

int on_munmap_enter(struct call_enter *args)
{
	struct session *now = find_session();
	u64 process;

	if (now && is_traced(now, 1, &process) &&
		!is_part_of_free(args->arguments[0], args->arguments[1]))
		report_unmapped(UNMAP, process, args->arguments[0], args->arguments[1]);
	return 0;
}

int on_munmap_exit(struct call_exit *args)
{
	struct session *now = find_session();
	u64 process;

	if (args->result < 0 && now && is_traced(now, 1, &process))
		report_unmapped(UNMAP_FAILED, process, 0, 0);
	return 0;
}
