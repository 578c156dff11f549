/* SPDX-License-Identifier: BSD-2-Clause */
#include "attachment.h"
#include "client_internal.h"
#include "names.h"
#include "slots.h"
#include "vale.h"
#include "wish.h"

/* ---- moving packets -------------------------------------------------------------------- */

struct nm_ring *nm_attachment_ring(const struct nm_attachment *att, uint32_t pair, uint32_t which)
{
	bool host = pair >= att->device_pairs;
	const struct nm_client *device = host ? &att->host : &att->device;
	const struct nm_client *sw = host ? &att->sw_host : &att->sw;
	const struct nm_client *client = which < NM_ATTACHMENT_SWITCH_TX ? device : sw;
	enum nm_dir dir = which == NM_ATTACHMENT_DEVICE_TX || which == NM_ATTACHMENT_SWITCH_TX
				  ? NM_TX
				  : NM_RX;
	uint32_t i = host ? pair - att->device_pairs : pair;

	if (pair >= att->pairs || which >= NM_ATTACHMENT_RINGS || i >= client->count[dir])
		return NULL;
	return nm_client_ring(client, dir, i);
}

static uint32_t available(const struct nm_ring *ring)
{
	return nm_ring_distance(ring->head, ring->tail, ring->num_slots);
}

static void drop(struct nm_ring *dst, enum nm_drop cause)
{
	nm_count(&dst->stats.packets, 1);
	nm_count(&dst->stats.drops[cause], 1);
}

/* Exchanges the buffers of a packet for those of as many slots from `to` on. */
static enum nm_drop exchange(const struct nm_slots *src, const struct nm_pkt *pkt,
	const struct nm_slots *dst, uint32_t to)
{
	uint32_t spare[NETMAP_MAX_FRAGS], from = pkt->first;

	if (!nm_slots_buffers(dst, to, pkt->slots, spare))
		return NM_DROP_BAD_BUFFER;
	for (uint32_t i = 0; i < pkt->slots; i++) {
		const struct nm_frag *frag = &pkt->frags[i];

		nm_slot_store(&dst->slots[to], frag->buf_idx, frag->len,
			NS_BUF_CHANGED | (i + 1 < pkt->slots ? NS_MOREFRAG : 0));
		nm_slot_store(&src->slots[from], spare[i], frag->len, NS_BUF_CHANGED);
		from = nm_ring_advance(from, 1, src->num_slots);
		to = nm_ring_advance(to, 1, dst->num_slots);
	}
	return NM_DROPS;
}

/* How far the two rings have come. */
struct positions {
	uint32_t src, dst;
};

/* Packets into free slots. One whose end is not there waits for it. */
static struct positions move_packets(struct nm_ring *src, struct nm_ring *dst)
{
	struct positions at = {src->head, dst->head};
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	uint32_t room = available(dst);
	struct nm_slots from, to;

	nm_slots_init_ring(&from, src, 0);
	nm_slots_init_ring(&to, dst, 0);
	while (room > 0 && nm_pkt_next(&from, &at.src, src->tail, &pkt) != NM_PKT_PARTIAL) {
		if (unlikely(dst->port->ops->receives_only))
			pkt.cause = NM_DROP_RECEIVES_ONLY;
		else if (unlikely(pkt.slots > dst->num_slots - 1) && pkt.cause == NM_DROPS)
			pkt.cause = NM_DROP_TOO_LONG; /* more than the ring has */
		else if (pkt.cause == NM_DROPS && pkt.slots > room)
			break;
		if (likely(pkt.cause == NM_DROPS))
			pkt.cause = exchange(&from, &pkt, &to, at.dst);
		if (likely(pkt.cause == NM_DROPS)) {
			at.dst = nm_ring_advance(at.dst, pkt.slots, dst->num_slots);
			room -= pkt.slots;
		} else {
			drop(dst, pkt.cause);
		}
		at.src = pkt.next;
	}
	return at;
}

/* Packets that wait for room on the switch might find some by a sync. */
static bool is_retried(struct nm_ring *dst)
{
	return unlikely(nm_ring_waits(dst)) && dst->port->ops->can_send &&
	       dst->port->ops->can_send(dst);
}

/*
 * From the rx ring of one port to the tx ring of the other. Both are synced first: what has come,
 * and where there is room again; a tx ring whose packets its port couldn't take last time
 * (hwcur != head) tries again by that.
 */
static bool step_one_way(struct nm_ring *src, struct nm_ring *dst)
{
	uint32_t hwcur = dst->hwcur, tail = dst->tail;
	struct positions at;
	bool moved;

	if (nm_ring_sync(src, src->head, src->head) != 0)
		return false;
	if (dst->hwcur != dst->head || available(dst) < available(src) || is_retried(dst))
		if (nm_ring_sync(dst, dst->head, dst->head) != 0)
			return false;
	at = move_packets(src, dst);
	moved = at.src != src->head;
	if (at.dst != dst->head)
		(void)nm_ring_sync(dst, at.dst, at.dst); /* -ENXIO: dead, as the next step says */
	if (moved)
		(void)nm_ring_sync(src, at.src, at.src);
	return moved || dst->hwcur != hwcur || dst->tail != tail;
}

/* The device's packets have no place to go to. */
static bool discard(struct nm_ring *src)
{
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots from;
	uint32_t at = src->head;

	if (nm_ring_sync(src, src->head, src->head) != 0)
		return false;
	nm_slots_init_ring(&from, src, 0);
	while (nm_pkt_next(&from, &at, src->tail, &pkt) != NM_PKT_PARTIAL) {
		nm_count(&src->stats.drops[NM_DROP_NO_RECEIVER], 1);
		at = pkt.next;
	}
	if (at == src->head)
		return false;
	(void)nm_ring_sync(src, at, at); /* -ENXIO: dead, as the next step says */
	return true;
}

bool nm_attachment_step(struct nm_attachment *att, uint32_t pair)
{
	struct nm_ring *ring[NM_ATTACHMENT_RINGS];
	bool moved = false;

	for (uint32_t i = 0; i < NM_ATTACHMENT_RINGS; i++)
		ring[i] = nm_attachment_ring(att, pair, i);
	if (ring[NM_ATTACHMENT_DEVICE_RX] && ring[NM_ATTACHMENT_SWITCH_TX])
		moved = step_one_way(ring[NM_ATTACHMENT_DEVICE_RX], ring[NM_ATTACHMENT_SWITCH_TX]);
	else if (ring[NM_ATTACHMENT_DEVICE_RX] && att->lent && pair < att->device_pairs)
		moved = discard(ring[NM_ATTACHMENT_DEVICE_RX]);
	if (ring[NM_ATTACHMENT_SWITCH_RX] && ring[NM_ATTACHMENT_DEVICE_TX])
		moved |= step_one_way(ring[NM_ATTACHMENT_SWITCH_RX], ring[NM_ATTACHMENT_DEVICE_TX]);
	return moved;
}

/* Something waits for room in dst, or in what is behind it: would a sync make some now? */
static bool can_send(const struct nm_ring *src, struct nm_ring *dst)
{
	if (!src || !dst || !dst->port->ops->can_send || OS_LOAD(&dst->port->dead))
		return false;
	return (dst->hwcur != dst->head || available(src) > 0 || nm_ring_waits(dst)) &&
	       dst->port->ops->can_send(dst);
}

/* All of the rx ring was taken: has more come? */
static bool comes(struct nm_ring *rx)
{
	if (!rx || !rx->port->ops->wants_room || OS_LOAD(&rx->port->dead))
		return false;
	return available(rx) == 0 && rx->port->ops->wants_room(rx);
}

bool nm_attachment_prepare_sleep(struct nm_attachment *att, uint32_t pair)
{
	os_mb(); /* "asleep" is out before the rings are looked at; who makes work does it the
		    other way round */
	if (nm_attachment_step(att, pair))
		return true;
	os_mb(); /* as can_send() wants it: behind the sync that found no room */
	return comes(nm_attachment_ring(att, pair, NM_ATTACHMENT_DEVICE_RX)) ||
	       can_send(nm_attachment_ring(att, pair, NM_ATTACHMENT_SWITCH_RX),
		       nm_attachment_ring(att, pair, NM_ATTACHMENT_DEVICE_TX)) ||
	       can_send(nm_attachment_ring(att, pair, NM_ATTACHMENT_DEVICE_RX),
		       nm_attachment_ring(att, pair, NM_ATTACHMENT_SWITCH_TX));
}

bool nm_attachment_waits(const struct nm_attachment *att, uint32_t pair)
{
	const struct nm_ring *ring = nm_attachment_ring(att, pair, NM_ATTACHMENT_SWITCH_TX);

	return ring && !OS_LOAD(&ring->port->dead) && nm_ring_waits(ring);
}

/* ---- a place that is lent --------------------------------------------------------------- */

/* What whoever had the rings before was dropping is not ours to finish. */
static void forget_dropping(struct nm_attachment *att)
{
	for (uint32_t pair = 0; pair < att->pairs; pair++) {
		for (uint32_t which = 0; which < NM_ATTACHMENT_RINGS; which++) {
			struct nm_ring *ring = nm_attachment_ring(att, pair, which);

			if (ring && ring->dir == NM_RX)
				ring->dropping = 0;
		}
	}
}

/* Whose rings they are from now on; the attachment is paused. */
static void set_stack(struct nm_attachment *att, bool back)
{
	if (att->device.port->ops->is_stack)
		OS_STORE(&att->sw.port->stack, back);
}

/* The attachment whose place on a switch this port is; not that of host rings. */
static struct nm_attachment *placed_at(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_attachment *att = port->core->attachments;

	while (att && att->sw.port != port)
		att = att->next;
	return att;
}

/* The one whose device this is. */
static struct nm_attachment *made_for(const struct nm_port *device) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_attachment *att = device->core->attachments;

	while (att && att->device.port != device)
		att = att->next;
	return att;
}

static bool can_lend(const struct nm_attachment *att)
{
	return att && att->device.port->ops->persistent && !att->device.port->dead &&
	       att->core->platform_ops->attachment_pause;
}

struct nm_port *nm_attachment_place_locked(struct nm_port *port, const void *ns)
{
	const struct nm_attachment *att = made_for(port);

	nm_core_assert_locked(port->core);
	return can_lend(att) && att->ns == ns ? att->sw.port : port;
}

const struct nm_port *nm_attachment_device_locked(const struct nm_port *port)
{
	const struct nm_attachment *att = placed_at(port);

	nm_core_assert_locked(port->core);
	return att ? att->device.port : NULL;
}

void nm_attachment_lend_locked(struct nm_port *port)
{
	struct nm_attachment *att = placed_at(port);

	nm_core_assert_locked(port->core);
	if (!can_lend(att) || att->lent)
		return;
	port->core->platform_ops->attachment_pause(att, true);
	memcpy(att->lent_count, att->sw.count, sizeof(att->lent_count));
	set_stack(att, false);
	nm_client_leave_rings(&att->sw);
	att->lent = true;
	port->core->platform_ops->attachment_pause(att, false);
}

bool nm_attachment_has_lent_locked(const struct nm_port *port)
{
	const struct nm_attachment *att = placed_at(port);

	nm_core_assert_locked(port->core);
	return att && att->lent;
}

void nm_attachment_take_back_locked(struct nm_port *port)
{
	struct nm_attachment *att = placed_at(port);

	nm_core_assert_locked(port->core);
	if (!att || !att->lent || port->dead || port->clients > 1)
		return;
	port->core->platform_ops->attachment_pause(att, true);
	/* Its last user may have chosen another header. The switch takes each. */
	(void)nm_port_set_hdr_len_locked(port, att->device.port->hdr_len);
	nm_client_take_rings(&att->sw, att->lent_count);
	set_stack(att, true);
	att->lent = false;
	forget_dropping(att);
	port->core->platform_ops->attachment_pause(att, false);
}

/* ---- on and off a switch ---------------------------------------------------------------- */

static bool is_called(const struct nm_attachment *att, const void *ns, const char *name)
{
	return att->ns == ns && strcmp(att->name, name) == 0;
}

struct nm_attachment *nm_attachment_find_locked(
	struct nm_core *core, const void *ns, const char *name)
{
	struct nm_attachment *att = core->attachments;

	nm_core_assert_locked(core);
	while (att && !is_called(att, ns, name))
		att = att->next;
	return att;
}

/* A client's error and text become those of the request. */
static int passed_on(const struct nm_client *client, int error, struct nm_error *err)
{
	return nm_error_set(err, error, "%s", client->err.text);
}

/* A switch port like `device`, seen from the other side of the wire, in the same region. stack: the system's is behind it. */
static int bind_switch(
	const struct nm_client *device, struct nm_client *sw, const char *name, bool stack)
{
	const struct nm_port *port = device->port;
	struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC,
		.flags = NR_EXCLUSIVE | NR_ACCEPT_VNET_HDR,
		.num_rings = {device->count[NM_RX], device->count[NM_TX]},
		.num_slots = {port->num_slots[NM_RX], port->num_slots[NM_TX]},
	};
	uint32_t hdr_len = device->port->hdr_len;
	struct nm_core *core = device->core;
	int error;

	sw->own_region = port->region;
	error = nm_client_bind(sw, name, &bind);
	if (error)
		return error;
	nm_core_lock(core);
	if (sw->port->region != port->region || sw->port->clients > 1) {
		error = nm_error_set(&sw->err, -EBUSY, "%s: is in use already", name);
	} else {
		error = nm_port_set_hdr_len_locked(sw->port, hdr_len);
		if (error)
			nm_error_set(&sw->err, error, "%s: no virtio-net header of %u bytes", name,
				hdr_len);
		OS_STORE(&sw->port->stack, stack);
	}
	nm_core_unlock(core);
	return error;
}

/* A region for a device that has none yet, and its port on the switch; of a persistent port on a second one, too.
 * A device that isn't there is no error here: the bind will say so. */
static int make_region(struct nm_attachment *att, const char *device, struct nm_error *err)
{
	struct nm_core *core = att->core;
	struct nm_wish wish = {0};
	const struct nm_port *port;
	int error;

	do {
		nm_wish_lock(core, &wish);
		port = nm_port_find_in_locked(core, att->ns, device);
		if (port && !port->region)
			att->region = nm_client_region_mirror(
				&att->device, port, port->ops->persistent ? 2 : 1);
		error = port && !port->region && !att->region ? att->device.err.code : 0;
	} while (nm_wish_unlock(core, &wish, error));
	return error ? passed_on(&att->device, error, err) : 0;
}

/* One half of an attachment: the device's own rings, or its host rings. */
static int bind_half(struct nm_client *device, struct nm_client *sw, const char *device_name,
	const char *sw_name, const struct nm_bind *bind, struct nm_error *err)
{
	int error = nm_client_bind(device, device_name, bind);

	if (error)
		return passed_on(device, error, err);
	error = bind_switch(
		device, sw, sw_name, bind->mode == NR_REG_SW || device->port->ops->is_stack);
	return error ? passed_on(sw, error, err) : 0;
}

/* Host rings that lead where the device's own rings lead. */
static int bind_unswitched(struct nm_attachment *att, const char *device, struct nm_error *err)
{
	const struct nm_bind bind = {.mode = NR_REG_SW, .flags = NR_EXCLUSIVE | NR_ACCEPT_VNET_HDR};
	int error = nm_client_bind(&att->host, device, &bind);

	return error ? passed_on(&att->host, error, err) : 0;
}

static uint32_t most_rings(const struct nm_client *client)
{
	return client->count[NM_TX] > client->count[NM_RX] ? client->count[NM_TX]
							   : client->count[NM_RX];
}

/* A port that is on another switch stays while it is on this one. */
static void pin_persistent(struct nm_attachment *att)
{
	const struct nm_attachment *first;

	nm_core_lock(att->core);
	first = placed_at(att->device.port);
	if (first && can_lend(first)) {
		att->pinned = first->device.port;
		nm_port_pin_locked(att->pinned);
	}
	nm_core_unlock(att->core);
}

static int bind_all(struct nm_attachment *att, const char *device, const struct nm_bind *wanted,
	struct nm_error *err)
{
	struct nm_bind bind = {
		.mode = NR_REG_ALL_NIC,
		.flags = NR_EXCLUSIVE | NR_ACCEPT_VNET_HDR,
		.mem_id = wanted->mem_id,
	};
	char host_name[NETMAP_REQ_IFNAMSIZ];
	int error = wanted->mem_id ? 0 : make_region(att, device, err);

	if (error)
		return error;
	if (att->region)
		bind.mem_id = att->region->id;
	error = bind_half(&att->device, &att->sw, device, att->name, &bind, err);
	if (error)
		return error;
	pin_persistent(att);
	att->device_pairs = att->pairs = most_rings(&att->device);
	if (wanted->mode != NR_REG_NIC_SW)
		return 0;
	if (att->device.port->ops
			->is_stack) /* it is on the switch by that: taken for nothing else */
		return bind_unswitched(att, device, err);
	if (os_snprintf(host_name, sizeof(host_name), "%s^", att->name) >= (int)sizeof(host_name))
		return nm_error_set(err, -EINVAL,
			"%s: the name of the port for its host rings has one character more, and that is too long",
			att->name);
	bind.mode = NR_REG_SW;
	bind.mem_id = 0;
	error = bind_half(&att->host, &att->sw_host, device, host_name, &bind, err);
	if (!error)
		att->pairs += most_rings(&att->host);
	return error;
}

/* NULL is allowed; no thread runs it any more. The switch's ports go first: from then on nothing is
 * sent to the device, and what they have exchanged is reconciled while the device is there. */
static void free_attachment(struct nm_attachment *att)
{
	if (!att)
		return;
	nm_client_unbind(&att->sw_host);
	nm_client_unbind(&att->sw);
	nm_client_unbind(&att->host);
	nm_client_unbind(&att->device);
	nm_core_lock(att->core);
	nm_region_put(att->region);
	if (att->pinned)
		nm_port_unpin_locked(att->pinned);
	nm_core_unlock(att->core);
	os_free(att);
}

static int start(struct nm_attachment *att, uint32_t *port_index, struct nm_error *err)
{
	struct nm_core *core = att->core;
	char name[NETMAP_REQ_IFNAMSIZ];
	uint32_t sw_index;
	int error;

	memcpy(name, att->name, sizeof(name));
	forget_dropping(att);
	nm_core_lock(core);
	error = nm_vale_list_locked(core, att->ns, name, &sw_index, port_index);
	if (!error)
		error = core->platform_ops->attachment_start(att, err);
	if (!error) {
		att->next = core->attachments;
		core->attachments = att;
	}
	nm_core_unlock(core);
	return error;
}

static int check_request(const struct nm_core *core, const char *name, const struct nm_bind *bind,
	struct nm_name *parsed, struct nm_error *err)
{
	int error = nm_name_parse(name, parsed, err);

	if (error)
		return error;
	if (parsed->kind != NM_NAME_VALE || parsed->pipe != NM_PIPE_NONE)
		return nm_error_set(err, -EINVAL,
			"%s: the name of a device on a switch is valeID:DEVICE", name);
	if (bind->mode != NR_REG_DEFAULT && bind->mode != NR_REG_ALL_NIC &&
		bind->mode != NR_REG_NIC_SW) {
		return nm_error_set(err, -EINVAL,
			"%s: mode %u; a device is attached with all of its rings (%u), or with its host rings as well (%u)",
			name, bind->mode, NR_REG_ALL_NIC, NR_REG_NIC_SW);
	}
	if (!core->platform_ops || !core->platform_ops->attachment_start ||
		!core->platform_ops->attachment_stop)
		return nm_error_set(
			err, -EOPNOTSUPP, "%s: devices can't be attached to a switch here", name);
	return 0;
}

/* Two requests at a time: the second one will find rings in use. */
static int check_new(struct nm_core *core, const void *ns, const char *name, struct nm_error *err)
{
	bool there;

	nm_core_lock(core);
	there = nm_attachment_find_locked(core, ns, name) != NULL;
	nm_core_unlock(core);
	return there ? nm_error_set(err, -EBUSY, "%s: is on the switch already", name) : 0;
}

static void init_client(struct nm_attachment *att, struct nm_client *client)
{
	nm_client_init(client, att->core);
	client->ns = att->ns;
}

int nm_attachment_add(struct nm_core *core, void *ns, const char *name, const struct nm_bind *bind,
	uint32_t *port_index, struct nm_error *err)
{
	struct nm_attachment *att;
	struct nm_name parsed;
	int error = check_request(core, name, bind, &parsed, err);

	if (!error)
		error = check_new(core, ns, name, err);
	if (error)
		return error;
	att = os_zalloc(sizeof(*att));
	if (!att)
		return nm_error_set(err, -ENOMEM, "%s: no memory", name);
	att->core = core;
	att->ns = ns;
	memcpy(att->name, name, strlen(name) + 1);
	init_client(att, &att->device);
	init_client(att, &att->sw);
	init_client(att, &att->host);
	init_client(att, &att->sw_host);
	error = bind_all(att, parsed.port, bind, err);
	if (!error)
		error = start(att, port_index, err);
	if (error)
		free_attachment(att);
	return error;
}

/* The one that has the place of `first` for its device, on another switch of the same namespace; NULL: none. */
static const struct nm_attachment *second_of(const struct nm_attachment *first)
	OS_REQUIRES(NM_CORE_LOCK)
{
	return first->lent ? made_for(first->sw.port) : NULL;
}

/* NULL with a text: there is none, or the caller may not. */
static struct nm_attachment **find_link(struct nm_core *core, const void *ns, const char *name,
	bool ask, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_attachment **link = &core->attachments;

	while (*link && !is_called(*link, ns, name))
		link = &(*link)->next;
	if (!*link) {
		nm_error_set(err, -ENXIO, "%s: no such device is attached to a switch", name);
		return NULL;
	}
	if (ask && nm_port_admit_locked((*link)->device.port, err) != 0)
		return NULL;
	if (ask && (*link)->lent) {
		nm_error_set(err, -EBUSY, "%s: an application has the port; end it first", name);
		return NULL;
	}
	return link;
}

/* Out of the list, so that no other thread detaches it, and stopped. */
static struct nm_attachment *unlink_attachment(struct nm_core *core, void *ns, const char *name,
	bool ask, uint32_t *port_index, struct nm_error *err)
{
	char copy[NETMAP_REQ_IFNAMSIZ] = "";
	struct nm_attachment **link, *att = NULL;
	uint32_t sw_index;

	nm_core_lock(core);
	link = find_link(core, ns, name, ask, err);
	if (link) {
		att = *link;
		*link = att->next;
		memcpy(copy, att->name, sizeof(copy));
		if (nm_vale_list_locked(core, ns, copy, &sw_index, port_index) != 0)
			*port_index = 0;
		core->platform_ops->attachment_stop(att);
	}
	nm_core_unlock(core);
	return att;
}

static int remove_attachment(struct nm_core *core, void *ns, const char *name, bool ask,
	uint32_t *port_index, struct nm_error *err)
{
	struct nm_attachment *att = unlink_attachment(core, ns, name, ask, port_index, err);

	if (!att)
		return err->code;
	free_attachment(att);
	return 0;
}

int nm_attachment_remove(struct nm_core *core, void *ns, const char *name, uint32_t *port_index,
	struct nm_error *err)
{
	return remove_attachment(core, ns, name, false, port_index, err);
}

/* What there is to attach again when an attachment has ended; name "": nothing. */
struct again {
	struct nm_core *core;
	void *ns; /* the caller's, who holds it */
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_bind bind;
	struct nm_error *err;
	int error;
};

/* The attachment on a second switch, whose device is the place on the first one. */
static struct again find_second(struct nm_core *core, void *ns, const char *name)
{
	struct again again = {.core = core, .ns = ns, .name = ""};
	const struct nm_attachment *first, *second;

	nm_core_lock(core);
	first = nm_attachment_find_locked(core, ns, name);
	second = first ? second_of(first) : NULL;
	if (second) {
		memcpy(again.name, second->name, sizeof(again.name));
		again.bind.mode = second->host.port ? NR_REG_NIC_SW : NR_REG_ALL_NIC;
	}
	nm_core_unlock(core);
	return again;
}

static void add_again(void *arg)
{
	struct again *again = arg;
	uint32_t ignored;

	again->error = nm_attachment_add(
		again->core, again->ns, again->name, &again->bind, &ignored, again->err);
}

/* It isn't the caller's, who may be killed by now. */
static int put_back(struct again *again, struct nm_error *err)
{
	const struct nm_platform_ops *platform = again->core->platform_ops;

	again->err = err;
	if (platform->run_apart)
		platform->run_apart(add_again, again);
	else
		add_again(again);
	return again->error;
}

int nm_attachment_detach(struct nm_core *core, void *ns, const char *name, uint32_t *port_index,
	struct nm_error *err)
{
	struct again again = find_second(core, ns, name);
	struct nm_error why;
	uint32_t ignored;
	int error;

	if (!again.name[0])
		return remove_attachment(core, ns, name, true, port_index, err);
	error = remove_attachment(core, again.ns, again.name, true, &ignored, err);
	if (error)
		return error;
	error = remove_attachment(core, ns, name, true, port_index, &why);
	if (put_back(&again, err) != 0)
		return error ? nm_error_set(err, error, "%s; and %s is off", why.text, again.name)
			     : again.error;
	if (error)
		*err = why;
	return error;
}
