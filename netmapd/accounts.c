/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of bounds, and an account for each user. */
#include "accounts.h"
#include "region.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

struct account {
	struct nm_quota quota; /* first */
	struct account *next;
	uid_t uid;
	uint32_t refs;
	struct loop_budget budget;
	uint64_t used[LIMITS];
};

/* Without accounts_init() there is no bound of memory and descriptors. */
static struct bound {
	uint64_t user, all;
	uint64_t used, refused;
	bool changed; /* by accounts_change() */
} bounds[LIMITS] = {
	[NM_RES_PORTS] = {4096, 16384},
	[NM_RES_RINGS] = {16384, 65536},
	[NM_RES_SLOTS] = {1 << 22, 1 << 24},
	[NM_RES_EXTRA] = {1 << 19, 1 << 22},
	[NM_RES_MEMORY] = {UINT64_MAX, UINT64_MAX},
	[NM_RES_EXTMEM] = {64 * GIB, 1024 * GIB},
	[NM_RES_SWITCHES] = {256, 1024},
	[LIMIT_CONNECTIONS] = {1024, 4096},
	[LIMIT_MACHINES] = {256, 1024},
	[LIMIT_DMA_RANGES] = {1 << 17, 1 << 19},
	[LIMIT_DESCRIPTORS] = {UINT64_MAX, UINT64_MAX},
	[LIMIT_REQUESTS] = {256, 1024},
};

static struct account *users;

/* Bounds of single users. */
static struct exception {
	struct exception *next;
	uid_t uid;
	uint32_t what;
	uint64_t most;
} * exceptions;

/* ---- taking and giving --------------------------------------------------------------------- */

static const char *write_amount(uint32_t what, uint64_t amount, char text[32])
{
	if (bound_is_bytes(what))
		snprintf(text, 32, "%llu MiB", (unsigned long long)((amount + MIB - 1) / MIB));
	else
		snprintf(text, 32, "%llu", (unsigned long long)amount);
	return text;
}

/* Of what a user has, all have, and that is asked for. */
struct shortage {
	uint32_t what;
	const char *whose;
	uint64_t used, limit, amount;
};

static int refuse(const struct shortage *s, const char *remedy, struct nm_error *err)
{
	char have[32], most[32], more[32];

	bounds[s->what].refused++;
	return nm_error_set(err, -EDQUOT, "%s: %s %s of at most %s, and %s more are asked for; %s",
		bound_name(s->what), s->whose, write_amount(s->what, s->used, have),
		write_amount(s->what, s->limit, most), write_amount(s->what, s->amount, more),
		remedy);
}

/* What raises the bound of a user, which may be his own, or of all. */
static int refuse_user(const struct account *user, uint32_t what, uint64_t amount, uint64_t most,
	bool own, struct nm_error *err)
{
	unsigned uid = (unsigned)user->uid;
	char whose[40], remedy[120];

	snprintf(whose, sizeof(whose), "user %u has", uid);
	if (own)
		snprintf(remedy, sizeof(remedy),
			"that is a limit of netmapd's policy: 'limit user %u %s=N' there raises it",
			uid, bound_name(what));
	else
		snprintf(remedy, sizeof(remedy), "netmapd --max %s=%s raises that",
			bound_name(what), most == bounds[what].all ? "N/ALL" : "N");
	return refuse(&(struct shortage){what, whose, user->used[what], most, amount}, remedy, err);
}

static int refuse_all(uint32_t what, uint64_t amount, struct nm_error *err)
{
	const struct bound *b = &bounds[what];
	char remedy[80];

	snprintf(remedy, sizeof(remedy), "netmapd --max %s=N/ALL raises that", bound_name(what));
	return refuse(
		&(struct shortage){what, "all users have", b->used, b->all, amount}, remedy, err);
}

static bool is_over(uint64_t used, uint64_t amount, uint64_t limit)
{
	return used > limit || amount > limit - used;
}

static const struct exception *find_exception(uid_t uid, uint32_t what)
{
	const struct exception *e = exceptions;

	while (e && (e->uid != uid || e->what != what))
		e = e->next;
	return e;
}

static uint64_t most_of(uid_t uid, uint32_t what)
{
	const struct exception *own = find_exception(uid, what);

	return own ? own->most : bounds[what].user;
}

static int take(struct nm_quota *quota, uint32_t what, uint64_t amount, struct nm_error *err)
{
	struct account *user = (struct account *)quota;
	struct bound *b = &bounds[what];
	uint64_t most;

	os_assert(what < LIMITS);
	most = most_of(user->uid, what);
	if (is_over(user->used[what], amount, most))
		return refuse_user(
			user, what, amount, most, find_exception(user->uid, what) != NULL, err);
	if (is_over(b->used, amount, b->all))
		return refuse_all(what, amount, err);
	user->used[what] += amount;
	b->used += amount;
	return 0;
}

static bool is_empty(const struct account *user)
{
	for (int i = 0; i < LIMITS; i++)
		if (user->used[i])
			return false;
	return user->refs == 0 && user->budget.us >= 0;
}

/* Not before somebody else comes: a connection's budget outlives it, and who comes again has not got a new one. */
static void free_empty(void)
{
	struct account **link = &users, *user;

	while ((user = *link)) {
		if (!is_empty(user)) {
			link = &user->next;
			continue;
		}
		*link = user->next;
		free(user);
	}
}

static void give(struct nm_quota *quota, uint32_t what, uint64_t amount)
{
	struct account *user = (struct account *)quota;

	os_assert(what < LIMITS && user->used[what] >= amount && bounds[what].used >= amount);
	user->used[what] -= amount;
	bounds[what].used -= amount;
}

/* ---- users --------------------------------------------------------------------------------- */

struct account *account_get(uid_t uid, struct nm_error *err)
{
	struct account *user = users;

	while (user && user->uid != uid)
		user = user->next;
	if (!user) {
		free_empty();
		user = calloc(1, sizeof(*user));
		if (!user) {
			nm_error_set(err, -ENOMEM, "netmapd is out of memory");
			return NULL;
		}
		user->quota = (struct nm_quota){.take = take, .give = give};
		user->uid = uid;
		user->next = users;
		users = user;
	}
	user->refs++;
	return user;
}

void account_put(struct account *user)
{
	if (!user)
		return;
	os_assert(user->refs > 0);
	user->refs--;
}

struct loop_budget *account_budget(struct account *user)
{
	return &user->budget;
}

struct nm_quota *account_quota(struct account *user)
{
	return &user->quota;
}

uid_t account_uid(const struct account *user)
{
	return user->uid;
}

uint32_t accounts_payer(const struct nm_quota *quota)
{
	return quota ? ((const struct account *)quota)->uid : NM_USER_ANY;
}

/* ---- bounds of the machine ----------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A number in a file; what is none ("max", no such file): no bound. */
static uint64_t read_bound(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long long value = UINT64_MAX;

	if (!file)
		return UINT64_MAX;
	/* NOLINTNEXTLINE(cert-err34-c): the kernel writes no number that is too large */
	if (fscanf(file, "%llu", &value) != 1)
		value = UINT64_MAX;
	fclose(file);
	return value;
}

/* The smallest memory bound from a control group up to the root. `line`: of /proc/self/cgroup, cut to pieces. */
static uint64_t group_bound(char *line)
{
	char *controllers = strchr(line, ':'), *path, file[4200];
	bool v2 = controllers && controllers[1] == ':';
	uint64_t bound = UINT64_MAX;

	path = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!path || (!v2 && strncmp(controllers, ":memory:", 8) != 0))
		return bound;
	path++;
	path[strcspn(path, "\n")] = '\0';
	for (;;) {
		char *slash;

		snprintf(file, sizeof(file),
			v2 ? "/sys/fs/cgroup%s/memory.max"
			   : "/sys/fs/cgroup/memory%s/memory.limit_in_bytes",
			path);
		bound = least(bound, read_bound(file));
		slash = strrchr(path, '/');
		if (!slash)
			return bound;
		*slash = '\0';
	}
}

static uint64_t control_group_bound(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	uint64_t bound = UINT64_MAX;
	char line[4096];

	while (file && fgets(line, sizeof(line), file))
		bound = least(bound, group_bound(line));
	if (file)
		fclose(file);
	return bound;
}

/* Of a bound that netmapd would die of, or fail in everything, a quarter is left for itself. */
static uint64_t memory_bound(void)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t hard = control_group_bound();
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		hard = least(hard, limit.rlim_cur);
	return least(ram, hard / 4 * 3);
}

void accounts_init(uint64_t files)
{
	struct bound *memory = &bounds[NM_RES_MEMORY], *fds = &bounds[LIMIT_DESCRIPTORS];

	memory->all = memory_bound();
	memory->user = memory->all / 4 * 3;
	fds->all = files;
	fds->user = files / 4 * 3;
}

/* ---- options ------------------------------------------------------------------------------- */

/** Sets the bound that @text names, which is *@found then. */
static int set(const char *text, struct bound **found, struct nm_error *err)
{
	struct bound_wanted w;
	struct bound *b;
	int error = bound_parse(text, false, &w, err);

	if (error)
		return error;
	b = &bounds[w.what];
	b->user = w.user;
	if (w.all || w.user > b->all)
		b->all = w.all ? w.all : w.user;
	*found = b;
	return 0;
}

int accounts_set(const char *text, struct nm_error *err)
{
	struct bound *b;

	return set(text, &b, err);
}

int accounts_change(const char *text, struct nm_error *err)
{
	struct bound *b;
	int error = set(text, &b, err);

	if (!error)
		b->changed = true;
	return error;
}

int accounts_set_user(uint32_t uid, const char *text, struct nm_error *err)
{
	struct bound_wanted w;
	struct exception *e;
	int error;

	if (uid == NM_USER_ANY)
		return accounts_change(text, err);
	error = bound_parse(text, true, &w, err);
	if (error)
		return error;
	e = calloc(1, sizeof(*e));
	if (!e)
		return nm_error_set(err, -ENOMEM, "out of memory");
	*e = (struct exception){exceptions, uid, w.what, w.user};
	exceptions = e;
	return 0;
}

void accounts_forget_users(void)
{
	while (exceptions) {
		struct exception *e = exceptions;

		exceptions = e->next;
		free(e);
	}
}

void accounts_get(const char *text, char bound[ACCOUNTS_BOUND])
{
	uint32_t what = bound_find(text, strcspn(text, "="));

	bound[0] = '\0';
	if (what < LIMITS)
		snprintf(bound, ACCOUNTS_BOUND, "%s=%llu/%llu", bound_name(what),
			(unsigned long long)bounds[what].user,
			(unsigned long long)bounds[what].all);
}

/* ---- status -------------------------------------------------------------------------------- */

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)least(value, INT64_MAX));
}

/* What each that the viewer sees has of it; the sum in *used. */
static json_t *used_by(int what, uint32_t viewer, uint64_t *used)
{
	json_t *each = json_object();
	char uid[16];

	*used = 0;
	for (const struct account *user = users; user; user = user->next) {
		if ((viewer != NM_USER_ANY && user->uid != viewer) || !user->used[what])
			continue;
		*used += user->used[what];
		snprintf(uid, sizeof(uid), "%u", (unsigned)user->uid);
		json_object_set_new(each, uid, number(user->used[what]));
	}
	return each;
}

static json_t *bound_json(int what, uint32_t viewer)
{
	const struct bound *b = &bounds[what];
	bool all = viewer == NM_USER_ANY;
	json_t *one = json_object(), *each;
	uint64_t used;

	each = used_by(what, viewer, &used);
	json_object_set_new(one, "name", json_string(bound_name((uint32_t)what)));
	json_object_set_new(one, "limit", number(all ? b->user : most_of(viewer, (uint32_t)what)));
	json_object_set_new(one, "limit_all", number(b->all));
	json_object_set_new(one, "changed", json_boolean(b->changed));
	json_object_set_new(one, "used", number(used));
	json_object_set_new(one, "refused", number(all ? b->refused : 0));
	json_object_set_new(one, "users", each);
	json_object_set_new(one, "user_limits", json_object());
	return one;
}

/* Those of single users, into what accounts_json() returns. The last line of a file counts: it is the first here. */
static void add_exceptions(json_t *out, uint32_t viewer)
{
	json_t *limits;
	char uid[16];

	for (const struct exception *e = exceptions; e; e = e->next) {
		if (viewer != NM_USER_ANY && e->uid != viewer)
			continue;
		limits = json_object_get(json_array_get(out, e->what), "user_limits");
		snprintf(uid, sizeof(uid), "%u", (unsigned)e->uid);
		if (!json_object_get(limits, uid))
			json_object_set_new(limits, uid, number(e->most));
	}
}

json_t *accounts_json(uint32_t viewer)
{
	json_t *out = json_array();

	for (int i = 0; i < LIMITS; i++)
		json_array_append_new(out, bound_json(i, viewer));
	add_exceptions(out, viewer);
	return out;
}
