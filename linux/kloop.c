// SPDX-License-Identifier: BSD-2-Clause
/*
 * Parts: a ring's step and sleep; who wakes whom; the loop; making and ending one.
 *
 * What can wake the loop sets `pending` and wakes its queue: an ioeventfd (a wait-queue entry on
 * the eventfd, which reads it), a ring's wakeup, STOP. The loop clears `pending`, full barrier,
 * steps all rings: what is set afterwards is seen by the next turn. Direct rings run as work items
 * instead, at most DIRECT_STEPS at a time, and queue themselves again while there is work.
 */
#include "kloop.h"
#include "chardev.h"
#include "compat.h"
#include "csb_mode.h"

#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

/* Steps of a work item before others get their turn. */
#define DIRECT_STEPS 64

struct loop;

struct loop_ring {
	struct loop *loop;
	struct nm_ring *ring;
	struct nm_csb_server *serve;
	bool direct; /* stepped by `work`, not by the caller's thread */

	/* Descriptors; NULL: not given. */
	struct file *io_file;
	struct eventfd_ctx *io, *irq;

	/* Whom the ioeventfd, and the ring, wake. */
	wait_queue_head_t *io_queue;
	struct wait_queue_entry io_wait, ring_wait;
	poll_table table;
	struct work_struct work;
};

struct loop {
	struct nmk_kloop *kloop;
	const struct nm_port *port;
	uint32_t sleep_us;
	bool sleeps;  /* no waiting for events */
	bool pending; /* the caller's thread has to look at its rings */
	bool over;    /* no work item starts again */
	uint32_t rings;
	struct loop_ring ring[];
};

static struct workqueue_struct *direct_queue;

/* ---- one ring -------------------------------------------------------------------------- */

static int step(struct loop_ring *r)
{
	int result;

	mutex_lock(&r->ring->wakeup.sync);
	result = nm_csb_server_step(r->serve);
	if (result & NM_CSB_SERVER_WORK)
		nmk_ring_timestamp(r->ring);
	if (result & NM_CSB_SERVER_STOPPED)
		nm_csb_server_tell(r->serve);
	mutex_unlock(&r->ring->wakeup.sync);
	if ((result & NM_CSB_SERVER_INTERRUPT) && r->irq)
		eventfd_signal(r->irq);
	return result;
}

/* Asks for what may come to be signalled. True: something has come already. */
static bool prepare_sleep(struct loop_ring *r)
{
	struct nm_ring *ring = r->ring;
	bool more;

	mutex_lock(&ring->wakeup.sync);
	/* A dead port has no memory any more to look at; a step says that it is over. */
	more = OS_LOAD(&ring->port->dead) ? !r->serve->stopped
					  : nm_csb_server_prepare_sleep(r->serve);
	if (!more && !r->serve->stopped && ring->wakeup.about_to_sleep)
		more = ring->wakeup.about_to_sleep(ring);
	mutex_unlock(&ring->wakeup.sync);
	return more;
}

static bool is_stopped(const struct loop_ring *r)
{
	return READ_ONCE(r->serve->stopped);
}

/* ---- who wakes whom -------------------------------------------------------------------- */

static void wake_caller(struct loop *loop)
{
	WRITE_ONCE(loop->pending, true);
	if (wq_has_sleeper(&loop->kloop->wq))
		wake_up(&loop->kloop->wq);
}

static void wake_ring(struct loop_ring *r)
{
	if (r->direct && !OS_LOAD(&r->loop->port->dead))
		queue_work(direct_queue, &r->work);
	else
		wake_caller(r->loop);
}

/* Called with the lock of the eventfd, which the reading of it wants. */
static int io_wake(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	struct loop_ring *r = container_of(wait, struct loop_ring, io_wait);
	u64 count;

	if (key_to_poll(key) & EPOLLIN) {
		eventfd_ctx_do_read(r->io, &count);
		wake_ring(r);
	}
	return 0;
}

static int ring_woken(struct wait_queue_entry *wait, unsigned int mode, int sync, void *key)
{
	wake_ring(container_of(wait, struct loop_ring, ring_wait));
	return 0;
}

static void queue_proc(struct file *file, wait_queue_head_t *queue, poll_table *table)
{
	struct loop_ring *r = container_of(table, struct loop_ring, table);

	if (r->io_queue)
		return;
	r->io_queue = queue;
	add_wait_queue(queue, &r->io_wait);
}

static void direct_work(struct work_struct *work)
{
	struct loop_ring *r = container_of(work, struct loop_ring, work);
	int steps = DIRECT_STEPS, result;

	if (READ_ONCE(r->loop->over))
		return;
	nm_csb_server_awake(r->serve);
	do
		result = step(r);
	while ((result & NM_CSB_SERVER_WORK) && --steps > 0);
	if (result & NM_CSB_SERVER_STOPPED)
		wake_caller(r->loop);
	else if (steps == 0 || prepare_sleep(r))
		queue_work(direct_queue, &r->work);
}

/* ---- the loop -------------------------------------------------------------------------- */

static bool woken(const struct loop *loop)
{
	return READ_ONCE(loop->pending) || READ_ONCE(loop->kloop->stop);
}

/* Rings that are not direct; true: something moved. */
static bool step_all(struct loop *loop)
{
	bool moved = false;

	for (uint32_t i = 0; i < loop->rings; i++)
		if (!loop->ring[i].direct)
			moved |= step(&loop->ring[i]) & NM_CSB_SERVER_WORK;
	return moved;
}

static void sleep_until_work(struct loop *loop)
{
	bool more = false;

	for (uint32_t i = 0; i < loop->rings; i++)
		if (!loop->ring[i].direct)
			more |= prepare_sleep(&loop->ring[i]);
	if (!more) /* a signal is seen by the caller */
		(void)wait_event_interruptible(loop->kloop->wq, woken(loop));
	for (uint32_t i = 0; i < loop->rings; i++)
		if (!loop->ring[i].direct)
			nm_csb_server_awake(loop->ring[i].serve);
}

static void pause_loop(struct loop *loop)
{
	struct nmk_kloop *kloop = loop->kloop;

	if (loop->sleep_us)
		(void)wait_event_interruptible_hrtimeout(kloop->wq, READ_ONCE(kloop->stop),
			ns_to_ktime((u64)loop->sleep_us * NSEC_PER_USEC));
}

/* 1: go on. Else what the loop ends with. */
static int check_end(struct loop *loop)
{
	uint32_t stopped = 0;

	if (READ_ONCE(loop->kloop->stop))
		return 0;
	if (OS_LOAD(&loop->port->dead))
		return -ENXIO;
	if (signal_pending(current))
		return -ERESTARTSYS;
	for (uint32_t i = 0; i < loop->rings; i++)
		stopped += is_stopped(&loop->ring[i]);
	return loop->rings > 0 && stopped == loop->rings ? -EINVAL : 1;
}

static int run(struct loop *loop)
{
	int result;

	while ((result = check_end(loop)) > 0) {
		bool moved;

		WRITE_ONCE(loop->pending, false);
		smp_mb(); /* whoever sets it after this has something that may not be seen below */
		moved = step_all(loop);
		if (loop->sleeps)
			pause_loop(loop);
		else if (!moved && check_end(loop) > 0) /* it may have been the last ring */
			sleep_until_work(loop);
		cond_resched();
	}
	return result;
}

/* ---- beginning and end ----------------------------------------------------------------- */

static int get_eventfd(int fd, struct file **file, struct eventfd_ctx **ctx)
{
	struct file *f = eventfd_fget(fd);

	if (IS_ERR(f))
		return -EBADF;
	*ctx = eventfd_ctx_fileget(f);
	if (IS_ERR(*ctx)) {
		*ctx = NULL;
		fput(f);
		return -EBADF;
	}
	if (file)
		*file = f; /* keeps its queue in existence */
	else
		fput(f);
	return 0;
}

static int get_descriptors(struct loop *loop, const struct nm_kloop_request *request)
{
	for (uint32_t i = 0; i < request->rings; i++) {
		struct loop_ring *r = &loop->ring[i];
		int error = 0;

		if (request->eventfds[i].ioeventfd >= 0)
			error = get_eventfd(request->eventfds[i].ioeventfd, &r->io_file, &r->io);
		if (!error && request->eventfds[i].irqfd >= 0)
			error = get_eventfd(request->eventfds[i].irqfd, NULL, &r->irq);
		if (error)
			return error;
	}
	return 0;
}

static void put_descriptors(struct loop *loop)
{
	for (uint32_t i = 0; i < loop->rings; i++) {
		struct loop_ring *r = &loop->ring[i];

		if (r->io)
			eventfd_ctx_put(r->io);
		if (r->irq)
			eventfd_ctx_put(r->irq);
		if (r->io_file)
			fput(r->io_file);
	}
}

static void init_ring(struct loop *loop, uint32_t i, struct nmk_csb *csb, struct nm_client *client,
	const struct nm_kloop_request *request)
{
	struct loop_ring *r = &loop->ring[i];

	r->loop = loop;
	r->ring = nmk_csb_ring(client, i);
	r->serve = &csb->serve[i];
	r->direct = request->mode & (r->ring->dir == NM_TX ? NM_OPT_SYNC_KLOOP_DIRECT_TX
							   : NM_OPT_SYNC_KLOOP_DIRECT_RX);
	INIT_WORK(&r->work, direct_work);
	init_waitqueue_func_entry(&r->io_wait, io_wake);
	init_waitqueue_func_entry(&r->ring_wait, ring_woken);
	init_poll_funcptr(&r->table, queue_proc);
	nmk_csb_resume(csb, client, i);
}

static struct loop *make_loop(struct nmk_kloop *kloop, struct nmk_csb *csb,
	struct nm_client *client, const struct nm_kloop_request *request)
{
	struct loop *loop = kvzalloc(struct_size(loop, ring, csb->entries), GFP_KERNEL_ACCOUNT);
	int error;

	client->err.code = -ENOMEM;
	if (!loop)
		return NULL;
	loop->kloop = kloop;
	loop->port = client->port;
	loop->rings = csb->entries;
	loop->sleep_us = request->start.sleep_us;
	loop->sleeps = request->rings == 0;
	for (uint32_t i = 0; i < request->rings; i++)
		loop->sleeps |= request->eventfds[i].ioeventfd < 0;
	error = get_descriptors(loop, request);
	if (error) {
		nm_error_set(&client->err, error, "an eventfd of the sync loop is none");
		put_descriptors(loop);
		kvfree(loop);
		return NULL;
	}
	for (uint32_t i = 0; i < loop->rings; i++)
		init_ring(loop, i, csb, client, request);
	return loop;
}

static void watch(struct loop *loop)
{
	for (uint32_t i = 0; i < loop->rings; i++) {
		struct loop_ring *r = &loop->ring[i];

		add_wait_queue(&r->ring->wakeup.wq, &r->ring_wait);
		if (r->io_file)
			vfs_poll(r->io_file, &r->table);
		wake_ring(r); /* for what was there before */
	}
}

static void unwatch(struct loop *loop)
{
	WRITE_ONCE(loop->over, true);
	for (uint32_t i = 0; i < loop->rings; i++) {
		struct loop_ring *r = &loop->ring[i];

		remove_wait_queue(&r->ring->wakeup.wq, &r->ring_wait);
		if (r->io_queue)
			remove_wait_queue(r->io_queue, &r->io_wait);
		cancel_work_sync(&r->work); /* nothing queues it any more, but itself */
	}
}

static void free_loop(struct loop *loop)
{
	put_descriptors(loop);
	kvfree(loop);
}

static int check_start(struct nmk_kloop *kloop, const struct nmk_csb *csb, struct nm_client *client)
{
	if (!csb)
		return nm_error_set(&client->err, -EINVAL,
			"%s: a sync loop needs CSB mode: CSB_ENABLE, or REGISTER with the option CSB",
			client->port->name);
	if (kloop->running)
		return nm_error_set(&client->err, -EBUSY, "%s: a sync loop is running already",
			client->port->name);
	return 0;
}

int nmk_kloop_start(struct nmk_kloop *kloop, struct rw_semaphore *bound, struct nmk_csb *csb,
	struct nm_client *client, const struct nm_kloop_request *request)
{
	int error = check_start(kloop, csb, client);
	struct loop *loop;

	if (error)
		return error;
	if (kloop->stop) {
		kloop->stop = false;
		return 0;
	}
	loop = make_loop(kloop, csb, client, request);
	if (!loop)
		return client->err.code;
	kloop->running = true;
	up_write(bound);

	if (!loop->sleeps)
		watch(loop);
	error = run(loop);
	if (!loop->sleeps)
		unwatch(loop);
	free_loop(loop);

	down_write(bound);
	kloop->running = false;
	kloop->stop = false;
	wake_up_all(&kloop->wq);
	if (error == -ENXIO)
		nm_error_set(&client->err, error, "the sync loop ended: its port is gone");
	else if (error == -EINVAL)
		nm_error_set(&client->err, error,
			"%s: the sync loop ended: each of its rings had an illegal index",
			client->port->name);
	else if (error)
		nm_error_set(&client->err, error, "the sync loop was interrupted by a signal");
	return error;
}

int nmk_kloop_stop(struct nmk_kloop *kloop, struct rw_semaphore *bound)
{
	int error;

	WRITE_ONCE(kloop->stop, true);
	if (!kloop->running)
		return 0;
	wake_up_all(&kloop->wq);
	up_write(bound);
	error = wait_event_killable(kloop->wq, !READ_ONCE(kloop->running));
	down_write(bound);
	return error;
}

void nmk_kloop_init(struct nmk_kloop *kloop)
{
	init_waitqueue_head(&kloop->wq);
	kloop->running = kloop->stop = false;
}

int nmk_kloop_register(void)
{
	direct_queue = alloc_workqueue("netmap-direct", WQ_HIGHPRI | WQ_UNBOUND, 0);
	return direct_queue ? 0 : -ENOMEM;
}

void nmk_kloop_unregister(void)
{
	destroy_workqueue(direct_queue);
}
