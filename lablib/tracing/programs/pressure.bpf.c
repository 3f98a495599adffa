/*
 * pressure.bpf.c - what a shortage of memory does to some processes: they take pages back before
 * they get one, they wait for those that were swapped out, one of them is killed.
 *
 * Whoever needs a page that is not there takes others back first, in its own context: so what
 * happens between the begin and the end of a reclaim is that thread's. The limit of a cgroup is
 * lowered in the context of whoever writes it, the service: that is a reclaim of its own kind. What
 * the kernel's own threads (kswapd) take back is nobody's, and not in here.
 *
 * Where fields lie in a tracepoint's record is read from its format (formats.py) and given by -D;
 * 0 where this kernel has no such field.
 */

/* How a process belongs to a session. */
enum role { NO_ROLE, MEMBER, LIMITER };

/* protocol.py's RECLAIM_KINDS and RECLAIM_FIELDS; a total's place is kind * FIELDS + field. */
enum reclaim_kind { MEMCG_RECLAIM, DIRECT_RECLAIM, BY_LIMIT, RECLAIM_KINDS };
enum reclaim_field {
	RECLAIM_COUNT,
	RECLAIM_NS,
	LONGEST_NS,
	RECLAIMED_PAGES,
	WRITTEN_PAGES,
	SWAPPED_OUT_PAGES,
	RECLAIM_FIELDS,
};

#define MAJOR_FAULTS_SEEN (RECLAIM_KINDS * RECLAIM_FIELDS)
#define PRESSURE_TOTALS (MAJOR_FAULTS_SEEN + 1)
#define WRITES_ANONYMOUS 1 /* RECLAIM_WB_ANON, in the tracepoint's reclaim_flags */

struct member {
	u32 tgid; /* in the service's pid namespace; 0 until its first event */
	u32 role;
};

struct reclaim_begin {
	u64 began_ns;
	u64 kind;
};

/* protocol.py's VICTIM_FIELDS; sizes in KiB, ~0 where the kernel does not tell. */
struct victim {
	u64 tgid;
	u64 time_ns;
	u64 vm_kib;
	u64 anon_kib;
	u64 file_kib;
	u64 shared_kib;
};

BPF_TABLE("hash", u32, u32, pressure_roles, MAX_MEMBERS);             /* by the service's tgid */
BPF_TABLE("hash", u32, struct member, pressure_members, MAX_MEMBERS); /* by the kernel's tgid */
BPF_TABLE("hash", u64, struct reclaim_begin, reclaims, MAX_THREADS);
BPF_TABLE("hash", u32, struct victim, victims, MAX_MEMBERS); /* by the kernel's tgid */
BPF_TABLE("percpu_array", u32, u64, pressure_totals, PRESSURE_TOTALS);

static __always_inline void add_to_total(u32 place, u64 value)
{
	u64 *total = pressure_totals.lookup(&place);

	if (total)
		*total += value;
}

/* The current process's entry, made at its first event; NULL if it is not of this session. */
static __always_inline struct member *find_member(struct session *now)
{
	u32 kernel_tgid = bpf_get_current_pid_tgid() >> 32, *role;
	struct member *found = pressure_members.lookup(&kernel_tgid), made = {};
	struct bpf_pidns_info ids = {};

	if (found && found->tgid)
		return found;
	is_target(now, &ids);
	if (found) {
		found->tgid = ids.tgid;
		return found;
	}
	made.tgid = ids.tgid;
	role = pressure_roles.lookup(&made.tgid);
	if (!role)
		return NULL;
	made.role = *role;
	pressure_members.update(&kernel_tgid, &made);
	return pressure_members.lookup(&kernel_tgid);
}

static __always_inline int begin_reclaim(u64 kind)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct reclaim_begin begin = { bpf_ktime_get_ns(), kind };
	struct session *now = find_session();
	struct member *member;

	if (!now || !(member = find_member(now)))
		return 0;
	if (member->role == LIMITER) {
		if (kind != MEMCG_RECLAIM)
			return 0; /* the service itself is short of memory */
		begin.kind = BY_LIMIT;
	}
	if (reclaims.update(&thread, &begin))
		count(LOST_THREADS_FULL);
	return 0;
}

int on_memcg_reclaim_begin(struct bpf_raw_tracepoint_args *ctx)
{
	return begin_reclaim(MEMCG_RECLAIM);
}

int on_direct_reclaim_begin(struct bpf_raw_tracepoint_args *ctx)
{
	return begin_reclaim(DIRECT_RECLAIM);
}

/* The end of either kind: a thread is in one at a time. */
int on_reclaim_end(struct bpf_raw_tracepoint_args *ctx)
{
	u64 thread = (u32)bpf_get_current_pid_tgid(), *longest, lasted_ns;
	struct reclaim_begin *begin = reclaims.lookup(&thread);
	u32 first, longest_place;

	if (!begin)
		return 0;
	lasted_ns = bpf_ktime_get_ns() - begin->began_ns;
	first = (u32)begin->kind * RECLAIM_FIELDS;
	longest_place = first + LONGEST_NS;
	add_to_total(first + RECLAIM_COUNT, 1);
	add_to_total(first + RECLAIM_NS, lasted_ns);
	add_to_total(first + RECLAIMED_PAGES, ctx->args[0]);
	longest = pressure_totals.lookup(&longest_place);
	if (longest && *longest < lasted_ns)
		*longest = lasted_ns;
	reclaims.delete(&thread);
	return 0;
}

#if WRITE_FLAGS_OFFSET
int on_reclaim_write(void *record)
{
	u64 thread = (u32)bpf_get_current_pid_tgid();
	struct reclaim_begin *begin = reclaims.lookup(&thread);
	u32 flags = *(u32 *)(record + WRITE_FLAGS_OFFSET);

	if (!begin)
		return 0;
	add_to_total((u32)begin->kind * RECLAIM_FIELDS + WRITTEN_PAGES, 1);
	if (flags & WRITES_ANONYMOUS)
		add_to_total((u32)begin->kind * RECLAIM_FIELDS + SWAPPED_OUT_PAGES, 1);
	return 0;
}
#else
int on_reclaim_write(void *record)
{
	return 0;
}
#endif

int on_waiting_fault(struct bpf_perf_event_data *ctx)
{
	struct session *now = find_session();
	struct member *member;

	if (now && (member = find_member(now)) && member->role == MEMBER)
		add_to_total(MAJOR_FAULTS_SEEN, 1);
	return 0;
}

#if VICTIM_PID_OFFSET
#define READ_VICTIM(offset) ((offset) ? *(u64 *)(record + ((offset) ?: 8)) : ~0ULL)

/*
 * The number is the process's; that of one of its threads where that thread asks for memory while
 * its process is being killed. A process is killed once, whatever it asks for then.
 */
int on_victim(void *record)
{
	u64 ids = bpf_get_current_pid_tgid();
	u32 pid = *(u32 *)(record + VICTIM_PID_OFFSET), tgid = pid == (u32)ids ? ids >> 32 : pid;
	struct session *now = find_session();
	struct member *member;
	struct victim victim = {};
	u32 *role;

	if (!now)
		return 0;
	if (tgid == ids >> 32)
		find_member(now);
	member = pressure_members.lookup(&tgid);
	if (member) {
		victim.tgid = member->tgid;
		if (member->role != MEMBER)
			return 0;
	} else {
		role = pressure_roles.lookup(&tgid);
		if (PID_NAMESPACE_INODE != FIRST_PID_NAMESPACE_INODE || !role || *role != MEMBER)
			return 0;
		victim.tgid = tgid;
	}
	victim.time_ns = bpf_ktime_get_ns();
	victim.vm_kib = READ_VICTIM(VICTIM_VM_OFFSET);
	victim.anon_kib = READ_VICTIM(VICTIM_ANON_OFFSET);
	victim.file_kib = READ_VICTIM(VICTIM_FILE_OFFSET);
	victim.shared_kib = READ_VICTIM(VICTIM_SHARED_OFFSET);
	if (!victims.insert(&tgid, &victim))
		return 0;
	if (!victims.lookup(&tgid))
		count(LOST_PROCESSES_FULL);
	return 0;
}
#else
int on_victim(void *record)
{
	return 0;
}
#endif

/* A member's child is a member. bcc defines the event's struct for on_new_task. */
int on_member_s_child(void *record)
{
	struct tracepoint__task__task_newtask *args = record;
	u32 child = args->pid;
	struct session *now = find_session();
	struct member *parent, made = { .role = MEMBER };

	if (!now || (args->clone_flags & IS_THREAD))
		return 0;
	parent = find_member(now);
	if (!parent || parent->role != MEMBER)
		return 0;
	if (PID_NAMESPACE_INODE == FIRST_PID_NAMESPACE_INODE)
		made.tgid = child;
	if (pressure_members.update(&child, &made))
		count(LOST_PROCESSES_FULL);
	return 0;
}

/* Its number may be another's from now on. One that the service knows comes back if it still is. */
int on_member_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 ids = bpf_get_current_pid_tgid();
	u32 tgid = ids >> 32;

	if (tgid == (u32)ids)
		pressure_members.delete(&tgid);
	return 0;
}
