/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Binding clients to ports: which port, and the way there and back.
 *
 * A bind checks everything before it changes anything but the port, which it may have made:
 *
 *   find     the name's port, made if the kind is made on demand; with monitor flags, its monitor
 *   admit    whoever asks may use it (nm_port_ops.admit)
 *   choose   rings of the mode; then what flags, header, region and offsets ask for; are they free
 *   take     the first client of a port (or of its pipe peer) decides offsets and region, and gives
 *            it rings; a later one joins, or is refused
 *   nifp     the client's own netmap_if and extra buffers
 *   enlist   from here on the port is the client's; if it is the first, the port is being made
 *   parts    buffers into the slots of the rings, extra buffers into their list; the lock is let go of between them
 *   start    the port's kind starts; users of the rings are counted; a ring's first user finds it empty, but for
 *            pipes
 *
 * release_port() undoes start and take when no client is left, and frees a port made on demand. Unbind goes
 * the same way back, and has owners of buffers reconciled before anything is freed.
 */
#include "attachment.h"
#include "bufown.h"
#include "client_internal.h"
#include "monitor.h"
#include "names.h"
#include "null.h"
#include "pipe.h"
#include "vale.h"
#include "wish.h"

enum { MONITOR_FLAGS = NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON };

void nm_client_init(struct nm_client *client, struct nm_core *core)
{
	memset(client, 0, sizeof(*client));
	client->core = core;
	client->nifp_index = UINT32_MAX;
	client->user = NM_USER_ANY;
}

/* ---- which port ---------------------------------------------------------------------- */

/* The older spelling of a pipe end: its parent's name, and its id as a number. */
static int name_pipe(struct nm_client *client, const struct nm_bind *bind, struct nm_name *name)
{
	char text[2 * NETMAP_REQ_IFNAMSIZ];

	if (name->pipe != NM_PIPE_NONE)
		return nm_error_set(&client->err, -EINVAL,
			"%s: a mode that makes a pipe, of a name that is a pipe's", name->base);
	os_snprintf(text, sizeof(text), "%s%c%u", name->base,
		bind->mode == NR_REG_PIPE_MASTER ? '{' : '}', bind->ringid);
	return nm_name_parse(text, name, &client->err);
}

/* Slots that the client asks for, if there can be so many: where the port's kind doesn't let it choose
 * the number is no error either. */
static uint32_t slots_chosen(
	const struct nm_port *port, const struct nm_bind *bind, enum nm_dir dir)
{
	uint32_t slots = bind->num_slots[dir];

	return port->ops->chosen_slots && slots >= NM_SLOTS_MIN && slots <= NM_SLOTS_MAX
		       ? slots
		       : port->num_slots[dir];
}

/* Whoever comes first chooses, where the port's kind lets him; when he gets no further, the port is as
 * it was (nm_client_bind). */
static int choose_shape(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
	OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t host[NM_DIRS], slots[NM_DIRS];
	int error;

	if (!port->ops->chosen_host_rings || port->clients > 0 || port->pins > 0)
		return 0;
	for (int dir = 0; dir < NM_DIRS; dir++) {
		host[dir] = bind->num_host_rings[dir] ? bind->num_host_rings[dir]
						      : port->num_host_rings[dir];
		slots[dir] = slots_chosen(port, bind, dir);
	}
	error = nm_port_reshape_locked(port, host, slots);
	return error ? nm_error_set(&client->err, error,
			       "%s: %u tx and %u rx host rings can't be made; at most %d each",
			       port->name, host[NM_TX], host[NM_RX], NM_RINGS_MAX)
		     : 0;
}

/* NULL with client->err. */
static struct nm_port *find_named(struct nm_client *client, const char *name,
	const struct nm_bind *bind) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_core *core = client->core;
	struct nm_port *port;
	struct nm_name parsed;

	if (nm_name_parse(name, &parsed, &client->err) != 0)
		return NULL;
	if ((bind->mode == NR_REG_PIPE_MASTER || bind->mode == NR_REG_PIPE_SLAVE) &&
		name_pipe(client, bind, &parsed) != 0)
		return NULL;
	if (parsed.pipe != NM_PIPE_NONE)
		return nm_pipe_get_locked(core, client->ns, &parsed, bind, &client->err);
	if (parsed.kind == NM_NAME_VALE)
		return nm_vale_port_get_locked(core, client->ns, name, parsed.sw_name,
			bind->num_rings, bind->num_slots, &client->err);
	port = nm_port_find_in_locked(core, client->ns, name);
	if (port && (bind->mode == NR_REG_ALL_NIC || bind->mode == NR_REG_ONE_NIC))
		port = nm_attachment_place_locked(port, client->ns);
	if (!port)
		nm_error_set(&client->err, -ENXIO,
			core->platform_ops && core->platform_ops->lookup
				? "%s: no such port or network device; a switch port is valeID:PORT"
				: "%s: no such port, and no network interface of this host; a switch port is valeID:PORT",
			name);
	return port;
}

static int check_not_being_made(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (!nm_port_is_being_made(port))
		return 0;
	client->waits = true;
	return nm_error_set(&client->err, -EINPROGRESS,
		"%s: another client is about to open it; try again", port->name);
}

/* A monitor of what the name says; NULL with client->err. */
static struct nm_port *make_monitor(struct nm_client *client, const struct nm_bind *bind,
	struct nm_port *watched) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = NULL;

	if (check_not_being_made(client, watched) == 0)
		port = nm_monitor_make_locked(watched, bind, &client->err);
	if (!port)
		nm_port_unused_locked(watched);
	return port;
}

/* The same. */
static struct nm_port *find_port(struct nm_client *client, const char *name,
	const struct nm_bind *bind) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port;

	if (bind->mode == NR_REG_NULL)
		return nm_null_make_locked(client->core, name, bind, &client->err);
	port = find_named(client, name, bind);
	if (!port || !(bind->flags & MONITOR_FLAGS))
		return port;
	return make_monitor(client, bind, port);
}

/* ---- bind and unbind ----------------------------------------------------------------- */

static bool is_in_use(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	return port->clients > 0 || (port->peer && port->peer->clients > 0);
}

/* The region goes with the port, if nobody else is in it. One that is there for all may be named again while a device still has
 * buffers of it. */
static void see_if_region_ends(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_port *peer = port->peer;
	uint32_t refs = 1 + (peer && peer->region == port->region);

	if (!port->own_memory || (port->region->shared && port->ops->nic_memory))
		return;
	if (port->clients + (peer ? peer->clients : 0) <= 1 && port->region->refs == refs)
		nm_region_end(port->region);
}

static void set_maker(struct nm_port *port, const struct nm_client *maker) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_core *core = port->core;
	bool ends = port->maker && !maker;

	port->maker = maker;
	if (port->peer)
		port->peer->maker = maker;
	if (!ends)
		return;
	OS_STORE(&core->makes_ended, core->makes_ended + 1);
	if (core->platform_ops && core->platform_ops->make_ended)
		core->platform_ops->make_ended(core);
}

static void set_started(struct nm_port *port, bool started) OS_REQUIRES(NM_CORE_LOCK)
{
	port->started = started;
	if (port->peer)
		port->peer->started = started;
}

/* Undoes take_port(), and start_port(), when no client is bound; frees a port made on demand. */
static void release_port(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	if (is_in_use(port))
		return;
	see_if_region_ends(port);
	if (port->started && port->ops->stop)
		port->ops->stop(port);
	set_started(port, false);
	nm_memory_release(port);
	set_maker(port, NULL);
	nm_port_unused_locked(port);
}

static int check_started(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	int error;

	if (nm_bind_has_extmem(bind))
		return nm_error_set(&client->err, -EBUSY,
			"%s: is in use and has its memory already", port->name);
	error = nm_client_region_admitted(client, port, port->region);
	if (error)
		return error;
	return nm_offsets_join(client, port, bind->offsets);
}

static int start_kind(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	int error = 0;

	if (port->dead)
		error = nm_error_set(&client->err, -ENXIO, "the port is gone");
	else if (port->ops->start)
		error = port->ops->start(port, &client->err);
	if (!error)
		set_started(port, true);
	return error;
}

static int take_port(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
	OS_REQUIRES(NM_CORE_LOCK)
{
	int error = 0;

	set_maker(port, client);
	if (port->region && nm_bind_has_extmem(bind))
		error = nm_error_set(
			&client->err, -EINVAL, "%s: brings its own memory", port->name);
	if (!error)
		error = nm_offsets_grant(client, port, bind->offsets);
	if (!error)
		error = nm_memory_take(client, port, bind);
	if (!error)
		error = nm_offsets_check_buffer(client, port);
	/* A kind that brings its memory, which needn't be filled, may place its rings only now. */
	return error || port->own_memory ? error : start_kind(client, port);
}

static int check_wishes(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
{
	if (port->dead)
		return nm_error_set(&client->err, -ENXIO, "the port is gone");
	if (port->hdr_len > 0 && !(bind->flags & NR_ACCEPT_VNET_HDR))
		return nm_error_set(&client->err, -EIO,
			"%s: packets carry a virtio-net header of %u bytes; register with NR_ACCEPT_VNET_HDR",
			port->name, port->hdr_len);
	if (port->region && bind->mem_id && bind->mem_id != port->region->id)
		return nm_error_set(&client->err, -EINVAL, "%s: uses memory region %u, not %u",
			port->name, port->region->id, bind->mem_id);
	return bind->offsets ? nm_offsets_check(client, port->name, bind->offsets) : 0;
}

static void enlist(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	client->port = port;
	client->next = port->client_list;
	port->client_list = client;
	port->clients++;
}

static void delist(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_client **link = &port->client_list;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	client->next = NULL;
	os_assert(port->clients > 0);
	port->clients--;
}

/* The last step, which makes the port the client's to use. */
static int start_port(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	int error = 0;

	set_maker(port, NULL);
	if (!port->started)
		error = start_kind(client, port);
	if (error) {
		set_maker(port, client);
		return error;
	}
	nm_rings_count(client, port, client->exclusive, 1);
	if (port->ops->users_changed)
		port->ops->users_changed(port);
	return 0;
}

static int bind_locked(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
	OS_REQUIRES(NM_CORE_LOCK)
{
	bool exclusive = (bind->flags & NR_EXCLUSIVE) || client->exclusive_only;
	bool was_in_use = is_in_use(port);
	int error;

	nm_core_assert_locked(client->core);
	error = check_not_being_made(client, port);
	if (!error)
		error = nm_port_admit_locked(port, &client->err);
	if (!error)
		error = nm_rings_choose(client, port, bind);
	if (!error)
		error = check_wishes(client, port, bind);
	if (!error) {
		nm_attachment_lend_locked(port);
		error = nm_rings_check_free(client, port, exclusive);
	}
	if (!error)
		error = was_in_use ? check_started(client, port, bind)
				   : take_port(client, port, bind);
	if (!error && !port->own_memory)
		error = nm_memory_take_host_rings(client, port);
	if (!error)
		error = nm_nifp_make(client, port, bind->extra_bufs);
	if (error) {
		nm_attachment_take_back_locked(port);
		client->fill.port = NULL;
		release_port(port);
		return error;
	}
	client->exclusive = exclusive;
	enlist(client, port);
	return port->started ? start_port(client, port) : 0;
}

/* Of a port that is being made, in which nobody has changed anything. */
static void give_up(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	see_if_region_ends(port);
	delist(client, port);
	nm_nifp_free(client, port);
	client->port = NULL;
	client->fill.port = NULL;
	release_port(port);
}

static void unbind_locked(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	bool extra = client->owner != NM_OWNER_NONE && !port->dead, unused;

	nm_core_assert_locked(client->core);
	if (port->maker) {
		give_up(client, port);
		return;
	}
	see_if_region_ends(port);
	unused = nm_rings_count(client, port, false, -1);
	/* First what it has put back into its list; then the others, so that it can't list theirs. */
	if (extra)
		nm_bufown_reconcile_list(client);
	delist(client, port);
	if (is_in_use(port) && port->ops->users_changed)
		port->ops->users_changed(port);
	if (extra)
		nm_bufown_reconcile_region(port->region, is_in_use(port) ? NULL : port);
	nm_nifp_free(client, port);
	client->port = NULL;
	if (unused && is_in_use(port))
		nm_bufown_repair_port(port, NULL, false);
	nm_attachment_take_back_locked(port);
	release_port(port);
}

void nm_client_unbind(struct nm_client *client)
{
	struct nm_port *port = client->port;

	if (!port)
		return;
	nm_core_lock(client->core);
	unbind_locked(client, port);
	nm_core_unlock(client->core);
}

/* 1: there is more. */
static int go_on(struct nm_client *client, struct nm_port *port, uint32_t most)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (!port->dead && (nm_memory_fill(client, &most) || nm_nifp_link(client, port, &most)))
		return 1;
	return port->maker == client ? start_port(client, port) : 0;
}

static void remember_shape(struct nm_client *client, const struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	client->before.chosen = port->ops->chosen_host_rings && !port->ephemeral;
	memcpy(client->before.host_rings, port->num_host_rings, sizeof(port->num_host_rings));
	memcpy(client->before.slots, port->num_slots, sizeof(port->num_slots));
}

/* If nobody uses it. One that was made on demand is gone, or was in use and stays as it is. */
static void restore_shape(const struct nm_client *client, struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK)
{
	if (client->before.chosen)
		(void)nm_port_reshape_locked(port, client->before.host_rings, client->before.slots);
}

/* A dead port is gone behind its unbind. */
static void unbind_failed(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	bool stays = !port->dead;

	unbind_locked(client, port);
	if (stays)
		restore_shape(client, port);
}

int nm_client_go_on(struct nm_client *client, uint32_t most)
{
	struct nm_port *port = client->port;
	int error;

	if (!port)
		return 0;
	nm_core_lock(client->core);
	error = go_on(client, port, most);
	if (error < 0)
		unbind_failed(client, port);
	nm_core_unlock(client->core);
	return error;
}

/* The first part, under the lock of the bind itself: that of a small port is all of it. */
static int first_part(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	int error = go_on(client, port, NM_SLOTS_PER_PART);

	if (error < 0)
		unbind_failed(client, port);
	return error;
}

/* As `bind` wishes, and bound as `plain`, which is what remains of it for a monitor. */
static int bind_port(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind,
	const struct nm_bind *plain) OS_REQUIRES(NM_CORE_LOCK)
{
	int error;

	remember_shape(client, port);
	error = choose_shape(client, port, bind);
	if (!error)
		error = bind_locked(client, port, plain);
	if (error) {
		restore_shape(client, port);
		return error;
	}
	client->flags = bind->flags;
	return client->in_parts ? 0 : first_part(client, port);
}

/* 1: there is more to be done. *ended: as many binds had ended when the lock was held. */
static int begin_bind(struct nm_client *client, const char *name, const struct nm_bind *bind,
	const struct nm_bind *plain, uint32_t *ended)
{
	struct nm_core *core = client->core;
	struct nm_wish wish = {0};
	struct nm_port *port;
	int error;

	do {
		nm_wish_lock(core, &wish);
		*ended = core->makes_ended;
		client->waits = false;
		port = find_port(client, name, bind);
		error = port ? bind_port(client, port, bind, plain) : client->err.code;
	} while (nm_wish_unlock(core, &wish, error < 0 ? error : 0));
	return error;
}

/* Somebody is about to open what the client wants. 0: not any more; -EINPROGRESS: here nobody waits for that. */
static int await_maker(struct nm_client *client, const char *name, uint32_t ended)
{
	const struct nm_platform_ops *platform = client->core->platform_ops;
	int error;

	if (!platform || !platform->await_make)
		return -EINPROGRESS;
	error = platform->await_make(client->core, ended);
	return error ? nm_error_set(&client->err, error,
			       "%s: ended while another client was about to open it", name)
		     : 0;
}

/* Nobody wants the rest of it. */
static int end_bind(struct nm_client *client, int why)
{
	struct nm_port *port = client->port;

	nm_core_lock(client->core);
	nm_error_set(&client->err, why, "%s: ended while it was about to open it", port->name);
	unbind_failed(client, port);
	nm_core_unlock(client->core);
	return why;
}

/* The other parts. */
static int finish(struct nm_client *client)
{
	const struct nm_platform_ops *platform = client->core->platform_ops;
	int more;

	while ((more = nm_client_go_on(client, NM_SLOTS_PER_PART)) > 0) {
		int error = platform && platform->between_parts ? platform->between_parts() : 0;

		if (error)
			return end_bind(client, error);
	}
	return more;
}

int nm_client_bind(struct nm_client *client, const char *name, const struct nm_bind *bind)
{
	struct nm_bind plain = *bind;
	uint32_t ended;
	int error;

	if (client->port)
		return nm_error_set(
			&client->err, -EBUSY, "already registered to %s", client->port->name);
	if (bind->mode != NR_REG_NULL && (bind->flags & MONITOR_FLAGS)) {
		/* The choice of rings is that of the rings that are watched. */
		plain.mode = NR_REG_ALL_NIC;
		plain.flags &= ~(uint64_t)(NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY);
	}
	do {
		error = begin_bind(client, name, bind, &plain, &ended);
		if (!client->waits)
			return error > 0 ? finish(client) : error;
		error = await_maker(client, name, ended);
	} while (!error);
	return error;
}
