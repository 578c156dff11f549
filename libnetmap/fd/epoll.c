/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Members, then waiting.
 *
 * A wait takes copies of the members and keeps their files, so that another thread may change the
 * set or close them meanwhile. It waits (wait.h) for netmap's files and for the real set as one
 * more descriptor; then gives the events of both, in turn first. With EPOLLET a member remembers
 * the position of its rings as last reported: the same position is no event.
 */
#include "epoll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "real.h"
#include "wait.h"

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
		       EPOLLHUP == POLLHUP && EPOLLRDNORM == POLLRDNORM &&
		       EPOLLWRNORM == POLLWRNORM,
	"events of epoll are those of poll");

enum { EVENTS = NMLIB_EVENTS_IN | NMLIB_EVENTS_OUT, FEW = 32, ROOM = 4 };

struct member {
	struct nmfd_file *file; /* not kept: see forget() */
	uint64_t file_id;       /* the file's, when it came */
	int fd;
	uint32_t events; /* 0: reported once */
	epoll_data_t data;
	uint64_t seen; /* EPOLLET: of the rings, at the last report */
};

/* Lock order: make_lock, sets_lock, the lock of a set (of all: fork), those of file.c. */
static struct os_mutex make_lock = OS_MUTEX_INIT; /* of the making of sets */
static struct os_mutex sets_lock OS_ACQUIRED_AFTER(make_lock) = OS_MUTEX_INIT;
OS_LOCK_CLASS(NMFD_EPOLL_LOCK) OS_ACQUIRED_AFTER(sets_lock);

struct nmfd_epoll {
	struct nmfd_object object;
	struct nmfd_epoll *prev OS_GUARDED_BY(sets_lock), *next OS_GUARDED_BY(sets_lock);
	struct os_mutex lock;
	struct member *member OS_GUARDED_BY(NMFD_EPOLL_LOCK);
	size_t count OS_GUARDED_BY(NMFD_EPOLL_LOCK), room OS_GUARDED_BY(NMFD_EPOLL_LOCK);
	int changed;    /* eventfd, in the set */
	bool ours_last; /* who was reported first the last time; atomic */
};

static uint64_t magic;                                   /* of the event of `changed` */
static struct nmfd_epoll *sets OS_GUARDED_BY(sets_lock); /* all there are */

static void set_lock(struct nmfd_epoll *e) OS_LOCKS(NMFD_EPOLL_LOCK)
{
	os_mutex_lock(&e->lock);
}

static void set_unlock(struct nmfd_epoll *e) OS_UNLOCKS(NMFD_EPOLL_LOCK)
{
	os_mutex_unlock(&e->lock);
}

/* A child that came into being while another thread changes a set would wait for it for ever. */
void nmfd_epoll_before_fork(void) OS_NO_THREAD_SAFETY_ANALYSIS /* held across the fork */
{
	os_mutex_lock(&make_lock);
	os_mutex_lock(&sets_lock);
	for (struct nmfd_epoll *e = sets; e; e = e->next)
		set_lock(e);
}

void nmfd_epoll_after_fork(void) OS_NO_THREAD_SAFETY_ANALYSIS /* held across the fork */
{
	for (struct nmfd_epoll *e = sets; e; e = e->next)
		set_unlock(e);
	os_mutex_unlock(&sets_lock);
	os_mutex_unlock(&make_lock);
}

static void link_set(struct nmfd_epoll *e)
{
	os_mutex_lock(&sets_lock);
	e->prev = NULL;
	e->next = sets;
	if (sets)
		sets->prev = e;
	sets = e;
	os_mutex_unlock(&sets_lock);
}

static void unlink_set(struct nmfd_epoll *e)
{
	os_mutex_lock(&sets_lock);
	if (e->prev)
		e->prev->next = e->next;
	else
		sets = e->next;
	if (e->next)
		e->next->prev = e->prev;
	os_mutex_unlock(&sets_lock);
}

void nmfd_epoll_end(struct nmfd_object *object)
{
	struct nmfd_epoll *e = (struct nmfd_epoll *)object;

	unlink_set(e);
	nmfd_internal_close(e->changed);
	set_lock(e);
	free(e->member);
	set_unlock(e);
	os_mutex_destroy(&e->lock);
}

static int fail(int error)
{
	errno = error;
	return -1;
}

/* ---- members -------------------------------------------------------------------------- */

static int make_eventfd(struct nmfd_epoll *e)
{
	while (!magic)
		if (getrandom(&magic, sizeof(magic), 0) != sizeof(magic))
			magic = (uint64_t)nmfd_now() * 0x9e3779b97f4a7c15ULL;
	e->changed = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->changed < 0)
		return -1;
	e->changed = nmfd_internal(e->changed);
	return 0;
}

static int make_room(struct nmfd_epoll *e)
{
	int ret = -1;

	set_lock(e);
	e->member = malloc(ROOM * sizeof(*e->member));
	if (e->member) {
		e->room = ROOM;
		ret = 0;
	}
	set_unlock(e);
	return ret;
}

static struct nmfd_epoll *new_set(void)
{
	struct nmfd_epoll *e = nmfd_new(NMFD_EPOLL, sizeof(*e));

	if (!e)
		return NULL;
	os_mutex_init(&e->lock);
	link_set(e);
	e->changed = -1;
	if (make_room(e) == 0 && make_eventfd(e) == 0)
		return e;
	nmfd_put(e);
	return NULL;
}

/* The object of an epoll descriptor, made at the first of netmap's files. Kept. NULL with errno. */
static struct nmfd_epoll *get_set(int ep)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct nmfd_epoll *e;
	int error = ENOMEM;

	os_mutex_lock(&make_lock);
	e = nmfd_get(ep, NMFD_EPOLL);
	if (e || ep < 0 || nmfd_kind_of(ep) != NMFD_NONE) {
		os_mutex_unlock(&make_lock);
		errno = ep < 0 ? EBADF : EINVAL;
		return e;
	}
	e = new_set();
	if (e) {
		/* Into the table first: threads that wait already are woken by the second step. */
		event.data.u64 = magic;
		error = -nmfd_enter(ep, e);
		if (!error && REAL(epoll_ctl)(ep, EPOLL_CTL_ADD, e->changed, &event) < 0) {
			error = errno;
			nmfd_before_replace(ep); /* out of the table again */
			e = NULL;
		} else if (error) {
			nmfd_put(e);
			e = NULL;
		} else {
			e = nmfd_get(ep, NMFD_EPOLL);
		}
	}
	os_mutex_unlock(&make_lock);
	errno = error;
	return e;
}

/* Files that are closed leave their sets by themselves. */
static void forget_closed(struct nmfd_epoll *e) OS_REQUIRES(NMFD_EPOLL_LOCK)
{
	for (size_t i = 0; i < e->count;) {
		struct member *m = &e->member[i];

		if (__atomic_load_n(&m->file->object.refs, __ATOMIC_ACQUIRE) > 0 &&
			m->file->id == m->file_id)
			i++;
		else
			*m = e->member[--e->count];
	}
}

static struct member *find(struct nmfd_epoll *e, const struct nmfd_file *f, int fd)
	OS_REQUIRES(NMFD_EPOLL_LOCK)
{
	for (size_t i = 0; i < e->count; i++)
		if (e->member[i].file == f && e->member[i].fd == fd)
			return &e->member[i];
	return NULL;
}

static int add(struct nmfd_epoll *e, struct nmfd_file *f, int fd, const struct epoll_event *event)
	OS_REQUIRES(NMFD_EPOLL_LOCK)
{
	if (e->count == e->room) {
		struct member *more = realloc(e->member, 2 * e->room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		e->member = more;
		e->room *= 2;
	}
	e->member[e->count++] = (struct member){.file = f,
		.file_id = f->id,
		.fd = fd,
		.events = event->events,
		.data = event->data,
		.seen = UINT64_MAX};
	return 0;
}

static int change(struct nmfd_epoll *e, struct nmfd_file *f, int op, int fd,
	const struct epoll_event *event) OS_REQUIRES(NMFD_EPOLL_LOCK)
{
	struct member *m;

	forget_closed(e);
	m = find(e, f, fd);
	switch (op) {
	case EPOLL_CTL_ADD:
		return m ? -EEXIST : add(e, f, fd, event);
	case EPOLL_CTL_MOD:
		if (!m)
			return -ENOENT;
		m->events = event->events;
		m->data = event->data;
		m->seen = UINT64_MAX;
		return 0;
	case EPOLL_CTL_DEL:
		if (!m)
			return -ENOENT;
		*m = e->member[--e->count];
		return 0;
	default:
		return -EINVAL;
	}
}

int nmfd_epoll_ctl(int ep, int op, int fd, struct epoll_event *event)
{
	struct nmfd_file *f = nmfd_get(fd, NMFD_FILE);
	struct nmfd_epoll *e;
	int ret;

	if (!f)
		return REAL(epoll_ctl)(ep, op, fd, event);
	e = get_set(ep);
	if (!e) {
		ret = errno;
		nmfd_put(f);
		return fail(ret);
	}
	set_lock(e);
	ret = change(e, f, op, fd, event);
	set_unlock(e);
	nmlib_signal(e->changed);
	nmfd_put(e);
	nmfd_put(f);
	return ret < 0 ? fail(-ret) : 0;
}

/* ---- waiting -------------------------------------------------------------------------- */

/* What a wait looks at: copies of the members, their files kept, and the set itself. */
struct look {
	struct nmfd_item few_items[FEW], *item; /* the set, then the members */
	struct member few_members[FEW], *member;
	size_t count; /* of members */
};

static bool take_members(struct nmfd_epoll *e, int ep, struct look *l)
{
	bool ok = true;

	l->item = l->few_items;
	l->member = l->few_members;
	set_lock(e);
	forget_closed(e);
	if (e->count >= FEW) {
		l->item = malloc((e->count + 1) * sizeof(*l->item));
		l->member = malloc(e->count * sizeof(*l->member));
		ok = l->item && l->member;
	}
	l->count = 0;
	for (size_t i = 0; ok && i < e->count; i++) {
		struct member *m = &e->member[i];
		struct nmfd_file *f = m->events & EVENTS ? nmfd_get(m->fd, NMFD_FILE) : NULL;

		if (f && f != m->file) {
			nmfd_put(f); /* the number is another file's; the duplicate lives on */
			f = NULL;
		}
		if (!f)
			continue;
		l->member[l->count] = *m;
		l->item[++l->count] = (struct nmfd_item){
			.file = f, .fd = m->fd, .events = (short)(m->events & EVENTS)};
	}
	set_unlock(e);
	if (ok)
		l->item[0] = (struct nmfd_item){.fd = ep, .events = POLLIN};
	return ok;
}

static void drop_members(struct look *l)
{
	for (size_t i = 0; i < l->count; i++)
		nmfd_put(l->item[1 + i].file);
	if (l->item != l->few_items)
		free(l->item);
	if (l->member != l->few_members)
		free(l->member);
}

/* A number that changes when the rings move. */
static uint64_t position(const struct nmfd_file *f)
{
	const struct nmlib_daemon_port *p = __atomic_load_n(&f->daemon, __ATOMIC_ACQUIRE);
	uint64_t sum = 0;

	for (uint32_t i = 0; p && i < p->at.rings; i++)
		sum = sum * 31 + OS_LOAD(&p->rings[i].csb.hwtail);
	return sum & INT64_MAX; /* never UINT64_MAX: nothing seen yet */
}

/* Is the event of a member to be reported? Its state changes with that. */
static bool report(struct nmfd_epoll *e, const struct member *copy, const struct nmfd_item *it)
	OS_REQUIRES(NMFD_EPOLL_LOCK)
{
	struct member *m = find(e, copy->file, copy->fd);
	uint64_t now;

	if (!m || !it->revents)
		return false;
	if (m->events & EPOLLET) {
		now = position(m->file);
		if (m->seen == now)
			return false;
		m->seen = now;
	}
	if (m->events & EPOLLONESHOT)
		m->events = EPOLLONESHOT;
	return true;
}

static int give_ours(
	struct nmfd_epoll *e, const struct look *l, struct epoll_event *events, int max)
{
	int n = 0;

	set_lock(e);
	for (size_t i = 0; i < l->count && n < max; i++) {
		const struct nmfd_item *it = &l->item[1 + i];

		if (report(e, &l->member[i], it))
			events[n++] = (struct epoll_event){
				.events = (uint16_t)it->revents, .data = l->member[i].data};
	}
	set_unlock(e);
	return n;
}

int nmfd_epoll_filter(struct epoll_event *events, int n, bool *changed)
{
	int left = 0;

	*changed = false;
	for (int i = 0; i < n; i++)
		if (magic && events[i].data.u64 == magic)
			*changed = true;
		else
			events[left++] = events[i];
	return left;
}

static int give_others(struct nmfd_epoll *e, int ep, struct epoll_event *events, int max)
{
	uint64_t count;
	bool changed = false;
	int n;

	if (max <= 0)
		return 0;
	n = REAL(epoll_pwait)(ep, events, max, 0, NULL);
	n = n < 0 ? 0 : nmfd_epoll_filter(events, n, &changed);
	if (changed && read(e->changed, &count, sizeof(count)) < 0)
		return n; /* another thread was faster */
	return n;
}

/* Who comes first changes, so that neither takes all the room. */
static int give(
	struct nmfd_epoll *e, int ep, const struct look *l, struct epoll_event *events, int max)
{
	bool others = l->item[0].revents != 0, ours_last = !OS_LOAD(&e->ours_last);
	int n = 0;

	OS_STORE(&e->ours_last, ours_last);
	if (others && ours_last)
		n = give_others(e, ep, events, max);
	n += give_ours(e, l, events + n, max - n);
	if (others && !ours_last)
		n += give_others(e, ep, events + n, max - n);
	return n;
}

/* EPOLLET: what was seen already doesn't end a wait; its rings are looked at for news. */
static bool all_seen(struct nmfd_epoll *e, struct look *l)
{
	bool seen = true;

	set_lock(e);
	for (size_t i = 0; i < l->count; i++) {
		const struct member *m = find(e, l->member[i].file, l->member[i].fd);

		if (l->item[1 + i].revents && m &&
			!((m->events & EPOLLET) && m->seen == position(m->file)))
			seen = false;
	}
	set_unlock(e);
	return seen && l->item[0].revents == 0;
}

enum { EDGE_MS = 1 }; /* how often rings with old events are looked at */

/* One wait. The number of events, 0 when there were none for the program, or -1. */
static int wait_once(struct nmfd_epoll *e, int ep, struct epoll_event *events, int max,
	const struct timespec *timeout, const sigset_t *mask)
{
	static const struct timespec pause = {0, EDGE_MS * 1000000L};
	struct look l;
	int n;

	if (!take_members(e, ep, &l)) {
		drop_members(&l);
		return fail(ENOMEM);
	}
	n = nmfd_wait(l.item, l.count + 1, timeout, mask);
	if (n > 0 && all_seen(e, &l)) {
		bool sleep = !timeout || timeout->tv_sec || timeout->tv_nsec;
		struct pollfd set = {.fd = ep, .events = POLLIN};

		n = sleep ? REAL(ppoll)(&set, 1, &pause, mask) : 0;
		n = n < 0 ? -1 : 0;
	} else if (n > 0) {
		n = give(e, ep, &l, events, max);
	}
	max = errno;
	drop_members(&l);
	errno = max;
	return n;
}

int nmfd_epoll_wait(int ep, struct epoll_event *events, int max, const struct timespec *timeout,
	const sigset_t *mask)
{
	struct nmfd_epoll *e = nmfd_get(ep, NMFD_EPOLL);
	struct timespec left, *limit = NULL;
	int64_t deadline = 0, ns;
	int n;

	if (!e || max <= 0) {
		if (e)
			nmfd_put(e);
		return fail(e ? EINVAL : EBADF);
	}
	if (timeout) {
		ns = timeout->tv_sec > 1000000000 ? 1000000000 : timeout->tv_sec;
		deadline = nmfd_now() + ns * 1000000000LL + timeout->tv_nsec;
		left = *timeout;
		limit = &left;
	}
	for (;;) {
		n = wait_once(e, ep, events, max, limit, mask);
		if (n != 0)
			break;
		if (!limit)
			continue;
		ns = deadline - nmfd_now();
		if (ns <= 0)
			break;
		left.tv_sec = ns / 1000000000;
		left.tv_nsec = ns % 1000000000;
	}
	nmfd_put(e);
	return n;
}
