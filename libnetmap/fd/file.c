/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of descriptors, the files, and fork.
 *
 * A close takes the entry out of the table first, since the number can be anybody's the moment it is
 * closed; the call that holds the last reference ends the file.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "real.h"

enum {
	FDS_MAX = 1 << 20,  /* the system's usual limit */
	OWN_FDS_FROM = 512, /* internal descriptors are above, where the limit allows it */
	LINE = 512,
};

static struct nmfd_object *table[FDS_MAX]; /* atomic */
static int highest = -1;                   /* atomic: no entry behind it */
static struct nmfd_object internal = {.kind = NMFD_INTERNAL, .refs = 1};

static struct os_mutex unused_lock = OS_MUTEX_INIT;
static struct nmfd_object *unused[NMFD_INTERNAL] OS_GUARDED_BY(unused_lock);

int nmfd_verbose;

static pid_t own_pid; /* of the process whose descriptors the table has */

void nmfd_say(const char *format, ...)
{
	static const char name[] = "netmap-run: ";
	char line[LINE];
	va_list ap;
	int n;

	memcpy(line, name, sizeof(name));
	va_start(ap, format);
	n = vsnprintf(line + sizeof(name) - 1, sizeof(line) - sizeof(name), format, ap);
	va_end(ap);
	n = n < (int)(sizeof(line) - sizeof(name)) ? n : (int)(sizeof(line) - sizeof(name)) - 1;
	n += (int)sizeof(name) - 1;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* no stderr: nobody to tell */
}

/* ---- the table ------------------------------------------------------------------------ */

static struct nmfd_object *at(int fd)
{
	if (fd < 0 || fd >= FDS_MAX)
		return NULL;
	return __atomic_load_n(&table[fd], __ATOMIC_ACQUIRE);
}

enum nmfd_kind nmfd_kind_of(int fd)
{
	const struct nmfd_object *o = at(fd);

	return o ? __atomic_load_n(&o->kind, __ATOMIC_RELAXED) : NMFD_NONE;
}

int nmfd_highest(void)
{
	return __atomic_load_n(&highest, __ATOMIC_RELAXED);
}

/* One more, unless it is nobody's any more. */
static bool keep(struct nmfd_object *o)
{
	uint32_t refs = __atomic_load_n(&o->refs, __ATOMIC_RELAXED);

	while (refs > 0)
		if (__atomic_compare_exchange_n(
			    &o->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

void *nmfd_get(int fd, enum nmfd_kind kind)
{
	struct nmfd_object *o;

	while ((o = at(fd)) != NULL) {
		if (o->kind != kind)
			return NULL;
		if (!keep(o))
			continue; /* on its way out of the table */
		if (at(fd) == o)
			return o;
		nmfd_put(o); /* it was used again for something else */
	}
	return NULL;
}

void *nmfd_new(enum nmfd_kind kind, size_t bytes)
{
	struct nmfd_object *o;

	os_mutex_lock(&unused_lock);
	o = unused[kind];
	if (o)
		unused[kind] = o->next;
	os_mutex_unlock(&unused_lock);
	if (!o)
		o = calloc(1, bytes);
	if (!o)
		return NULL;
	memset(o + 1, 0, bytes - sizeof(*o));
	o->kind = kind;
	__atomic_store_n(&o->refs, 1, __ATOMIC_RELEASE);
	return o;
}

int nmfd_enter(int fd, void *object)
{
	int old;

	if (fd < 0 || fd >= FDS_MAX)
		return -EMFILE;
	for (old = __atomic_load_n(&highest, __ATOMIC_RELAXED); old < fd;)
		__atomic_compare_exchange_n(
			&highest, &old, fd, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	__atomic_store_n(&table[fd], object, __ATOMIC_RELEASE);
	return 0;
}

/* Takes fd out of the table: its reference is the caller's now. */
static struct nmfd_object *leave(int fd)
{
	return __atomic_exchange_n(&table[fd], NULL, __ATOMIC_ACQ_REL);
}

/* Numbers that programs don't count on: many close, or replace, the low ones. */
int nmfd_internal(int fd)
{
	struct rlimit limit = {OWN_FDS_FROM, OWN_FDS_FROM};
	int from = OWN_FDS_FROM, high;

	if (fd < 0)
		return fd;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < 2UL * OWN_FDS_FROM)
		from = (int)limit.rlim_cur / 2;
	high = REAL(fcntl)(fd, F_DUPFD_CLOEXEC, from);
	if (high >= 0)
		REAL(close)(fd);
	else
		high = fd;
	nmfd_enter(high, &internal);
	return high;
}

void nmfd_internal_forget(int fd)
{
	if (nmfd_kind_of(fd) == NMFD_INTERNAL)
		leave(fd);
}

void nmfd_internal_close(int fd)
{
	if (fd < 0)
		return;
	nmfd_internal_forget(fd);
	REAL(close)(fd);
}

/* ---- files ---------------------------------------------------------------------------- */

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	if (nmfd_verbose)
		nmfd_say("%s", text);
}

static void *ctx_malloc(struct nmctx *ctx, size_t bytes)
{
	(void)ctx;
	return malloc(bytes);
}

static void ctx_free(struct nmctx *ctx, void *mem)
{
	(void)ctx;
	free(mem);
}

static struct os_mutex ctx_mutex = OS_MUTEX_INIT;

/* One function for both, as the API has it. */
static void ctx_lock(struct nmctx *ctx, int lock) OS_NO_THREAD_SAFETY_ANALYSIS
{
	(void)ctx;
	if (lock)
		os_mutex_lock(&ctx_mutex);
	else
		os_mutex_unlock(&ctx_mutex);
}

/* Of the files; the program's ports have their own. */
static struct nmctx ctx = {
	.error = on_error,
	.malloc = ctx_malloc,
	.free = ctx_free,
	.lock = ctx_lock,
};

static void forget_fds(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	nmfd_internal_forget(d->fd);
	if (!p)
		return;
	nmfd_internal_forget(p->region_fd);
	nmfd_internal_forget(p->irq[NMLIB_TX]);
	nmfd_internal_forget(p->irq[NMLIB_RX]);
	nmfd_internal_forget(p->stop);
	for (uint32_t i = 0; i < p->kicks; i++)
		nmfd_internal_forget(p->rings[i].kick);
}

static void end_file(struct nmfd_file *f)
{
	if (f->port) {
		forget_fds(f->port);
		nmport_undo_open_desc(f->port);
		nmport_delete(f->port);
	}
	if (f->common)
		munmap(f->common, sizeof(*f->common));
	f->port = NULL;
	f->daemon = NULL;
	f->common = NULL;
}

void nmfd_put(void *object)
{
	struct nmfd_object *o = object;

	if (__atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (o->kind == NMFD_FILE)
		end_file((struct nmfd_file *)o);
	else
		nmfd_epoll_end(o);
	os_mutex_lock(&unused_lock);
	o->next = unused[o->kind];
	unused[o->kind] = o;
	os_mutex_unlock(&unused_lock);
}

static struct nmfd_common *new_common(void)
{
	struct nmfd_common *c;
	pthread_mutexattr_t attr;

	c = REAL(mmap)(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		return NULL;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&c->control, &attr);
	pthread_mutexattr_destroy(&attr);
	return c;
}

/* The lock is one between processes: no os_mutex. */
int nmfd_lock_control(struct nmfd_file *f) OS_NO_THREAD_SAFETY_ANALYSIS
{
	int error = pthread_mutex_lock(&f->common->control);

	return error == EOWNERDEAD ? -pthread_mutex_consistent(&f->common->control) : -error;
}

void nmfd_unlock_control(struct nmfd_file *f) OS_NO_THREAD_SAFETY_ANALYSIS
{
	pthread_mutex_unlock(&f->common->control);
}

static int connect_file(struct nmfd_file *f, struct nm_error *why)
{
	f->common = new_common();
	f->port = nmlib_new(&ctx);
	if (!f->common || !f->port)
		return nm_error_set(why, -ENOMEM, "no memory for a port descriptor");
	f->port->priv->backend = &nmlib_conn;
	return nmlib_conn.open(f->port, why);
}

static uint64_t last_id;

/* The program's descriptor: good for nothing but to be copied and closed. */
static int open_nowhere(int flags, struct nm_error *why)
{
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), error = errno;

	if (fd >= FDS_MAX) {
		REAL(close)(fd);
		fd = -1; /* cppcheck-suppress resourceLeak; it was closed, past the macro */
		error = EMFILE;
	}
	if (fd < 0)
		return nm_error_set(why, -error, "no descriptor for the port: %s", strerror(error));
	if (!(flags & O_CLOEXEC))
		REAL(fcntl)(fd, F_SETFD, 0);
	return fd;
}

int nmfd_open(int flags, struct nm_error *why)
{
	struct nmfd_file *f = nmfd_new(NMFD_FILE, sizeof(*f));
	int fd, ret;

	if (!f)
		return nm_error_set(why, -ENOMEM, "no memory for a file");
	if (!own_pid)
		own_pid = getpid(); /* a constructor that comes before ours */
	/* Before the connection: it is to have the low number, as from any open(). */
	fd = open_nowhere(flags, why);
	ret = fd < 0 ? fd : connect_file(f, why);
	if (ret < 0) {
		if (fd >= 0)
			REAL(close)(fd);
		nmfd_put(f);
		return ret;
	}
	f->port->fd = nmfd_internal(f->port->fd);
	f->common->nonblock = (uint32_t)(flags & O_NONBLOCK);
	f->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	nmfd_enter(fd, f);
	return fd;
}

/* A child of vfork() has our memory, but descriptors of its own: what it closes or copies there changes
 * nothing here. */
static bool is_foreign(void)
{
	return getpid() != own_pid;
}

struct nmlib_daemon_port *nmfd_port(struct nmfd_file *f)
{
	struct nmlib_daemon_port *p = __atomic_load_n(&f->daemon, __ATOMIC_ACQUIRE);

	if (!p || likely(OS_LOAD(&p->shared)))
		return p;
	if (nmfd_lock_control(f) != 0)
		return p; /* a signal handler in the middle of the same */
	if (!p->shared && nmlib_daemon_share(p) < 0)
		p = NULL;
	nmfd_unlock_control(f);
	return p;
}

int nmfd_close(int fd)
{
	struct nmfd_object *o;
	int ret;

	switch (nmfd_kind_of(fd)) {
	case NMFD_NONE:
		return REAL(close)(fd);
	case NMFD_INTERNAL:
		errno = EBADF;
		return -1;
	default:
		break;
	}
	if (is_foreign())
		return REAL(close)(fd);
	/* Out of the table first: the number may be someone else's the moment it is closed. */
	o = leave(fd);
	ret = REAL(close)(fd);
	if (o)
		nmfd_put(o);
	return ret;
}

int nmfd_before_replace(int to)
{
	struct nmfd_object *o;

	if (to < 0 || to >= FDS_MAX)
		return 0;
	if (nmfd_kind_of(to) == NMFD_INTERNAL)
		return -EBUSY;
	if (is_foreign())
		return 0;
	o = leave(to);
	if (o)
		nmfd_put(o);
	return 0;
}

int nmfd_duplicated(int from, int to)
{
	struct nmfd_object *o = NULL;
	enum nmfd_kind kind = nmfd_kind_of(from);

	if (to < 0 || from == to || kind == NMFD_NONE || is_foreign())
		return to;
	if (kind == NMFD_FILE || kind == NMFD_EPOLL)
		o = nmfd_get(from, kind);
	if (o && nmfd_enter(to, o) < 0) {
		nmfd_put(o);
		REAL(close)(to);
		errno = EMFILE;
		return -1;
	}
	return to;
}

/* ---- fork ----------------------------------------------------------------------------- */

/* In the order in which calls take them: a set is made, or asked for a file, with its lock
 * held, and objects come and go within both. */
static void before_fork(void) OS_NO_THREAD_SAFETY_ANALYSIS /* held across the fork */
{
	nmfd_epoll_before_fork();
	os_mutex_lock(&ctx_mutex);
	os_mutex_lock(&unused_lock);
}

static void after_fork(void) OS_NO_THREAD_SAFETY_ANALYSIS /* held across the fork */
{
	os_mutex_unlock(&unused_lock);
	os_mutex_unlock(&ctx_mutex);
	nmfd_epoll_after_fork();
}

/* Calls that other threads had under way are not under way in the child. */
static void after_fork_child(void)
{
	own_pid = getpid();
	for (int fd = 0; fd <= highest; fd++)
		if (table[fd] && table[fd] != &internal)
			table[fd]->refs = 0;
	for (int fd = 0; fd <= highest; fd++)
		if (table[fd] && table[fd] != &internal)
			table[fd]->refs++;
	after_fork();
}

__attribute__((constructor)) static void start(void)
{
	own_pid = getpid();
	pthread_atfork(before_fork, after_fork, after_fork_child);
}
