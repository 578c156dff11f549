/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of network interfaces: what netmapd-nic says, what the kernel puts into AF_XDP's rings, and what applications put into
 * slots. All of netmapd's side is here (ports/nic*.c, nic/nic_client.c, nic/xsk.c); the target plays the others: netmapd-nic is
 * the other end of a socket pair, a socket is a file whose pages are the four rings, and a queue of a twin, which leads to the host's
 * stack, one more socket pair.
 *
 * When a port has ended what the kernel has (afxdp.h) is nobody else's until netmapd-nic says that it has let go.
 */
#include "fuzz_core.h"

#include "afxdp.h"

#include "accounts.h"
#include "daemon.h"
#include "tap.h"
#include "nic_internal.h"
#include "nic_connect.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEPS = 64,
	APPS = 3,
	LINKS = 6, /* of one input */
	QUEUES = 2,
	SLOTS = 64, /* of the device's own rings, and so of ports */
	USER = 1000,
	LATEST_ROUNDS = 200,
	BUFS = 800, /* of a region for NICs; those that requests make have what they ask for */
};

/* One connection to netmapd-nic. */
struct link {
	int sock; /* -1: hung up */
	char name[NIC_NAME_MAX];
	uint32_t todo;   /* type of the message that wants an kernel_answer; 0: none */
	uint32_t posted; /* chunks of NIC_BIND, of all queues */
	struct nic_open open;
	struct nic_released released;
	struct nic_use use;
	int stack[NIC_QUEUES_MAX]; /* the host's end of twins, as many as there have been */
	uint32_t num_stack;
	bool twin;
	uint32_t num_queues;
	bool closing, again; /* again: only asked whether the kernel has let go */
	struct kqueue queue[QUEUES];
	struct nm_region *region; /* while the port has it, and afterwards until all is gone */
};

struct app {
	struct nm_client client; /* port NULL: closed */
	struct port_wait wait;
	struct tap_wait tap_wait; /* never: there are no TAPs */
	bool opens;               /* waits for the port to move packets */
	uint8_t how;
	char device[8], name[16];
};

static struct daemon d; /* as far as ports of NICs know it */
static struct link links[LINKS];
static struct app apps[APPS];
static uint32_t num_links;
static uint32_t device_queues;
static bool is_igb;
static bool hostile;   /* netmapd-nic has lied, or hung up */
static bool strangers; /* slots have had any buffers */

/* ---- the system, wrapped -------------------------------------------------------------------------- */

int __wrap_nic_connect(const char *socket, struct nm_error *err);
int __wrap_nic_poll_init(void);
void __wrap_nic_poll_exit(void);
int __wrap_nic_poll_add(struct nic_poll *p);
void __wrap_nic_poll_remove(struct nic_poll *p);
void __wrap_nic_poll_arm(struct nic_poll *p);
void __wrap_nic_poll_later(struct nic_poll *p, bool progress);
int __wrap_os_mem_fd(const struct os_mem *mem);

int __wrap_nic_connect(const char *socket, struct nm_error *err)
{
	int pair[2];

	if (num_links == LINKS ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		hostile = true;
		return nm_error_set(err, -ECONNREFUSED, "no more connections");
	}
	memset(&links[num_links], 0, sizeof(links[0]));
	links[num_links++].sock = pair[1];
	return pair[0];
}

int __wrap_nic_poll_init(void)
{
	return 0;
}

void __wrap_nic_poll_exit(void)
{
}

int __wrap_nic_poll_add(struct nic_poll *p)
{
	p->due_ms = 0;
	return kernel_answer == 255 ? -ENOMEM : 0;
}

void __wrap_nic_poll_remove(struct nic_poll *p)
{
}

void __wrap_nic_poll_arm(struct nic_poll *p)
{
}

void __wrap_nic_poll_later(struct nic_poll *p, bool progress)
{
	p->due_ms = progress;
}

/* Regions are on the heap; nobody looks at what is sent. */
int __wrap_os_mem_fd(const struct os_mem *mem)
{
	return STDERR_FILENO;
}

static void look(struct link *l)
{
	for (uint32_t i = 0; i < l->num_queues && i < QUEUES; i++)
		kernel_look(&l->queue[i]);
}

static struct nm_port *find_port(const char *name)
{
	struct nm_port *port;

	nm_core_lock(&d.core);
	port = nm_port_find_locked(&d.core, name);
	nm_core_unlock(&d.core);
	return port;
}

static void kernel_step(struct fuzz_in *in, bool lies)
{
	struct link *l = &links[fuzz_below(in, num_links)];
	struct kqueue *q = &l->queue[fuzz_below(in, QUEUES)];
	const struct nm_port *port = find_port(l->name);

	if (num_links == 0 || !q->used)
		return;
	if (lies)
		kernel_lies(in, q);
	else if (fuzz_u8(in) & 1)
		kernel_receives(in, q, port ? port->region : NULL);
	else
		kernel_completes(in, q);
}

/* ---- netmapd-nic ---------------------------------------------------------------------------------------- */

static void hang_up(struct link *l)
{
	if (l->sock >= 0)
		close(l->sock);
	l->sock = -1;
	l->todo = 0;
	while (l->num_stack > 0)
		close(l->stack[--l->num_stack]);
}

/* The chunks that are named in the file of a NIC_BIND. */
static void take_posted(struct link *l, const struct nic_bind *bind, int fd)
{
	size_t each = NIC_POSTED_HEAD + (size_t)l->open.fill * sizeof(uint64_t);
	char *map = mmap(NULL, l->num_queues * each, PROT_READ, MAP_SHARED, fd, 0);

	fuzz_check(map != MAP_FAILED, "what was posted can't be mapped");
	for (uint32_t i = 0; i < l->num_queues && i < QUEUES; i++) {
		fuzz_check(bind->posted[i] <= l->open.fill, "%u of %u chunks are posted",
			bind->posted[i], l->open.fill);
		for (uint32_t n = 0; n < bind->posted[i]; n++)
			kernel_gets(&l->queue[i],
				((uint64_t *)(void *)(map + i * each + NIC_POSTED_HEAD))[n]);
	}
	munmap(map, l->num_queues * each);
}

static void take_message(
	struct link *l, const union nic_message *msg, const int *fds, uint32_t num_fds)
{
	struct nm_port *port;

	l->todo = msg->hdr.type;
	switch (msg->hdr.type) {
	case NIC_ASK:
		memcpy(l->name, msg->ask.ifname, sizeof(l->name));
		break;
	case NIC_OPEN:
		l->open = msg->open;
		port = find_port(l->name);
		l->region = port ? port->region : NULL;
		break;
	case NIC_BIND:
		for (uint32_t i = 0; i < QUEUES; i++) {
			kernel_forget(&l->queue[i]);
			kernel_registers(&l->queue[i], l->open.umem_bytes);
		}
		fuzz_check(num_fds == 1, "%u files to bind", num_fds);
		take_posted(l, &msg->bind, fds[0]);
		break;
	case NIC_CLOSE:
		l->closing = true;
		break;
	case NIC_RELEASED:
		l->released = msg->released;
		break;
	case NIC_USE:
		l->use = msg->use;
		l->twin &= msg->use.host_rings > 0;
		break;
	}
}

static void take_messages(struct link *l)
{
	union nic_message msg;
	int fds[NIC_QUEUES_MAX];
	uint32_t num_fds = NIC_QUEUES_MAX;

	while (l->sock >= 0 && nic_receive(l->sock, &msg, fds, &num_fds) > 0) {
		take_message(l, &msg, fds, num_fds);
		while (num_fds > 0)
			close(fds[--num_fds]);
		num_fds = NIC_QUEUES_MAX;
	}
}

static void set_facts(struct nic_facts *f, const char *name)
{
	*f = (struct nic_facts){.ifindex = 7,
		.up = 1,
		.carrier = 1,
		.mtu = 1500,
		.queues = device_queues,
		.tx_queues = device_queues,
		.queues_max = device_queues,
		.hw_rx = SLOTS,
		.hw_tx = SLOTS,
		.hw_rx_max = SLOTS,
		.hw_tx_max = SLOTS,
		.unfinished = !is_igb};
	memcpy(f->ifname, name, sizeof(f->ifname));
	strcpy(f->driver, is_igb ? "igb" : "veth");
}

static void say(struct link *l, union nic_message *msg, enum nic_message_type type, size_t bytes,
	const int *fds, uint32_t num_fds)
{
	nic_header_init(&msg->hdr, type);
	if (nic_send(l->sock, msg, bytes, fds, num_fds) != 0)
		hang_up(l);
}

static void say_bound(struct link *l, union nic_message *msg)
{
	int fds[QUEUES];

	for (uint32_t i = 0; i < l->num_queues; i++)
		fds[i] = kernel_socket(&l->queue[i], &l->open);
	msg->bound.mode = NIC_MODE_ZEROCOPY;
	say(l, msg, NIC_BOUND, sizeof(msg->bound), fds, l->num_queues);
	for (uint32_t i = 0; i < l->num_queues; i++)
		close(fds[i]);
}

/* What the kernel had of sockets before it has let go of. */
static void say_opened(struct link *l, union nic_message *msg)
{
	for (uint32_t i = 0; i < QUEUES; i++)
		kernel_forget(&l->queue[i]);
	l->num_queues = msg->opened.num_queues = device_queues;
	say(l, msg, NIC_OPENED, sizeof(msg->opened), NULL, 0);
}

/* A twin, if one is wanted and there is none; when it can't be had for once, a reason. */
static void say_used(struct link *l, union nic_message *msg, bool refused)
{
	int fds[NIC_QUEUES_MAX];
	uint32_t num_fds = 0;

	memset(msg, 0, sizeof(*msg));
	while (!l->twin && !refused && num_fds < l->use.host_rings) {
		int pair[2];

		if (l->num_stack == NIC_QUEUES_MAX ||
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
				pair) < 0)
			break;
		l->stack[l->num_stack++] = pair[1];
		fds[num_fds++] = pair[0];
	}
	if (num_fds < l->use.host_rings && !l->twin)
		msg->used.error = -EMFILE;
	while (msg->used.error && num_fds > 0)
		close(fds[--num_fds]);
	l->twin |= num_fds > 0;
	strcpy(msg->used.twin_name, l->twin ? "nmhost0" : "");
	say(l, msg, NIC_USED, sizeof(msg->used), fds, num_fds);
	while (num_fds > 0)
		close(fds[--num_fds]);
}

/* The host sends, in frames of any length behind a header, and takes what there is for it; or its interface goes. */
static void stack_step(struct fuzz_in *in)
{
	static uint8_t frame[66000];
	struct link *l = &links[fuzz_below(in, num_links)];
	uint8_t how = fuzz_u8(in);
	uint32_t at;

	if (num_links == 0 || l->sock < 0 || l->num_stack == 0)
		return;
	at = fuzz_below(in, l->num_stack);
	if (how > 250) {
		close(l->stack[at]);
		l->stack[at] = l->stack[--l->num_stack];
		return;
	}
	for (uint8_t n = 0; n < how % 8; n++)
		(void)send(l->stack[at], frame, (size_t)fuzz_edge(in, 1524) % sizeof(frame),
			MSG_NOSIGNAL | MSG_DONTWAIT);
	while (recv(l->stack[at], frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
}

/* What is to be said now; spoilt: another mode wants other sockets. */
static void answer_well(struct link *l, bool spoilt)
{
	union nic_message msg = {.hdr = {0}};
	uint32_t todo = l->todo;

	l->todo = 0;
	set_facts(&msg.told.facts, l->name); /* where all that have facts have them */
	switch (todo) {
	case NIC_ASK:
		say(l, &msg, NIC_KNOWN, sizeof(msg.told), NULL, 0);
		break;
	case NIC_OPEN:
		say_opened(l, &msg);
		break;
	case NIC_BIND:
		if (!spoilt)
			say_bound(l, &msg);
		else
			say(l, &msg, NIC_DETACHED, sizeof(msg.plain), NULL, 0);
		break;
	case NIC_CLOSE:
		say(l, &msg, NIC_DETACHED, sizeof(msg.plain), NULL, 0);
		break;
	case NIC_USE:
		say_used(l, &msg, spoilt);
		break;
	case NIC_RELEASED:
		if (l->closing || !l->num_queues) {
			memset(&msg, 0, sizeof(msg));
			l->region = NULL;
			say(l, &msg, NIC_GONE, sizeof(msg.gone), NULL, 0);
		} else {
			say_opened(l, &msg);
		}
		break;
	}
}

/* Of any type, right but for some bytes. */
static void answer_badly(struct fuzz_in *in, struct link *l)
{
	static const struct {
		enum nic_message_type type;
		size_t bytes;
	} kinds[] = {{NIC_KNOWN, sizeof(struct nic_told)}, {NIC_OPENED, sizeof(struct nic_opened)},
		{NIC_BOUND, sizeof(struct nic_bound)}, {NIC_CHANGED, sizeof(struct nic_told)},
		{NIC_DETACHED, sizeof(struct nic_plain)}, {NIC_GONE, sizeof(struct nic_gone)},
		{NIC_FAILED, sizeof(struct nic_failed)}, {NIC_REPORT, sizeof(struct nic_report)},
		{NIC_USED, sizeof(struct nic_used)}};
	union nic_message msg = {.hdr = {0}};
	uint32_t kind = fuzz_below(in, 9), num_fds = fuzz_below(in, 4);
	int fds[4] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};

	if (kind == 3) {
		set_facts(&msg.told.facts, l->name);
		msg.told.facts.carrier = fuzz_u8(in) & 1;
		msg.told.facts.mtu = (uint32_t)fuzz_edge(in, 1500);
		msg.told.deferred = msg.told.facts.mtu;
		if (fuzz_u8(in) & 1)
			fuzz_text(in, msg.told.facts.ifname, sizeof(msg.told.facts.ifname));
	} else {
		for (uint32_t n = fuzz_below(in, 8); n > 0; n--)
			((uint8_t *)&msg)[fuzz_u16(in) % kinds[kind].bytes] = fuzz_u8(in);
	}
	hostile = true;
	say(l, &msg, kinds[kind].type, kinds[kind].bytes - (fuzz_u8(in) == 77), fds, num_fds);
}

static bool is_there(const struct nm_region *region)
{
	const struct nm_region *r = d.core.regions;

	while (r && r != region)
		r = r->next;
	return r != NULL;
}

/* Nobody else has what the kernel has, as long as it has it. Of a region that ends nobody gets anything; and who puts buffers of
 * others into slots, which those who share a region could, has given them away. */
static void check_owners(void)
{
	for (struct link *l = links; l < links + num_links; l++) {
		const struct nm_port *port = find_port(l->name);

		if (hostile || strangers || l->sock < 0 || !is_there(l->region) ||
			l->region->ending || (port && port->region == l->region))
			continue;
		for (uint32_t q = 0; q < QUEUES; q++)
			for (uint32_t i = 0; i < l->queue[q].chunks; i++)
				fuzz_check(!l->queue[q].has[i] ||
						   (nm_bufown_owner(l->region, NM_POOL_BUF, i) &
							   NM_OWNER_FIXED),
					"buffer %u is the kernel's, and owner %x has it", i,
					nm_bufown_owner(l->region, NM_POOL_BUF, i));
	}
}

static void run(void)
{
	for (int i = 0; i < LATEST_ROUNDS && loop_run_once(d.loop, 0) > 0; i++)
		;
	for (uint32_t i = 0; i < num_links; i++)
		look(&links[i]);
	check_owners();
	for (uint32_t i = 0; i < num_links; i++)
		take_messages(&links[i]);
}

static void nic_step(struct fuzz_in *in)
{
	struct link *l = &links[fuzz_below(in, num_links)];
	uint8_t how = fuzz_u8(in);

	if (num_links == 0 || l->sock < 0)
		return;
	if (how < 200) {
		answer_well(l, how > 180);
	} else if (how < 245) {
		answer_badly(in, l);
	} else {
		hostile = true;
		hang_up(l);
	}
}

/* ---- applications ------------------------------------------------------------------------------------------ */

static void close_app(struct app *app)
{
	port_wait_forget(&app->wait);
	if (app->client.core)
		nm_client_unbind(&app->client);
	memset(app, 0, sizeof(*app));
}

static void bind_app(struct app *app)
{
	uint8_t how = app->how;
	const struct nm_bind bind = {
		.mode = (how & 40) == 40 ? (how & 64 ? NR_REG_SW : NR_REG_NIC_SW)
			: how & 2        ? NR_REG_ONE_NIC
					 : NR_REG_ALL_NIC,
		.ringid = how & 2 ? how >> 6 : 0,
		.num_host_rings = {0, how & 128 ? 2 : 0},
		.mem_id = how & 4 ? 5 : 0,
		.flags = (how & 24) == 24  ? NR_MONITOR_RX
			 : (how & 24) == 8 ? NR_TX_RINGS_ONLY
					   : 0,
		.num_slots = {how & 32 ? SLOTS : 0, how & 32 ? SLOTS * 2 : 0},
	};
	int error;

	nm_client_init(&app->client, &d.core);
	error = nm_client_bind(&app->client, app->name, &bind);
	fuzz_check_error(error, app->client.err.text);
	if (error)
		close_app(app);
	else
		app->opens = nics_ready(&d, app->name, false,
				     bind.mode == NR_REG_SW || bind.mode == NR_REG_NIC_SW,
				     how == 99 ? USER + 1 : USER, &app->wait) == -EINPROGRESS;
}

/* Its port is there, and nobody else's before it is asked for: it is bound now. Or it moves packets; or neither can be. */
static void told(void *arg, const struct nm_error *err)
{
	struct app *app = arg;
	bool opened = app->opens;

	app->opens = false;
	if (err)
		fuzz_check_error(err->code, err->text);
	if (opened && err)
		nm_client_unbind(&app->client);
	else if (!opened && !err && find_port(app->device))
		bind_app(app);
}

static void open_app(struct app *app, uint8_t how)
{
	struct nm_error err = {0};
	int error;

	if (app->wait.list)
		return;
	app->how = how;
	snprintf(app->device, sizeof(app->device), "eth%u", how & 1);
	snprintf(app->name, sizeof(app->name), "%s%s", app->device, how > 230 ? "{1" : "");
	app->wait.fn = told;
	app->wait.arg = app;
	error = nics_ask(&d, app->name, false, how == 99 ? USER + 1 : USER, &app->wait,
		&app->tap_wait, &err);
	if (error != -EINPROGRESS)
		fuzz_check_error(error, err.text);
	if (error == 0 && find_port(app->device))
		bind_app(app);
}

/* Until packets flow. */
static void bring_up(struct app *app, uint8_t how)
{
	for (int i = 0; i < 8 && (!app->client.port || app->opens); i++) {
		if (!app->client.port)
			open_app(app, how);
		run();
		for (uint32_t n = 0; n < num_links; n++)
			answer_well(&links[n], false);
		run();
	}
}

static struct nm_ring *choose_ring(struct fuzz_in *in, const struct app *app)
{
	const struct nm_client *client = &app->client;
	uint32_t count = client->port ? client->count[NM_TX] + client->count[NM_RX] : 0, i;
	struct nm_ring *ring;

	if (count == 0 || client->port->dead)
		return NULL;
	i = fuzz_below(in, count);
	ring = i < client->count[NM_TX] ? nm_client_ring(client, NM_TX, i)
					: nm_client_ring(client, NM_RX, i - client->count[NM_TX]);
	return ring->shared ? ring : NULL;
}

static void spoil_slot(struct fuzz_in *in, struct nm_ring *ring, struct netmap_slot *slot)
{
	uint8_t how = fuzz_u8(in);
	struct netmap_slot *other = &ring->slots[fuzz_below(in, ring->num_slots)];
	uint32_t mine = slot->buf_idx;

	if (how & 1)
		slot->len = (uint16_t)fuzz_edge(in, NM_NIC_BUF_SIZE - NM_NIC_HEADROOM);
	if (how & 2)
		slot->flags = fuzz_u16(in);
	if (how & 4)
		slot->ptr = fuzz_u64(in);
	if (how & 8) {
		slot->buf_idx = (uint32_t)fuzz_edge(in, BUFS);
		strangers = true;
	}
	if (how & 16) {
		slot->buf_idx = other->buf_idx;
		other->buf_idx = mine;
	}
}

static void use_ring(struct fuzz_in *in, struct nm_ring *ring)
{
	uint8_t how = fuzz_u8(in);
	uint32_t room = nm_ring_distance(ring->head, ring->tail, ring->num_slots), at = ring->head,
		 n;

	n = how % (room + 1);
	for (uint32_t i = 0; i < n && i < 8; i++, at = nm_ring_advance(at, 1, ring->num_slots)) {
		if (ring->dir == NM_TX) {
			ring->slots[at].len = (uint16_t)(60 + fuzz_u8(in));
			ring->slots[at].flags = how & 64 ? fuzz_u8(in) & NS_MOREFRAG : 0;
		}
		if (how & 128)
			spoil_slot(in, ring, &ring->slots[at]);
	}
	at = nm_ring_advance(ring->head, n, ring->num_slots);
	(void)nm_ring_sync(ring, at, at);
	if (ring->dir == NM_TX)
		(void)(ring->port->ops->can_send && ring->port->ops->can_send(ring));
	else
		(void)(ring->port->ops->wants_room && ring->port->ops->wants_room(ring));
}

static bool is_only_user(const struct app *app)
{
	const struct nm_client *client = &app->client;

	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < client->count[dir]; i++)
			if (nm_client_ring(client, dir, i)->users != 1)
				return false;
	return true;
}

static void app_step(struct fuzz_in *in)
{
	struct app *app = &apps[fuzz_below(in, APPS)];
	struct nm_ring *ring = choose_ring(in, app);
	uint8_t how = fuzz_u8(in);

	if (!app->client.port)
		open_app(app, fuzz_u8(in));
	else if (how > 240)
		close_app(app);
	else if (how > 225 && ring && is_only_user(app))
		nm_client_reset_rings(&app->client);
	else if (ring)
		use_ring(in, ring);
	if (how == 200)
		fuzz_fail_allocation(1 + fuzz_below(in, 16));
}

static void show(void)
{
	nm_core_lock(&d.core);
	for (struct nm_port *port = d.core.ports; port; port = port->next)
		if (nic_is(port))
			json_decref(nic_json(port));
	nm_core_unlock(&d.core);
}

/* ---- one input ----------------------------------------------------------------------------------------------- */

void fuzz_begin(void)
{
	fuzz_check(loop_new(&d.loop) == 0, "no loop");
	accounts_init(100000);
	d.config.nic_socket = "netmapd-nic"; /* who asks is asked */
}

/* All is closed, and netmapd-nic says what it must: until there is no connection. */
static void let_go(void)
{
	for (int i = 0; i < LATEST_ROUNDS && d.nics->list; i++) {
		run();
		for (uint32_t n = 0; n < num_links; n++)
			if (links[n].sock >= 0 && links[n].todo)
				answer_well(&links[n], false);
		if (i > LATEST_ROUNDS / 2) /* what it said before makes no sense of this */
			for (uint32_t n = 0; n < num_links && hostile; n++)
				hang_up(&links[n]);
	}
}

/* Nobody could prove that the kernel has let go of them. */
static void free_regions(void)
{
	nm_core_lock(&d.core);
	while (hostile && d.core.regions) {
		struct nm_region *region = d.core.regions;

		for (uint32_t i = 0; i < region->pool[NM_POOL_BUF].count; i++)
			if (nm_bufown_owner(region, NM_POOL_BUF, i) != NM_OWNER_NONE)
				nm_bufown_free_owner(
					region, nm_bufown_owner(region, NM_POOL_BUF, i));
		nm_region_put(region);
	}
	nm_core_unlock(&d.core);
}

void fuzz_one(struct fuzz_in *in)
{
	static const struct nm_region_params shared = {
		.count = {16, 64, 600}, .size = {1024, 2048, 128}};
	uint8_t how = fuzz_u8(in);

	hostile = strangers = false;
	kernel_answer = 0;
	num_links = 0;
	device_queues = 1 + (how & 1);
	is_igb = how & 2;
	nm_core_init(&d.core);
	d.core.region_params = shared;
	d.core.nic_bufs = BUFS;
	fuzz_check(taps_init(&d) == 0 && nics_init(&d) == 0, "no NICs");
	if (how & 8)
		bring_up(&apps[0], how & 16 ? 4 : 0);
	if (how & 32) /* in the same region, perhaps */
		bring_up(&apps[1], 1 | (how & 16 ? 4 : 0));
	for (int i = 0; i < STEPS && fuzz_more(in); i++) {
		uint8_t what = fuzz_u8(in);

		if (what < 90)
			app_step(in);
		else if (what < 160)
			nic_step(in);
		else if (what < 170)
			stack_step(in);
		else if (what < 220)
			kernel_step(in, false);
		else if (what < 250)
			kernel_step(in, true);
		else
			show();
		run();
	}
	fuzz_fail_allocation(0);
	for (int i = 0; i < APPS; i++)
		close_app(&apps[i]);
	kernel_answer = 0;
	if (!(how & 4))
		let_go();
	nics_close(&d);
	fuzz_check((how & 4) || !d.nics->list, "a device is left");
	if (how & 4)
		hostile = true; /* netmapd ends first */
	free_regions();
	fuzz_core_end(&d.core);
	nics_exit(&d);
	taps_exit(&d, 0);
	for (uint32_t i = 0; i < num_links; i++) {
		hang_up(&links[i]);
		for (uint32_t q = 0; q < QUEUES; q++)
			kernel_forget(&links[i].queue[q]);
	}
}
