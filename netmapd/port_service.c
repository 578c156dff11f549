/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_service.h"
#include "daemon.h"
#include "notify.h"
#include "proto.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum port_service_state { PORT_SERVICE_STOPPED, PORT_SERVICE_RUNNING, PORT_SERVICE_SUSPENDED };

struct port_service_ring {
	struct worker_ring ring;
	struct worker *worker;
};

struct port_service {
	struct daemon *daemon;
	struct nm_client *client;
	enum port_service_state state;
	uint32_t count[NM_DIRS];
	uint64_t bad_kicks;
	struct port_service_ring rings[]; /* tx, then rx */
};

static_assert(PORT_SERVICE_RINGS_MAX == 4 * NM_RINGS_MAX, "two directions, with host rings");

static uint32_t all_rings(const struct port_service *s)
{
	return s->count[NM_TX] + s->count[NM_RX];
}

static struct nm_ring *core_ring(const struct port_service *s, uint32_t i)
{
	if (i < s->count[NM_TX])
		return nm_client_ring(s->client, NM_TX, i);
	return nm_client_ring(s->client, NM_RX, i - s->count[NM_TX]);
}

static void wake_worker(void *arg)
{
	worker_wake(arg);
}

/* Rings of a port go to one worker, ports in turn; or each ring to the next worker. Workers
 * outlive all ports, so a late signal finds its worker. */
static void assign_workers(struct port_service *s)
{
	struct daemon *d = s->daemon;
	unsigned worker = d->next_worker++;

	for (uint32_t i = 0; i < all_rings(s); i++) {
		if (i > 0 && d->config.ring_each)
			worker = d->next_worker++;
		s->rings[i].worker = d->workers[worker % d->config.workers];
		s->rings[i].ring.irq = -1;
		s->rings[i].ring.kick = -1;
		os_wakeup_set(&core_ring(s, i)->wakeup, wake_worker, s->rings[i].worker);
	}
}

struct port_service *port_service_open(
	struct daemon *d, struct nm_client *client, int *error, struct nm_error *err)
{
	uint32_t rings = client->count[NM_TX] + client->count[NM_RX];
	struct port_service *s;

	s = os_zalloc(sizeof(*s) + rings * sizeof(s->rings[0]));
	if (!s) {
		nm_error_set(err, *error = -ENOMEM, "%s: out of memory", client->port->name);
		return NULL;
	}
	s->daemon = d;
	s->client = client;
	memcpy(s->count, client->count, sizeof(s->count));
	assign_workers(s);
	*error = 0;
	return s;
}

void port_service_close(struct port_service *s)
{
	if (!s)
		return;
	port_service_stop(s);
	for (uint32_t i = 0; i < all_rings(s); i++) {
		if (s->rings[i].ring.irq >= 0)
			close(s->rings[i].ring.irq);
		if (s->rings[i].ring.kick >= 0)
			close(s->rings[i].ring.kick);
	}
	if (s->bad_kicks)
		os_log(OS_LOG_INFO, "%s: %llu kicks for rings that it has not",
			s->client->port->name, (unsigned long long)s->bad_kicks);
	os_free(s);
}

void port_service_geometry(const struct port_service *s, struct port_service_geometry *geo)
{
	const struct nm_port *port = s->client->port;

	*geo = (struct port_service_geometry){
		.tx_rings = s->count[NM_TX],
		.rx_rings = s->count[NM_RX],
		.tx_slots = port->num_slots[NM_TX],
		.rx_slots = port->num_slots[NM_RX],
		.nifp_offset = s->client->nifp_offset,
		.region_id = port->region->id,
	};
}

struct nm_region *port_service_region(const struct port_service *s)
{
	return s->client->port->region;
}

void port_service_stats(const struct port_service *s, struct port_service_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->bad_kicks = OS_LOAD(&s->bad_kicks);
	for (uint32_t i = 0; i < all_rings(s); i++) {
		const struct nm_serve *serve = &s->rings[i].ring.serve;

		stats->steps += OS_LOAD(&serve->steps);
		stats->work_steps += OS_LOAD(&serve->work_steps);
		stats->interrupts += OS_LOAD(&serve->interrupts);
		stats->stopped += OS_LOAD(&serve->stopped);
	}
}

bool port_service_has_hdr(const struct port_service *s)
{
	const struct nm_port *port = s->client->port;

	return port->ops->set_hdr_len && !port->peer;
}

uint32_t port_service_hdr_len(const struct port_service *s)
{
	return s->client->port->hdr_len;
}

int port_service_set_hdr_len(struct port_service *s, uint32_t bytes)
{
	int error;

	if (s->state != PORT_SERVICE_STOPPED)
		return -EBUSY;
	nm_core_lock(&s->daemon->core);
	error = nm_port_set_hdr_len_locked(s->client->port, bytes);
	nm_core_unlock(&s->daemon->core);
	return error;
}

static void remove_all(struct port_service *s)
{
	for (uint32_t i = 0; i < all_rings(s); i++)
		worker_remove(s->rings[i].worker, &s->rings[i].ring);
}

static int add_all(struct port_service *s)
{
	for (uint32_t i = 0; i < all_rings(s); i++) {
		int error = worker_add(s->rings[i].worker, &s->rings[i].ring);

		if (error) {
			remove_all(s);
			return error;
		}
	}
	return 0;
}

static bool aligned(const void *p)
{
	return ((uintptr_t)p & (sizeof(struct nm_csb_atok) - 1)) == 0;
}

int port_service_start(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	int error;

	if (s->state != PORT_SERVICE_STOPPED)
		return -EBUSY;
	if (!aligned(atok) || !aligned(ktoa))
		return -EINVAL;
	if (s->client->own_region) /* a machine's; an application has its slots repaired as it leaves */
		nm_client_repair_rings(s->client);
	for (uint32_t i = 0; i < all_rings(s); i++)
		nm_serve_start(&s->rings[i].ring.serve, core_ring(s, i), &atok[i], &ktoa[i]);
	error = add_all(s);
	if (!error)
		s->state = PORT_SERVICE_RUNNING;
	return error;
}

/*
 * No worker touches the CSB any more, and all that the other side has published is taken: else its rings
 * would go back behind that at the next start. The last step is this thread's, which has the rings for
 * itself.
 */
static void quiesce(struct port_service *s)
{
	remove_all(s);
	for (uint32_t i = 0; i < all_rings(s); i++) {
		struct worker_ring *ring = &s->rings[i].ring;

		if ((nm_serve_finish(&ring->serve) & NM_SERVE_INTERRUPT) && ring->irq >= 0)
			notify_eventfd(ring->irq);
	}
}

void port_service_stop(struct port_service *s)
{
	if (s->state == PORT_SERVICE_RUNNING)
		quiesce(s);
	s->state = PORT_SERVICE_STOPPED;
}

void port_service_suspend(struct port_service *s)
{
	if (s->state != PORT_SERVICE_RUNNING)
		return;
	quiesce(s);
	s->state = PORT_SERVICE_SUSPENDED;
}

int port_service_resume(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	int error;

	if (s->state != PORT_SERVICE_SUSPENDED || !aligned(atok) || !aligned(ktoa))
		return -EINVAL;
	for (uint32_t i = 0; i < all_rings(s); i++)
		nm_serve_resume(&s->rings[i].ring.serve, &atok[i], &ktoa[i]);
	error = add_all(s);
	if (error)
		os_log(OS_LOG_ERR, "%s: can't go on serving: %s", s->client->port->name,
			strerror(-error));
	else
		s->state = PORT_SERVICE_RUNNING;
	return error;
}

void port_service_reset(struct port_service *s)
{
	port_service_stop(s);
	nm_client_reset_rings(s->client);
}

void port_service_kick(struct port_service *s, uint32_t ring)
{
	if (ring >= all_rings(s))
		__atomic_fetch_add(&s->bad_kicks, 1, __ATOMIC_RELAXED);
	else
		worker_wake(s->rings[ring].worker);
}

/* A duplicate of fd that never blocks, -1 for -1. */
static int take_eventfd(int fd, int *dup)
{
	*dup = -1;
	if (fd < 0)
		return 0;
	if (!notify_usable(fd))
		return -EINVAL;
	*dup = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *dup < 0 ? -errno : 0;
}

/* Changes one of a ring's descriptors while the worker does not look. */
static int replace_fd(struct port_service *s, uint32_t ring, int *slot, int eventfd)
{
	struct port_service_ring *r = &s->rings[ring];
	int fd, old, error;

	error = take_eventfd(eventfd, &fd);
	if (error)
		return error;
	if (s->state == PORT_SERVICE_RUNNING)
		worker_remove(r->worker, &r->ring);
	old = *slot;
	*slot = fd;
	if (s->state == PORT_SERVICE_RUNNING)
		error = worker_add(r->worker, &r->ring);
	if (error) { /* the old one could be waited for before */
		*slot = old;
		old = fd;
		(void)worker_add(r->worker, &r->ring);
	}
	if (old >= 0)
		close(old);
	return error;
}

int port_service_set_irq(struct port_service *s, uint32_t ring, int eventfd)
{
	if (ring >= all_rings(s))
		return -EINVAL;
	return replace_fd(s, ring, &s->rings[ring].ring.irq, eventfd);
}

int port_service_set_kick(struct port_service *s, uint32_t ring, int eventfd)
{
	if (ring >= all_rings(s))
		return -EINVAL;
	return replace_fd(s, ring, &s->rings[ring].ring.kick, eventfd);
}
