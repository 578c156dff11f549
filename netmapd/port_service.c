/* SPDX-License-Identifier: BSD-2-Clause */
/* The service of a port: which worker serves which ring, states, eventfds. */
#include "port_service.h"
#include "daemon.h"
#include "events.h"
#include "log.h"
#include "notify.h"
#include "placement.h"

struct service_ring {
	struct worker_ring ring;
	struct worker *worker;
	int kick;            /* the caller's eventfd; -1: none */
	struct worker *next; /* that it is to have */
	bool moves;          /* from one worker to another */
};

struct port_service {
	struct port_service *next; /* daemon.services */
	struct daemon *daemon;
	struct nm_client *client;
	struct notify_client *notify; /* a slot per ring, and one more */
	enum port_service_state state;
	uint32_t count[NM_DIRS];
	uint32_t placed; /* the daemon.move that its rings have their workers from */
	uint64_t bad_kicks;
	int socket;                  /* from which kicks come; -1: none */
	bool watched;                /* the worker of all rings waits for it */
	struct service_ring rings[]; /* tx, then rx */
};

enum { LOOKS_OF_A_WAIT = 8 }; /* at ports, for each of which rules are compared */

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

/* A late signal finds its worker, also one that is stopped (settings.c). */
static void assign_workers(struct port_service *s)
{
	struct placement_turn turn;

	placement_begin(s->daemon, s->client->port->name, &turn);
	for (uint32_t i = 0; i < all_rings(s); i++) {
		s->rings[i].worker = placement_next(&turn);
		s->rings[i].ring.irq = -1;
		s->rings[i].ring.notify = s->notify;
		s->rings[i].ring.slot = i;
		s->rings[i].kick = -1;
		os_wakeup_set(&core_ring(s, i)->wakeup, wake_worker, s->rings[i].worker);
	}
}

struct port_service *port_service_open(
	struct daemon *d, struct nm_client *client, struct nm_error *err)
{
	uint32_t rings = client->count[NM_TX] + client->count[NM_RX];
	struct port_service *s = os_zalloc(sizeof(*s) + rings * sizeof(s->rings[0]));

	if (s)
		s->notify = notify_client_new(rings + 1, client->user);
	if (!s || !s->notify) {
		os_free(s);
		nm_error_set(err, -ENOMEM, "%s: out of memory", client->port->name);
		return NULL;
	}
	s->daemon = d;
	s->client = client;
	s->socket = -1;
	s->placed = d->move;
	memcpy(s->count, client->count, sizeof(s->count));
	assign_workers(s);
	s->next = d->services;
	d->services = s;
	return s;
}

static void tell(struct port_service *s)
{
	log_about(s->client->port->name, NULL);
	for (uint32_t i = 0; i < all_rings(s); i++)
		nm_csb_server_tell(&s->rings[i].ring.serve);
}

void port_services_tell(struct daemon *d)
{
	for (struct port_service *s = d->services; s; s = s->next)
		tell(s);
}

/* ---- the worker of all rings ----------------------------------------------------------------- */

/* The rings that have the same worker as ring `from`, the first of them; none when it is not the first. */
static uint32_t rings_of_one(
	struct port_service *s, uint32_t from, struct worker_ring *rings[PORT_SERVICE_RINGS_MAX])
{
	const struct worker *worker = s->rings[from].worker;
	uint32_t count = 0;

	for (uint32_t i = 0; i < from; i++)
		if (s->rings[i].worker == worker)
			return 0;
	for (uint32_t i = from; i < all_rings(s); i++)
		if (s->rings[i].worker == worker)
			rings[count++] = &s->rings[i].ring;
	return count;
}

static void watch_socket(struct port_service *s)
{
	struct worker_ring *rings[PORT_SERVICE_RINGS_MAX];

	if (s->socket >= 0 && rings_of_one(s, 0, rings) == all_rings(s))
		OS_STORE(&s->watched, worker_watch(s->rings[0].worker, s->socket) == 0);
}

static void unwatch_socket(struct port_service *s)
{
	if (s->watched)
		worker_unwatch(s->rings[0].worker, s->socket);
	OS_STORE(&s->watched, false);
}

/* ---- moving --------------------------------------------------------------------------------- */

/* Is this kick, which rings can share, one of another ring that the worker has? */
static bool waits_for(const struct port_service *s, const struct worker *worker, int kick)
{
	for (uint32_t i = 0; i < all_rings(s); i++)
		if (s->rings[i].worker == worker && s->rings[i].kick == kick)
			return true;
	return false;
}

/* No worker has the ring now, if the port runs. */
static void change_worker(struct port_service *s, uint32_t i)
{
	struct service_ring *ring = &s->rings[i];
	struct worker *from = ring->worker, *to = ring->next;

	if (s->state == PORT_RUNNING)
		nm_csb_server_awake(&ring->ring.serve);
	ring->worker = to;
	if (ring->kick >= 0 && worker_watch(to, ring->kick) != 0)
		os_log(OS_LOG_WARN, "%s: ring %u has a worker that its kicks don't wake: %s",
			s->client->port->name, i, strerror(errno));
	if (ring->kick >= 0 && !waits_for(s, from, ring->kick))
		worker_unwatch(from, ring->kick);
	os_wakeup_set(&core_ring(s, i)->wakeup, wake_worker, to);
}

/* rings_of_one(), of those that move. */
static uint32_t moving_of_one(
	struct port_service *s, uint32_t from, struct worker_ring *rings[PORT_SERVICE_RINGS_MAX])
{
	const struct worker *worker = s->rings[from].worker;
	uint32_t count = 0;

	if (!s->rings[from].moves)
		return 0;
	for (uint32_t i = 0; i < from; i++)
		if (s->rings[i].moves && s->rings[i].worker == worker)
			return 0;
	for (uint32_t i = from; i < all_rings(s); i++)
		if (s->rings[i].moves && s->rings[i].worker == worker)
			rings[count++] = &s->rings[i].ring;
	return count;
}

/* To or from their workers, each of which is waited for once. How many there were. */
static int with_moving(struct port_service *s,
	void (*change)(struct worker *w, struct worker_ring *const rings[], uint32_t count))
{
	struct worker_ring *rings[PORT_SERVICE_RINGS_MAX];
	int workers = 0;

	for (uint32_t i = 0; i < all_rings(s) && s->state == PORT_RUNNING; i++) {
		uint32_t count = moving_of_one(s, i, rings);

		change(s->rings[i].worker, rings, count);
		workers += count > 0;
	}
	return workers;
}

/*
 * The rings are no worker's for a moment. Nothing is lost: what is published meanwhile lies in them, their next workers look
 * there first, and a kick that has come is reported to these as they begin to wait for that.
 */
static int move_rings(struct port_service *s)
{
	int waits;

	for (uint32_t i = 0; i < all_rings(s); i++)
		s->rings[i].moves = s->rings[i].worker != s->rings[i].next;
	unwatch_socket(s);
	waits = with_moving(s, worker_remove);
	for (uint32_t i = 0; i < all_rings(s); i++)
		if (s->rings[i].moves)
			change_worker(s, i);
	waits += with_moving(s, worker_add);
	if (s->state == PORT_RUNNING)
		watch_socket(s);
	return waits;
}

/* Rings that others have lent, or that a client without a service has, are not this one's to move. How often a worker was waited
 * for. */
static int place(struct port_service *s, bool anew)
{
	struct placement_turn turn;

	s->placed = s->daemon->move;
	if (!anew && !placement_rules(s->daemon, s->client->port->name)) {
		for (uint32_t i = 0; i < all_rings(s); i++)
			if (!placement_is_there(s->daemon, s->rings[i].worker))
				anew = true;
		if (!anew)
			return 0;
	}
	placement_begin(s->daemon, s->client->port->name, &turn);
	for (uint32_t i = 0; i < all_rings(s); i++)
		s->rings[i].next = placement_next(&turn);
	return move_rings(s);
}

bool port_services_place(struct daemon *d, bool anew, int *waits)
{
	int looks = 0;

	for (struct port_service *s = d->services; s && *waits > 0; s = s->next)
		if (s->placed != d->move)
			*waits -= place(s, anew) + (++looks % LOOKS_OF_A_WAIT == 0);
	return *waits > 0;
}

void port_service_close(struct port_service *s)
{
	struct port_service **link;

	if (!s)
		return;
	port_service_stop(s);
	port_service_set_knows(s, 0);
	link = &s->daemon->services;
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	for (uint32_t i = 0; i < all_rings(s); i++)
		worker_unwatch(s->rings[i].worker, s->rings[i].kick);
	if (s->bad_kicks)
		os_log(OS_LOG_INFO, "%s: %llu kicks for rings that it does not have",
			s->client->port->name, (unsigned long long)s->bad_kicks);
	notify_client_free(s->notify);
	os_free(s);
}

void port_service_set_client(struct port_service *s, struct nm_client *client)
{
	os_assert(client->port == s->client->port);
	s->client = client;
}

/* ---- the port --------------------------------------------------------------------------- */

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

void port_service_stats(const struct port_service *s, struct port_service_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	stats->bad_kicks = OS_LOAD(&s->bad_kicks);
	stats->slow_interrupts = notify_client_slow(s->notify);
	for (uint32_t i = 0; i < all_rings(s); i++) {
		const struct nm_csb_server *serve = &s->rings[i].ring.serve;

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

	if (s->state != PORT_STOPPED)
		return -EBUSY;
	nm_core_lock(&s->daemon->core);
	error = nm_port_set_hdr_len_locked(s->client->port, bytes);
	nm_core_unlock(&s->daemon->core);
	return error;
}

bool port_service_has_rss(const struct port_service *s)
{
	const struct nm_port *port = s->client->port;

	return port->ops->set_rss && port->num_rings[NM_RX] > 1;
}

bool port_service_cuts_unknown(const struct port_service *s)
{
	return s->client->port->ops->cuts_unknown;
}

void port_service_set_knows(struct port_service *s, uint32_t knows)
{
	OS_STORE(&s->client->port->knows, knows);
}

int port_service_set_rss(struct port_service *s, const struct nm_rss_config *config)
{
	int error;

	nm_core_lock(&s->daemon->core);
	error = nm_port_set_rss_locked(s->client->port, config);
	nm_core_unlock(&s->daemon->core);
	return error;
}

/* ---- states ----------------------------------------------------------------------------- */

enum port_service_state port_service_state(const struct port_service *s)
{
	return s->state;
}

/* Each worker is waited for once, for all rings that it has. */
static void serve_all(struct port_service *s)
{
	struct worker_ring *rings[PORT_SERVICE_RINGS_MAX];

	for (uint32_t i = 0; i < all_rings(s); i++) {
		worker_add(s->rings[i].worker, rings, rings_of_one(s, i, rings));
		core_ring(s, i)->served = &s->rings[i].ring.serve;
	}
	/* What is kicked for between the two is in the socket, and seen at once. */
	watch_socket(s);
	s->state = PORT_RUNNING;
}

/*
 * No worker accesses the CSB any more, and all that the other side has published is taken: else its rings
 * would go back behind that at the next start. The last step is this thread's, which has the rings for
 * itself.
 */
static void quiesce(struct port_service *s)
{
	struct worker_ring *rings[PORT_SERVICE_RINGS_MAX];

	unwatch_socket(s);
	for (uint32_t i = 0; i < all_rings(s); i++)
		worker_remove(s->rings[i].worker, rings, rings_of_one(s, i, rings));
	for (uint32_t i = 0; i < all_rings(s); i++) {
		const struct nm_csb_server *serve = &s->rings[i].ring.serve;

		if (nm_csb_server_finish(&s->rings[i].ring.serve) & NM_CSB_SERVER_INTERRUPT)
			(void)worker_signal(&s->rings[i].ring);
		if (core_ring(s, i)->served == serve)
			core_ring(s, i)->served = NULL; /* the arrays may go */
	}
}

static void link_event(const struct port_service *s, enum nmd_event_what what)
{
	const struct nm_port *port = s->client->port;

	events_add(what, port->name, s->client->user, "%s", port->ops->kind);
}

int port_service_start(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	if (s->state != PORT_STOPPED)
		return -EBUSY;
	/* A machine's; an application has its slots repaired as it leaves. */
	if (s->client->own_region)
		nm_client_repair_rings(s->client);
	for (uint32_t i = 0; i < all_rings(s); i++)
		nm_csb_server_start(&s->rings[i].ring.serve, core_ring(s, i), &atok[i], &ktoa[i]);
	serve_all(s);
	link_event(s, NMD_EVENT_LINK_UP);
	return 0;
}

void port_service_suspend(struct port_service *s)
{
	if (s->state != PORT_RUNNING)
		return;
	quiesce(s);
	s->state = PORT_SUSPENDED;
}

void port_service_resume(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	if (s->state != PORT_SUSPENDED)
		return;
	for (uint32_t i = 0; i < all_rings(s); i++)
		nm_csb_server_resume(&s->rings[i].ring.serve, &atok[i], &ktoa[i]);
	serve_all(s);
}

/* A service that is suspended has been quiesced. */
void port_service_stop(struct port_service *s)
{
	if (s->state == PORT_RUNNING)
		quiesce(s);
	tell(s);
	if (s->state != PORT_STOPPED)
		link_event(s, NMD_EVENT_LINK_DOWN);
	s->state = PORT_STOPPED;
}

void port_service_reset(struct port_service *s)
{
	port_service_stop(s);
	nm_client_reset_rings(s->client);
}

/* ---- eventfds --------------------------------------------------------------------------- */

/* The worker has been woken by the socket: has it not been there yet? */
static bool has_news(const struct nm_csb_server *serve)
{
	const struct nm_ring *ring = serve->ring;

	return OS_LOAD(&serve->atok->head) != OS_LOAD(&ring->head) ||
	       OS_LOAD(&serve->atok->cur) != OS_LOAD(&ring->cur);
}

void port_service_kick(struct port_service *s, uint32_t ring)
{
	if (ring >= all_rings(s))
		__atomic_fetch_add(&s->bad_kicks, 1, __ATOMIC_RELAXED);
	else if (!OS_LOAD(&s->watched) || has_news(&s->rings[ring].ring.serve))
		worker_wake(s->rings[ring].worker);
}

void port_service_set_socket(struct port_service *s, int socket)
{
	unwatch_socket(s);
	s->socket = socket;
	if (s->state == PORT_RUNNING)
		watch_socket(s);
}

void port_service_set_irq(struct port_service *s, uint32_t ring, int eventfd)
{
	os_assert(ring < all_rings(s));
	notify_replaced(s->notify, ring);
	OS_STORE(&s->rings[ring].ring.irq, eventfd);
}

void port_service_notify(struct port_service *s, uint32_t ring, int eventfd)
{
	os_assert(ring <= all_rings(s));
	(void)notify_signal(s->notify, ring, eventfd);
}

void port_service_sync_irqs(struct port_service *s)
{
	struct worker_ring *rings[PORT_SERVICE_RINGS_MAX];

	for (uint32_t i = 0; i < all_rings(s) && s->state == PORT_RUNNING; i++)
		if (rings_of_one(s, i, rings) > 0)
			worker_barrier(s->rings[i].worker);
}

int port_service_set_kick(struct port_service *s, uint32_t ring, int eventfd)
{
	int error;

	os_assert(ring < all_rings(s) && s->rings[ring].kick < 0);
	error = worker_watch(s->rings[ring].worker, eventfd);
	if (!error)
		s->rings[ring].kick = eventfd;
	return error;
}
