/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that closes sets `done` and writes to an eventfd; the control thread, which alone has the lists, takes out those
 * that are done when it is asked, and tells who waits when the eventfd wakes it, or when somebody who waits goes.
 */
#include "tap_leave.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "device_closer.h"
#include "os.h"
#include "os_user.h"

struct tap_leaving {
	struct device_close close;
	struct tap_leaving *next;
	char ifname[IFNAMSIZ]; /* "": it has none any more */
	uint64_t number;       /* the how manieth it is, from 1 on */
	int event;             /* of the list */
	int done;              /* stored by the thread that closes, last of all */
	uint32_t count;
	int fds[];
};

struct tap_leaves {
	struct tap_leaving *list; /* the last one first */
	uint64_t numbers;
	struct tap_wait *first, **end; /* who waits, in the order in which they came */
	int event;
	struct loop *loop;
	struct loop_handle *handle;
	struct tap_leaves *before; /* left_behind */
};

/* What threads may still write to at the end of the process: a list, that nobody but leak checkers reads. */
static struct tap_leaves *volatile left_behind;

/* ---- the thread that closes ---------------------------------------------------------------- */

/* Once it is done it may be freed at any time. The eventfd stays until no thread closes any more. */
static void close_device(struct device_close *close_)
{
	struct tap_leaving *l = (struct tap_leaving *)close_;
	const uint64_t one = 1;
	int event = l->event;
	bool told;

	for (uint32_t i = 0; i < l->count; i++)
		close(l->fds[i]);
	OS_STORE_RELEASE(&l->done, 1);
	told = write(event, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
	os_assert(told);
	(void)told;
}

/* ---- what leaves --------------------------------------------------------------------------- */

/* How many are left. */
static uint32_t take_out_done(struct tap_leaves *leaves)
{
	struct tap_leaving **link = &leaves->list, *l;
	uint32_t left = 0;

	while ((l = *link)) {
		if (OS_LOAD_ACQUIRE(&l->done)) {
			*link = l->next;
			os_free(l);
		} else {
			link = &l->next;
			left++;
		}
	}
	return left;
}

/* The last one that had this name; NULL: none. */
static const struct tap_leaving *find_name(const struct tap_leaves *leaves, const char *ifname)
{
	const struct tap_leaving *l = leaves->list;

	while (l && strcmp(l->ifname, ifname) != 0)
		l = l->next;
	return l;
}

static bool has_number(const struct tap_leaves *leaves, uint64_t number)
{
	const struct tap_leaving *l = leaves->list;

	while (l && l->number != number)
		l = l->next;
	return l != NULL;
}

/* ---- who waits ----------------------------------------------------------------------------- */

static bool wants_name(const struct tap_wait *w)
{
	return w->want == TAP_WANT_NEW || w->want == TAP_WANT_NAME;
}

static bool wants_room(const struct tap_wait *w)
{
	return w->want == TAP_WANT_NEW || w->want == TAP_WANT_ROOM;
}

static bool same_name(const struct tap_wait *a, const struct tap_wait *b)
{
	return wants_name(a) && wants_name(b) && strcmp(a->ifname, b->ifname) == 0;
}

/* For how many more devices there is room while they leave. */
static uint32_t room_now(struct tap_leaves *leaves)
{
	uint32_t left = take_out_done(leaves);

	return left < TAPS_LEAVING_MAX ? TAPS_LEAVING_MAX - left : 0;
}

/* *room: for how many of those who have not been looked at yet, of whom this is the first; it may remove a device. */
static bool may_go(const struct tap_leaves *leaves, const struct tap_wait *w, uint32_t *room)
{
	if (w->want == TAP_WANT_END)
		return !has_number(leaves, w->device);
	if (wants_name(w) && (w->ahead > 0 || find_name(leaves, w->ifname)))
		return false;
	if (!wants_room(w))
		return true;
	if (*room == 0)
		return false;
	--*room;
	return true;
}

/* Those who may go, and don't know it. */
static void tell(struct tap_leaves *leaves)
{
	uint32_t room = room_now(leaves);

	for (struct tap_wait *w = leaves->first; w; w = w->next) {
		if (!may_go(leaves, w, &room) || w->told)
			continue;
		w->told = true;
		w->fn(w->arg);
	}
}

static bool has_its_turn(struct tap_leaves *leaves, const struct tap_wait *wait)
{
	uint32_t room = room_now(leaves);

	for (const struct tap_wait *w = leaves->first; w != wait; w = w->next)
		(void)may_go(leaves, w, &room);
	return may_go(leaves, wait, &room);
}

static void add_wait(struct tap_leaves *leaves, struct tap_wait *wait)
{
	const struct tap_leaving *last = find_name(leaves, wait->ifname);

	wait->leaves = leaves;
	wait->next = NULL;
	wait->ahead = 0;
	wait->device = last ? last->number : 0;
	for (const struct tap_wait *w = leaves->first; w; w = w->next)
		wait->ahead += same_name(w, wait);
	*leaves->end = wait;
	leaves->end = &wait->next;
}

static void remove_wait(struct tap_wait *wait)
{
	struct tap_leaves *leaves = wait->leaves;
	struct tap_wait **link = &leaves->first;

	while (*link != wait)
		link = &(*link)->next;
	*link = wait->next;
	if (!wait->next)
		leaves->end = link;
	for (struct tap_wait *w = wait->next; w; w = w->next)
		w->ahead -= same_name(w, wait);
	wait->leaves = NULL;
}

void tap_wait_forget(struct tap_wait *wait)
{
	struct tap_leaves *leaves = wait->leaves;

	if (!leaves)
		return;
	remove_wait(wait);
	tell(leaves);
}

int tap_leaves_ask(
	struct tap_leaves *leaves, enum tap_want want, const char *ifname, struct tap_wait *wait)
{
	if (!wait->leaves) {
		wait->want = want;
		memcpy(wait->ifname, ifname, strlen(ifname) + 1);
		add_wait(leaves, wait);
	}
	os_assert(wait->want == want && strcmp(wait->ifname, ifname) == 0);
	wait->told = false;
	if (!has_its_turn(leaves, wait))
		return -EINPROGRESS;
	tap_wait_forget(wait);
	return 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void some_are_gone(void *arg, uint32_t events)
{
	struct tap_leaves *leaves = arg;
	uint64_t count;

	if (read(leaves->event, &count, sizeof(count)) == sizeof(count))
		tell(leaves);
}

int tap_leaves_new(struct loop *loop, struct tap_leaves **out)
{
	struct tap_leaves *leaves = os_zalloc(sizeof(*leaves));
	int error;

	if (!leaves)
		return -ENOMEM;
	leaves->end = &leaves->first;
	leaves->loop = loop;
	leaves->event = os_fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	error = leaves->event < 0 ? -errno
				  : loop_add(loop, leaves->event, EPOLLIN, some_are_gone, leaves,
					    &leaves->handle);
	if (!error) {
		*out = leaves;
		return 0;
	}
	if (leaves->event >= 0)
		close(leaves->event);
	os_free(leaves);
	return error;
}

void tap_leaves_free(struct tap_leaves *leaves, uint32_t left)
{
	os_assert(!leaves->first);
	loop_del(leaves->loop, leaves->handle);
	/* A thread whose device is done may not have told it yet. */
	if (left > 0) {
		leaves->before = left_behind;
		left_behind = leaves;
		return;
	}
	(void)take_out_done(leaves);
	close(leaves->event);
	os_free(leaves);
}

struct tap_leaving *tap_leaving_new(uint32_t queues)
{
	return os_zalloc(sizeof(struct tap_leaving) + queues * sizeof(int));
}

void tap_leaving_free(struct tap_leaving *leaving)
{
	os_free(leaving);
}

void tap_leaving_go(struct tap_leaves *leaves, struct tap_leaving *leaving, const char *ifname,
	bool gone, const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			leaving->fds[leaving->count++] = fds[i];
	if (leaving->count == 0) {
		os_free(leaving);
		return;
	}
	if (!gone)
		memcpy(leaving->ifname, ifname, strlen(ifname) + 1);
	leaving->close.run = close_device;
	leaving->number = ++leaves->numbers;
	leaving->event = leaves->event;
	leaving->next = leaves->list;
	leaves->list = leaving;
	device_closer_run(&leaving->close, ifname);
}

bool tap_leaves_has(struct tap_leaves *leaves, const char *ifname)
{
	uint32_t left = take_out_done(leaves);

	if (!ifname)
		return left >= TAPS_LEAVING_MAX;
	return find_name(leaves, ifname) != NULL;
}

int tap_leaves_refuse(struct tap_leaves *leaves, const char *ifname, struct nm_error *err)
{
	if (tap_leaves_has(leaves, ifname))
		return nm_error_set(err, -EBUSY,
			"%s: the kernel is still removing the network device that had this name: try again",
			ifname);
	if (tap_leaves_has(leaves, NULL))
		return nm_error_set(err, -EBUSY,
			"%s: the kernel is still removing the network devices of %d persistent ports, as many as may be leaving at a time: try again",
			ifname, TAPS_LEAVING_MAX);
	return 0;
}
