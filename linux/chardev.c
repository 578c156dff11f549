// SPDX-License-Identifier: BSD-2-Clause
/*
 * /dev/netmap: what an application does with an open file of it.
 *
 *	ioctl NIOCCTRL             control requests, among them REGISTER (once per file)
 *	mmap                       the region of the registered port
 *	ioctl NIOCTXSYNC, RXSYNC   sync all tx, or rx, rings of the file
 *	poll, select, epoll        sync, and wait for room or packets
 *	last close                 the rings are free again
 *
 * Threads and processes may share a file, and several files a ring: a sync of a ring
 * waits for one that is under way, for at most the time that takes. (The slots between
 * head and tail are shared all the same; who fills which is for the application to say.)
 * poll() must be called after REGISTER, and a file be added to an epoll set after it.
 *
 * A mapping keeps the file open: rings are released when the last descriptor is closed
 * and the last mapping is gone.
 */
#define pr_fmt(fmt) "netmap: " fmt

#include "control.h"
#include "mmap.h"
#include "world.h"

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* Often enough that a port which has moved on is seen; a broken one doesn't hold us up. */
#define SLEEP_TRIES 4

struct nmk_file {
	struct rw_semaphore bound; /* read: uses client; write: changes it */
	struct nm_client client;
	struct nmk_view view;
};

static int user_read(void *arg, uint64_t addr, void *dst, size_t bytes)
{
	return copy_from_user(dst, u64_to_user_ptr(addr), bytes) ? -EFAULT : 0;
}

static int user_write(void *arg, uint64_t addr, const void *src, size_t bytes)
{
	return copy_to_user(u64_to_user_ptr(addr), src, bytes) ? -EFAULT : 0;
}

static int control(struct nmk_file *f, struct file *file, unsigned long arg)
{
	static const struct nm_uaccess ua = {.read = user_read, .write = user_write};
	int error;

	down_write(&f->bound);
	error = nm_control(&f->client, &ua, arg);
	if (error)
		os_log(OS_LOG_INFO, "%s (%d): %s", current->comm, task_pid_nr(current),
			f->client.err);
	else if (f->client.port && !f->view.region)
		nmk_view_set(&f->view, file, f->client.port->region);
	up_write(&f->bound);
	return error;
}

/* ---- sync ---------------------------------------------------------------------------- */

/* `sync` of the ring held. A port that is dead has no memory any more to look at. */
static int ring_sync_locked(struct nm_ring *ring)
{
	if (OS_LOAD(&ring->port->dead))
		return -ENXIO;
	return nm_ring_sync_shared(ring);
}

static int ring_sync(struct nm_ring *ring)
{
	int error;

	mutex_lock(&ring->wakeup.sync);
	error = ring_sync_locked(ring);
	mutex_unlock(&ring->wakeup.sync);
	return error;
}

/* All rings are synced, also when one fails. Returns the first error. */
static int sync_rings(struct nmk_file *f, enum nm_dir dir)
{
	int result = 0;

	down_read(&f->bound);
	if (!f->client.port) {
		up_read(&f->bound);
		return -ENXIO;
	}
	for (uint32_t i = 0; i < f->client.count[dir]; i++) {
		int error = ring_sync(nm_client_ring(&f->client, dir, i));

		if (error && !result)
			result = error;
	}
	up_read(&f->bound);
	return result;
}

/* ---- poll ---------------------------------------------------------------------------- */

/*
 * Syncs a ring; 1: there is something to do. 0: there is not, and if `wait`, whoever waits for
 * the ring will be woken. Negative: errno.
 */
static int poll_ring(struct nm_ring *ring, bool wait)
{
	int error, tries = SLEEP_TRIES, ready = 0;

	mutex_lock(&ring->wakeup.sync);
	do {
		error = ring_sync_locked(ring);
		if (error)
			break;
		ready = nm_ring_avail(ring) > 0;
	} while (!ready && wait && ring->wakeup.about_to_sleep &&
		 ring->wakeup.about_to_sleep(ring) && --tries > 0);
	mutex_unlock(&ring->wakeup.sync);
	if (error)
		return error;
	return ready || tries == 0;
}

/* Adds to `result`: `mask` if a ring is ready, EPOLLERR if one fails. Once there is a result
 * nobody will sleep. Mask 0: the rings are synced, but not waited for. */
static __poll_t poll_rings(struct nmk_file *f, enum nm_dir dir, __poll_t mask, __poll_t result)
{
	for (uint32_t i = 0; i < f->client.count[dir]; i++) {
		int ready = poll_ring(nm_client_ring(&f->client, dir, i), mask && !result);

		if (ready < 0)
			result |= EPOLLERR | (ready == -ENXIO ? EPOLLHUP : 0);
		else if (ready > 0)
			result |= mask;
	}
	return result;
}

static void wait_for_rings(struct nmk_file *f, enum nm_dir dir, struct file *file, poll_table *wait)
{
	for (uint32_t i = 0; i < f->client.count[dir]; i++)
		poll_wait(file, &nm_client_ring(&f->client, dir, i)->wakeup.wq, wait);
}

static __poll_t poll_bound(struct nmk_file *f, struct file *file, poll_table *wait)
{
	__poll_t want_tx = poll_requested_events(wait) & (EPOLLOUT | EPOLLWRNORM);
	__poll_t want_rx = poll_requested_events(wait) & (EPOLLIN | EPOLLRDNORM);
	__poll_t result = 0;

	/* On the queues first, then a look at the rings: no wake-up is lost in between. Always,
	 * for an epoll set comes here with a queue only once. */
	if (want_tx)
		wait_for_rings(f, NM_TX, file, wait);
	if (want_rx)
		wait_for_rings(f, NM_RX, file, wait);
	os_mb(); /* pairs with the barrier in os_wakeup_signal() */

	if (want_tx || !(f->client.flags & NR_NO_TX_POLL))
		result = poll_rings(f, NM_TX, want_tx, result);
	if (want_rx || (f->client.flags & NR_DO_RX_POLL))
		result = poll_rings(f, NM_RX, want_rx, result);
	return result;
}

/* ---- file operations ----------------------------------------------------------------- */

static __poll_t nmk_poll(struct file *file, poll_table *wait)
{
	struct nmk_file *f = file->private_data;
	__poll_t result = EPOLLERR;

	down_read(&f->bound);
	if (f->client.port)
		result = poll_bound(f, file, wait);
	up_read(&f->bound);
	return result;
}

static long nmk_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct nmk_file *f = file->private_data;

	switch (cmd) {
	case NIOCCTRL:
		return control(f, file, arg);
	case NIOCTXSYNC:
		return sync_rings(f, NM_TX);
	case NIOCRXSYNC:
		return sync_rings(f, NM_RX);
	case NIOCGINFO: /* the older interface: not served yet */
	case NIOCREGIF:
	case NIOCCONFIG:
		return -EOPNOTSUPP;
	default:
		return -ENOTTY;
	}
}

static int nmk_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct nmk_file *f = file->private_data;

	return nmk_view_mmap(&f->view, vma);
}

static int nmk_open(struct inode *inode, struct file *file)
{
	struct nmk_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return -ENOMEM;
	init_rwsem(&f->bound);
	nm_client_init(&f->client, &nm_world);
	file->private_data = f;
	return nonseekable_open(inode, file);
}

/* Nobody else has the file, and no mapping of it is left. */
static int nmk_release(struct inode *inode, struct file *file)
{
	struct nmk_file *f = file->private_data;

	nm_client_unbind(&f->client);
	nmk_view_clear(&f->view);
	kfree(f);
	return 0;
}

static const struct file_operations nmk_fops = {
	.owner = THIS_MODULE,
	.open = nmk_open,
	.release = nmk_release,
	.unlocked_ioctl = nmk_ioctl,
	.poll = nmk_poll,
	.mmap = nmk_mmap,
};

static struct miscdevice nmk_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "netmap",
	.fops = &nmk_fops,
	.mode = 0600,
};

int nmk_chardev_register(void)
{
	int error = misc_register(&nmk_misc);

	if (error)
		pr_err("/dev/netmap can't be registered: error %d\n", error);
	return error;
}

void nmk_chardev_unregister(void)
{
	misc_deregister(&nmk_misc);
}
