/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that closes sets `done` and writes to an eventfd; the control thread, which alone has the list, takes out those
 * that are done when it is asked, and tells who waits when the eventfd wakes it.
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
	int event;             /* of the list */
	int done;              /* stored by the thread that closes, last of all */
	uint32_t count;
	int fds[];
};

struct tap_leaves {
	struct tap_leaving *list;
	struct port_waits waits;
	int event;
	struct loop *loop;
	struct loop_handle *handle;
};

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

/* ---- the control thread -------------------------------------------------------------------- */

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

static void some_are_gone(void *arg, uint32_t events)
{
	struct tap_leaves *leaves = arg;
	uint64_t count;

	if (read(leaves->event, &count, sizeof(count)) != sizeof(count))
		return;
	take_out_done(leaves);
	port_waits_tell(&leaves->waits, NULL, NULL);
}

int tap_leaves_new(struct loop *loop, struct tap_leaves **out)
{
	struct tap_leaves *leaves = os_zalloc(sizeof(*leaves));
	int error;

	if (!leaves)
		return -ENOMEM;
	port_waits_init(&leaves->waits);
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

void tap_leaves_free(struct tap_leaves *leaves)
{
	uint32_t left = take_out_done(leaves);

	os_assert(!leaves->waits.first);
	loop_del(leaves->loop, leaves->handle);
	if (left == 0)
		close(leaves->event); /* else threads have it until the process ends */
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
	for (const struct tap_leaving *l = leaves->list; l; l = l->next)
		if (strcmp(l->ifname, ifname) == 0)
			return true;
	return false;
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

int tap_leaves_wait(struct tap_leaves *leaves, struct port_wait *wait)
{
	return port_wait_for(&leaves->waits, wait);
}

bool tap_leaves_have(const struct tap_leaves *leaves, const struct port_wait *wait)
{
	return wait->list == &leaves->waits;
}
