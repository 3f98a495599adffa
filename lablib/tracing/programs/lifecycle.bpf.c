/*
 * lifecycle.bpf.c - what becomes of the traced processes: threads end, children are made, programs
 * become other programs.
 */

#define IS_THREAD 0x00010000     /* CLONE_THREAD */
#define SHARES_MEMORY 0x00000100 /* CLONE_VM */

/* A thread that is gone leaves no state behind. */
int on_thread_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), inner;
	struct bpf_pidns_info ids = {};
	u32 zero = 0;
	struct session *now = session.lookup(&zero);
	struct fate *its_fate = fate.lookup(&zero);

	if (!now || !its_fate)
		return 0;
	if (is_target(now, &ids) && ids.pid == ids.tgid)
		its_fate->leader_is_gone = 1;
	calls.delete(&thread);
	mapping_calls.delete(&thread);
	for (u64 i = 1; i <= MAX_INTERRUPTIONS; i++) {
		inner = thread | i << 32;
		calls.delete(&inner);
	}
	return 0;
}

/* Another program in the same process: its memory is new, and so may be its owner. */
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct session *now = session.lookup(&zero);
	struct fate *its_fate = fate.lookup(&zero);
	struct process *followed;
	struct bpf_pidns_info ids = {};

	if (!now || !its_fate)
		return 0;
	followed = now->follows_forks ? find_followed(now) : NULL;
	if (followed)
		followed->has_executed = 1;
	if (is_target(now, &ids)) {
		if (!now->follows_forks)
			now->state = CLOSED;
		its_fate->has_executed = 1;
	}
	return 0;
}

/* A child of a followed process is followed from before its first instruction. */
int on_new_task(struct tracepoint__task__task_newtask *args)
{
	u32 zero = 0, child = args->pid;
	struct session *now = session.lookup(&zero);
	struct process *parent, made = {};

	if (!now || (args->clone_flags & IS_THREAD))
		return 0;
	parent = find_followed(now);
	if (!parent || parent->has_executed) {
		processes.delete(&child); /* an unrelated process with the number of one that was */
		return 0;
	}
	/* Made by vfork, what it does to the heap it does to its parent's. */
	made.number = args->clone_flags & SHARES_MEMORY ? parent->number
							: bpf_ktime_get_ns() << 22 | child;
	if (processes.update(&child, &made))
		count(LOST_PROCESSES_FULL);
	return 0;
}
