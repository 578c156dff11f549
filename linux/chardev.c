// SPDX-License-Identifier: BSD-2-Clause
/*
 * /dev/netmap: what an application does with an open file of it.
 *
 *	ioctl NIOCCTRL             control requests, among them REGISTER (once per file)
 *	ioctl NIOCREGIF, GINFO     the same, older: core/legacy.h
 *	mmap                       the region of the registered port
 *	ioctl NIOCTXSYNC, RXSYNC   sync all tx, or rx, rings of the file
 *	poll, select, epoll        sync, and wait for room or packets
 *	last close                 the rings are free again
 *
 * In CSB mode (csb_mode.h) the rings move by the sync loop alone (kloop.h): the sync ioctls
 * fail with EBUSY, and poll says POLLERR.
 *
 * Threads and processes may share a file, and several files a ring: a sync of a ring
 * waits for one that is under way, for at most the time that takes. (The slots between
 * head and tail are shared all the same; who fills which is for the application to say.)
 * poll() before REGISTER says POLLERR. A file may be added to an epoll set before: those who
 * wait for it are on its own queue, which from REGISTER on is woken whenever one of its rings is.
 *
 * Programs of 32 bits: the layouts are the same, but for the time in a ring where time_t has 32
 * bits.
 *
 * A mapping keeps the file open: rings are released when the last descriptor is closed
 * and the last mapping is gone.
 */
#define pr_fmt(fmt) "netmap: " fmt

#include "chardev.h"
#include "control.h"
#include "csb_mode.h"
#include "kloop.h"
#include "legacy.h"
#include "mmap.h"
#include "params.h"
#include "kmod.h"

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/poll.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/net_namespace.h>

/* Often enough that a port which has moved on is seen; a broken one doesn't hold us up. */
#define SLEEP_TRIES 4

struct nmk_file;

/* Hangs on one ring and wakes those who wait for the file. */
struct nmk_forward {
	struct wait_queue_entry wait;
	wait_queue_head_t *to;
};

struct nmk_file {
	struct rw_semaphore bound; /* read: uses client and csb; write: changes them */
	struct nm_client client;
	struct nmk_view view;
	struct nmk_csb *csb; /* NULL: not in CSB mode */
	struct nmk_kloop kloop;
	wait_queue_head_t pollers;    /* who polled it, or added it to an epoll set, unbound */
	struct nmk_forward *forwards; /* one per ring of the client; NULL: it has none */
};

/* ---- epoll before REGISTER ------------------------------------------------------------- */

static uint32_t num_rings(const struct nm_client *client)
{
	return client->count[NM_TX] + client->count[NM_RX];
}

static int forward_wakeup(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	struct nmk_forward *forward = container_of(wait, struct nmk_forward, wait);

	if (waitqueue_active(forward->to))
		wake_up_poll(forward->to, key_to_poll(key));
	return 0;
}

/* Just bound. Only where a thread waits: a waiter makes its ring look busy. */
static int start_forwarding(struct nmk_file *f)
{
	uint32_t rings = num_rings(&f->client);

	if (!waitqueue_active(&f->pollers))
		return 0;
	f->forwards = kvcalloc(rings ? rings : 1, sizeof(*f->forwards), GFP_KERNEL_ACCOUNT);
	if (!f->forwards)
		return -ENOMEM;
	for (uint32_t i = 0; i < rings; i++) {
		f->forwards[i].to = &f->pollers;
		init_waitqueue_func_entry(&f->forwards[i].wait, forward_wakeup);
		add_wait_queue(&nmk_csb_ring(&f->client, i)->wakeup.wq, &f->forwards[i].wait);
	}
	wake_up_poll(&f->pollers, EPOLLIN | EPOLLOUT | EPOLLERR);
	return 0;
}

static void stop_forwarding(struct nmk_file *f)
{
	for (uint32_t i = 0; f->forwards && i < num_rings(&f->client); i++)
		remove_wait_queue(&nmk_csb_ring(&f->client, i)->wakeup.wq, &f->forwards[i].wait);
	kvfree(f->forwards);
	f->forwards = NULL;
}

/* ---- control requests ------------------------------------------------------------------ */

static int user_read(void *arg, uint64_t addr, void *dst, size_t bytes)
{
	return copy_from_user(dst, u64_to_user_ptr(addr), bytes) ? -EFAULT : 0;
}

static int user_write(void *arg, uint64_t addr, const void *src, size_t bytes)
{
	return copy_to_user(u64_to_user_ptr(addr), src, bytes) ? -EFAULT : 0;
}

static int csb_enable(
	void *arg, struct nm_client *client, uint64_t atok, uint64_t ktoa, uint32_t entries)
{
	struct nmk_file *f = container_of(client, struct nmk_file, client);

	if (f->csb)
		return nm_error_set(
			&client->err, -EBUSY, "%s: is in CSB mode already", client->port->name);
	f->csb = nmk_csb_new(client, atok, ktoa, entries);
	return f->csb ? 0 : client->err.code;
}

static int kloop_start(void *arg, struct nm_client *client, const struct nm_kloop_request *request)
{
	struct nmk_file *f = container_of(client, struct nmk_file, client);

	return nmk_kloop_start(&f->kloop, &f->bound, f->csb, client, request);
}

static int kloop_stop(void *arg, struct nm_client *client)
{
	struct nmk_file *f = container_of(client, struct nmk_file, client);

	return nmk_kloop_stop(&f->kloop, &f->bound);
}

/* No loop runs: `bound` is held for writing, or the file is being released. */
static void leave(struct nmk_file *f)
{
	stop_forwarding(f);
	nm_client_unbind(&f->client);
	nmk_csb_free(f->csb);
	f->csb = NULL;
}

/* One request, under `bound`. */
static int run_request(
	struct nmk_file *f, struct file *file, const struct nm_uaccess *ua, uint64_t addr)
{
	int error = nm_control(&f->client, ua, addr);

	if (!error && f->client.port && !f->view.region) {
		error = start_forwarding(f);
		if (error)
			nm_error_set(&f->client.err, error, "no memory to wake an epoll set");
		else
			nmk_view_set(&f->view, file, f->client.port->region);
	}
	if (!f->view.region) /* not registered, or not told so */
		leave(f);
	/* The end of a list, and a signal, are nothing to tell of. */
	if (error && error != -ENOENT && error != -ERESTARTSYS && error != -EINTR)
		os_log(OS_LOG_INFO, "%s (%d): %s", current->comm, task_pid_nr(current),
			f->client.err.text);
	return error;
}

static int control(struct nmk_file *f, struct file *file, unsigned long arg)
{
	static const struct nm_uaccess ua = {
		.read = user_read,
		.write = user_write,
		.extmem = nmk_extmem,
		.csb_enable = csb_enable,
		.kloop_start = kloop_start,
		.kloop_stop = kloop_stop,
	};
	int error;

	down_write(&f->bound);
	error = run_request(f, file, &ua, arg);
	if (nmk_verbose())
		pr_info("%s (%d): request on %s: result %d\n", current->comm, task_pid_nr(current),
			f->client.port ? f->client.port->name : "no port", error);
	up_write(&f->bound);
	return error;
}

/* ---- the older requests ---------------------------------------------------------------- */

/* The request was made here: its addresses are offsets in struct nm_legacy. */
static bool in_legacy(uint64_t addr, size_t bytes)
{
	return addr <= sizeof(struct nm_legacy) && bytes <= sizeof(struct nm_legacy) - addr;
}

static int legacy_read(void *arg, uint64_t addr, void *dst, size_t bytes)
{
	if (!in_legacy(addr, bytes))
		return -EFAULT;
	memcpy(dst, (char *)arg + addr, bytes);
	return 0;
}

static int legacy_write(void *arg, uint64_t addr, const void *src, size_t bytes)
{
	if (!in_legacy(addr, bytes))
		return -EFAULT;
	memcpy((char *)arg + addr, src, bytes);
	return 0;
}

static int run_legacy(struct nmk_file *f, struct file *file, struct nmreq *nmr, bool regif)
{
	struct nm_legacy legacy;
	const struct nm_uaccess ua = {.read = legacy_read, .write = legacy_write, .arg = &legacy};
	int error = nm_legacy_request(nmr, regif, &legacy, &f->client.err);

	static_assert(offsetof(struct nm_legacy, hdr) == 0);
	if (error) {
		os_log(OS_LOG_INFO, "%s (%d): %s", current->comm, task_pid_nr(current),
			f->client.err.text);
	} else {
		legacy.hdr.nr_body = offsetof(struct nm_legacy, body);
		error = run_request(f, file, &ua, 0);
	}
	nm_legacy_result(&legacy, !error, nmr);
	return error;
}

/* That the answer can be written is found out before the request has an effect. */
static int legacy_control(struct nmk_file *f, struct file *file, void __user *arg, bool regif)
{
	struct nmreq nmr;
	int error;

	if (copy_from_user(&nmr, arg, sizeof(nmr)) || copy_to_user(arg, &nmr, sizeof(nmr)))
		return -EFAULT;
	down_write(&f->bound);
	error = run_legacy(f, file, &nmr, regif);
	up_write(&f->bound);
	if (copy_to_user(arg, &nmr, sizeof(nmr)) && !error)
		return -EFAULT;
	return error;
}

/* ---- sync ---------------------------------------------------------------------------- */

/* `sync` of the ring held. A port that is dead has no memory any more to look at. */
static int ring_sync_locked(struct nm_ring *ring)
{
	int error;

	if (OS_LOAD(&ring->port->dead))
		return -ENXIO;
	error = nm_ring_sync_shared(ring);
	if (!error)
		nmk_ring_timestamp(ring);
	return error;
}

/*
 * An edge-triggered epoll set comes back to poll only after a signal: whoever has synced until nothing is
 * left waits for one without another call. `sync` of the ring held. What moves meanwhile is signalled.
 */
static void ask_for_signal(struct nm_ring *ring)
{
	if (ring->wakeup.about_to_sleep && waitqueue_active(&ring->wakeup.wq))
		(void)ring->wakeup.about_to_sleep(ring);
}

static int ring_sync(struct nm_ring *ring)
{
	int error;

	mutex_lock(&ring->wakeup.sync);
	error = ring_sync_locked(ring);
	if (!error && nm_ring_avail(ring) == 0)
		ask_for_signal(ring);
	mutex_unlock(&ring->wakeup.sync);
	return error;
}

/* All rings are synced, also when one fails. Returns the first error. */
static int sync_rings(struct nmk_file *f, enum nm_dir dir)
{
	int result = 0;

	down_read(&f->bound);
	if (!f->client.port || f->csb) {
		up_read(&f->bound);
		return f->client.port ? -EBUSY : -ENXIO;
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
 * the ring will be woken; if `edge`, also by what comes after that. Negative: errno.
 */
static int poll_ring(struct nm_ring *ring, bool wait, bool edge)
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
	if (ready && edge)
		ask_for_signal(ring);
	mutex_unlock(&ring->wakeup.sync);
	if (error)
		return error;
	return ready || tries == 0;
}

/* Adds to `result`: `mask` if a ring is ready, EPOLLERR if one fails. Once there is a result
 * nobody will sleep. Mask 0: the rings are synced, but not waited for. */
static __poll_t poll_rings(
	struct nmk_file *f, enum nm_dir dir, __poll_t mask, bool edge, __poll_t result)
{
	for (uint32_t i = 0; i < f->client.count[dir]; i++) {
		int ready = poll_ring(nm_client_ring(&f->client, dir, i), mask && (!result || edge),
			mask && edge);

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
	bool edge = poll_requested_events(wait) & EPOLLET;
	__poll_t result = 0;

	/* On the queues first, then a look at the rings: no wake-up is lost in between. Always,
	 * for an epoll set comes here with a queue only once. (One that came before REGISTER
	 * is on `pollers`.) */
	if (want_tx)
		wait_for_rings(f, NM_TX, file, wait);
	if (want_rx)
		wait_for_rings(f, NM_RX, file, wait);
	os_mb(); /* pairs with the barrier in os_wakeup_signal() */

	if (want_tx || !(f->client.flags & NR_NO_TX_POLL))
		result = poll_rings(f, NM_TX, want_tx, edge, result);
	if (want_rx || (f->client.flags & NR_DO_RX_POLL))
		result = poll_rings(f, NM_RX, want_rx, edge, result);
	return result;
}

/* ---- file operations ----------------------------------------------------------------- */

static __poll_t nmk_poll(struct file *file, poll_table *wait)
{
	struct nmk_file *f = file->private_data;
	__poll_t result = EPOLLERR;

	down_read(&f->bound);
	if (!f->client.port)
		poll_wait(file, &f->pollers, wait);
	else if (!f->csb)
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
	case NIOCGINFO:
	case NIOCREGIF:
		return legacy_control(f, file, (void __user *)arg, cmd == NIOCREGIF);
	case NIOCCONFIG: /* for switches that bring code of their own; there are none */
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
	init_waitqueue_head(&f->pollers);
	nmk_kloop_init(&f->kloop);
	nm_client_init(&f->client, &netmap_core);
	f->client.ns = get_net(current->nsproxy->net_ns); /* netns.h */
	file->private_data = f;
	return nonseekable_open(inode, file);
}

/* No other thread has the file, and no mapping of it is left. */
static int nmk_release(struct inode *inode, struct file *file)
{
	struct nmk_file *f = file->private_data;

	leave(f);
	nmk_view_clear(&f->view);
	put_net(f->client.ns);
	kfree(f);
	return 0;
}

static const struct file_operations nmk_fops = {
	.owner = THIS_MODULE,
	.open = nmk_open,
	.release = nmk_release,
	.unlocked_ioctl = nmk_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = nmk_poll,
	.mmap = nmk_mmap,
	.get_unmapped_area = thp_get_unmapped_area, /* aligned for huge pages (mmap.h) */
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
