/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What NMD_STATUS answers, as JSON: switches, ports with their rings, regions, attached devices,
 * applications, machines, workers, the daemon.
 *
 * Counters are read while workers write them: each is a number of its own, and no two are of one
 * moment.
 */
#include "status.h"
#include "bufown.h"
#include "csb_server.h"
#include "ctl.h"
#include "device_closer.h"
#include "accounts.h"
#include "attachments.h"
#include "os_user.h"
#include "fault.h"
#include "local.h"
#include "nic.h"
#include "notify.h"
#include "policy.h"
#include "port_service.h"
#include "settings.h"
#include "attachment.h"
#include "vale.h"
#include "vm.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static void set_u64(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* ---- who sees what --------------------------------------------------------------------------- */

struct view {
	uint32_t uid; /* NM_USER_ANY: all */
	json_t *made; /* by make_switch() */
};

static bool sees_user(const struct view *view, uint32_t uid)
{
	return view->uid == NM_USER_ANY || view->uid == uid;
}

static bool sees_switch(const struct view *view, const char *name)
{
	struct nm_error err;

	return view->uid == NM_USER_ANY || policy_switch(view->uid, name, &err) == 0;
}

/* His own, and those whose names he may have or watch; but no monitors of others on them. */
static bool sees_port(const struct view *view, const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_error err;

	if (sees_user(view, accounts_payer(port->payer)))
		return true;
	return !port->unnamed && !port->dead &&
	       (policy_port(view->uid, port->name, &err) == 0 ||
		       policy_may_watch(view->uid, port->name));
}

static bool sees_region(const struct view *view, const struct nm_region *region)
	OS_REQUIRES(NM_CORE_LOCK)
{
	return view->uid == NM_USER_ANY || (!region->shared && region->user == view->uid);
}

/* ---- rings, ports ------------------------------------------------------------------------------ */

static json_t *ring_json(const struct nm_ring *ring)
{
	json_t *out = json_object(), *errors = json_object();
	uint32_t head = ring->served ? nm_csb_server_head(ring->served) : OS_LOAD(&ring->head);

	json_object_set_new(out, "dir", json_string(ring->dir == NM_TX ? "tx" : "rx"));
	set_u64(out, "id", ring->id);
	if (ring->host)
		json_object_set_new(out, "host", json_true());
	set_u64(out, "slots", ring->num_slots);
	set_u64(out, "fill", nm_ring_fill(ring, head));
	set_u64(out, "packets", OS_LOAD(&ring->stats.packets));
	set_u64(out, "bytes", OS_LOAD(&ring->stats.bytes));
	if (ring->dir == NM_TX) {
		set_u64(out, "copies", OS_LOAD(&ring->stats.copies));
		set_u64(out, "waits", OS_LOAD(&ring->stats.waits));
		set_u64(out, "expired", OS_LOAD(&ring->stats.expired));
	}
	set_u64(out, "syncs", OS_LOAD(&ring->stats.syncs));
	set_u64(out, "bad_syncs", OS_LOAD(&ring->stats.bad_syncs));
	for (int i = 0; i < NM_DROPS; i++)
		if (OS_LOAD(&ring->stats.drops[i]))
			set_u64(errors, nm_drop_name(i), OS_LOAD(&ring->stats.drops[i]));
	json_object_set_new(out, "errors", errors);
	return out;
}

static json_t *port_json(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	json_t *out = json_object(), *rings = json_array();
	json_t *nic = nic_is(port) ? nic_json(port) : NULL; /* brings counters up to date */

	json_object_set_new(out, "name", json_string(port->name));
	json_object_set_new(out, "kind", json_string(port->ops->kind));
	set_u64(out, "id", port->owner);
	if (port->payer)
		set_u64(out, "user", accounts_payer(port->payer));
	if (port->parent)
		json_object_set_new(out, "parent", json_string(port->parent->name));
	set_u64(out, "region", port->region ? port->region->id : 0);
	set_u64(out, "users", port->clients);
	if (port->pins)
		set_u64(out, "holds", port->pins);
	if (port->dead)
		json_object_set_new(out, "dead", json_true());
	set_u64(out, "hdr_len", port->hdr_len);
	set_u64(out, "full_wait_us", port->full_wait_us);
	for (int dir = 0; dir < NM_DIRS; dir++)
		for (uint32_t i = 0; i < nm_port_all_rings(port, dir); i++)
			json_array_append_new(rings, ring_json(&port->rings[dir][i]));
	json_object_set_new(out, "rings", rings);
	if (nic)
		json_object_set_new(out, "nic", nic);
	return out;
}

static void make_switch(
	void *arg, const void *ns, const char *name, uint32_t index, uint32_t ports, uint32_t macs)
{
	struct view *view = arg;
	json_t *out;

	if (!sees_switch(view, name))
		return;
	out = json_object();
	json_object_set_new(out, "name", json_string(name));
	set_u64(out, "index", index);
	set_u64(out, "ports", ports);
	set_u64(out, "macs", macs);
	view->made = out;
}

static json_t *region_json(const struct nm_region *region) OS_REQUIRES(NM_CORE_LOCK)
{
	json_t *out = json_object(), *left = json_object();

	set_u64(out, "id", region->id);
	set_u64(out, "size", region->size);
	json_object_set_new(out, "shared", json_boolean(region->shared));
	json_object_set_new(
		out, "huge_pages", json_boolean(region->mem && os_mem_is_huge(region->mem)));
	for (int pool = 0; pool < NM_POOLS; pool++)
		set_u64(left, nm_pool_name(pool), nm_bufown_num_free(region, pool));
	json_object_set_new(out, "free", left);
	return out;
}

static json_t *attachment_json(const struct nm_attachment *att)
{
	json_t *out = json_object();
	uint32_t first_cpu;

	json_object_set_new(out, "name", json_string(att->name));
	json_object_set_new(
		out, "device", json_string(att->device.port ? att->device.port->name : ""));
	set_u64(out, "pairs", att->pairs);
	json_object_set_new(out, "host_rings", json_boolean(att->host.port));
	json_object_set_new(out, "polling", json_boolean(att->polling));
	set_u64(out, "poll_threads", attachments_polling(att, &first_cpu));
	set_u64(out, "poll_cpu", first_cpu);
	json_object_set_new(out, "lent", json_boolean(att->lent));
	return out;
}

/* How much its rings were looked at. */
static void set_service(json_t *out, const struct port_service *service)
{
	struct port_service_stats stats;

	port_service_stats(service, &stats);
	set_u64(out, "steps", stats.steps);
	set_u64(out, "work_steps", stats.work_steps);
	set_u64(out, "interrupts", stats.interrupts);
	set_u64(out, "slow_interrupts", stats.slow_interrupts);
	set_u64(out, "stopped_rings", stats.stopped);
	set_u64(out, "bad_kicks", stats.bad_kicks);
}

static json_t *application_json(const struct local *local, const struct ucred *peer)
{
	json_t *out = json_object();

	json_object_set_new(out, "name", json_string(local_port_name(local)));
	set_u64(out, "port", local_port_number(local));
	set_u64(out, "pid", (uint64_t)peer->pid);
	set_u64(out, "user", peer->uid);
	set_service(out, local_service(local));
	return out;
}

static json_t *vm_port_json(const struct vm_port *port)
{
	static const char *const states[] = {"stopped", "running", "suspended"};
	json_t *out = json_object();
	struct ptnet_net_stats stats;
	char mac[18];

	ptnet_net_stats(port->net, &stats);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1],
		port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	json_object_set_new(out, "name", json_string(port->client.port->name));
	set_u64(out, "port", port->client.port->owner);
	json_object_set_new(out, "mac", json_string(mac));
	json_object_set_new(out, "state", json_string(states[stats.state]));
	set_u64(out, "kicks", stats.kicks);
	set_u64(out, "creates", stats.creates);
	set_u64(out, "failed_creates", stats.failed_creates);
	set_u64(out, "suspends", stats.suspends);
	set_u64(out, "resets", stats.resets);
	set_u64(out, "ignored_writes", stats.ignored_writes);
	set_u64(out, "features", stats.features);
	set_u64(out, "dma_ranges", stats.dma_ranges);
	set_service(out, port->service);
	return out;
}

static json_t *vm_memory_json(const struct vm_region *r)
{
	json_t *out = json_object(), *guest = json_object();

	set_u64(out, "region", r->region->id);
	for (int pool = 0; pool < NM_POOLS; pool++)
		set_u64(guest, nm_pool_name(pool), r->guest[pool].count);
	json_object_set_new(out, "guest", guest);
	return out;
}

static json_t *vm_json(const struct vm *vm)
{
	json_t *out = json_object(), *ports = json_array(), *memory = json_array();

	set_u64(out, "id", vm->number);
	json_object_set_new(out, "name", json_string(vm->name));
	set_u64(out, "user", account_uid(vm->user));
	set_u64(out, "region", vm->regions[0].region->id);
	for (uint32_t i = 0; i < vm->num_regions; i++)
		json_array_append_new(memory, vm_memory_json(&vm->regions[i]));
	json_object_set_new(out, "memory", memory);
	for (uint32_t i = 0; i < vm->num_ports; i++)
		json_array_append_new(ports, vm_port_json(vm->ports[i]));
	json_object_set_new(out, "ports", ports);
	return out;
}

static json_t *worker_json(struct worker *w)
{
	json_t *worker = json_object();
	struct worker_stats stats;

	worker_stats(w, &stats);
	set_u64(worker, "rings", stats.rings);
	set_u64(worker, "rounds", stats.rounds);
	set_u64(worker, "sleeps", stats.sleeps);
	set_u64(worker, "wakes", stats.wakes);
	set_u64(worker, "kicks", stats.kicks);
	set_u64(worker, "busy_us", stats.busy_ns / 1000);
	set_u64(worker, "cpu_us", stats.cpu_ns / 1000);
	return worker;
}

static json_t *notifier_json(void)
{
	struct notify_stats stats;
	json_t *out = json_object();

	notify_stats(&stats);
	json_object_set_new(out, "asynchronous", json_boolean(stats.asynchronous));
	set_u64(out, "moved", stats.moved);
	set_u64(out, "returned", stats.returned);
	set_u64(out, "signals", stats.signals);
	return out;
}

/* The control thread: how long it has kept everybody waiting at most. */
static json_t *loop_json(const struct loop *loop)
{
	json_t *out = json_object();
	struct loop_stats stats;

	loop_stats(loop, &stats);
	set_u64(out, "rounds", stats.rounds);
	set_u64(out, "rests", stats.rests);
	set_u64(out, "longest_us", stats.most_us);
	set_u64(out, "settings_turns", settings_turns());
	set_u64(out, "leaving_devices", device_closer_count());
	return out;
}

/* When this was, for rates. */
static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static json_t *daemon_json(struct daemon *d, const struct view *view)
{
	json_t *out = json_object(), *workers = json_array(), *pollers = json_array();

	json_object_set_new(out, "version", json_string(PTNETMAP_VERSION));
	set_u64(out, "pid", (uint64_t)getpid());
	set_u64(out, "uptime_s", (uint64_t)os_time_s() - (uint64_t)d->started);
	set_u64(out, "clock_us", clock_us());
	/* Also those that are no longer wanted, but have rings yet. */
	for (unsigned i = 0; i < d->threads; i++)
		json_array_append_new(workers, worker_json(d->workers[i]));
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (d->pollers[i] && worker_runs(d->pollers[i]))
			json_array_append_new(pollers, worker_json(d->pollers[i]));
	set_u64(out, "replaced_pages", fault_count());
	json_object_set_new(out, "control", loop_json(d->loop));
	json_object_set_new(out, "workers", workers);
	json_object_set_new(out, "settings", settings_json(d));
	/* Patterns are names of ports. */
	json_object_set_new(out, "placement",
		view->uid == NM_USER_ANY ? settings_placement_json(d) : json_array());
	json_object_set_new(
		out, "full_wait", view->uid == NM_USER_ANY ? full_wait_json(d) : json_array());
	json_object_set_new(out, "pollers", pollers);
	json_object_set_new(out, "notifier", notifier_json());
	return out;
}

/* ---- the whole, in parts ----------------------------------------------------------------- */

struct status {
	struct daemon *d;
	struct view view;
	uint32_t section; /* that is written */
	bool begun;       /* it has an item already */
	uint64_t at;      /* where in it, as its function has it: at first UINT64_MAX */
	bool unfinished;  /* it has given none, but there may be more */
	char *text;
	size_t length, room;
};

/* What is others' costs a look at all rules each: so many in a part. To a switch all switches are looked at, too. */
enum { LOOKS_MAX = 64, SWITCH_LOOKS_MAX = 16 };

/* From the last that was made to the first. */
static json_t *next_port(struct status *s)
{
	uint32_t looks = LOOKS_MAX;
	json_t *out = NULL;

	nm_core_lock(&s->d->core);
	for (const struct nm_port *port = s->d->core.ports; port && !out && looks > 0;
		port = port->next) {
		if (port->made >= s->at)
			continue;
		looks--;
		s->at = port->made;
		if (!nm_port_is_being_made(port) && sees_port(&s->view, port))
			out = port_json(port);
	}
	nm_core_unlock(&s->d->core);
	s->unfinished = !out && looks == 0;
	return out;
}

static json_t *next_switch(struct status *s)
{
	uint32_t index = s->at == UINT64_MAX ? 0 : (uint32_t)s->at;
	uint32_t looks = SWITCH_LOOKS_MAX;
	bool more = true;

	s->view.made = NULL;
	nm_core_lock(&s->d->core);
	for (; more && !s->view.made && looks > 0; looks--)
		more = nm_vale_next_locked(&s->d->core, NULL, &index, make_switch, &s->view);
	nm_core_unlock(&s->d->core);
	s->at = index;
	s->unfinished = more && !s->view.made;
	return s->view.made;
}

/* By their numbers, from the highest one on. */
static json_t *next_region(struct status *s)
{
	const struct nm_region *next = NULL;
	json_t *out = NULL;

	nm_core_lock(&s->d->core);
	for (const struct nm_region *r = s->d->core.regions; r; r = r->next)
		if (r->id < s->at && sees_region(&s->view, r) && (!next || r->id > next->id))
			next = r;
	if (next) {
		s->at = next->id;
		out = region_json(next);
	}
	nm_core_unlock(&s->d->core);
	return out;
}

static json_t *next_application(struct status *s)
{
	const struct local *local;
	struct ucred peer;

	do
		local = ctl_next_local(s->d, &s->at, &peer);
	while (local && !sees_user(&s->view, peer.uid));
	return local ? application_json(local, &peer) : NULL;
}

static json_t *next_vm(struct status *s)
{
	const struct vm *next = NULL;

	for (const struct vm *vm = s->d->vms; vm; vm = vm->next)
		if (vm->number < s->at && vm->num_regions > 0 &&
			sees_user(&s->view, account_uid(vm->user)) &&
			(!next || vm->number > next->number))
			next = vm;
	if (!next)
		return NULL;
	s->at = next->number;
	return vm_json(next);
}

/* Few, of one moment. */
static json_t *all_attached(struct daemon *d, const struct view *view)
{
	json_t *out = json_array();

	nm_core_lock(&d->core);
	for (const struct nm_attachment *att = d->core.attachments; att; att = att->next)
		if (!att->sw.port || sees_port(view, att->sw.port))
			json_array_append_new(out, attachment_json(att));
	nm_core_unlock(&d->core);
	return out;
}

static json_t *all_limits(struct daemon *d, const struct view *view)
{
	return accounts_json(view->uid);
}

/* Each has one item, or a list of them. */
static const struct {
	const char *name;
	json_t *(*whole)(struct daemon *d, const struct view *view);
	json_t *(*next)(struct status *s);
} sections[] = {
	{"daemon", daemon_json, NULL},
	{"limits", all_limits, NULL},
	{"ports", NULL, next_port},
	{"switches", NULL, next_switch},
	{"attached", all_attached, NULL},
	{"regions", NULL, next_region},
	{"applications", NULL, next_application},
	{"vms", NULL, next_vm},
};

enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

static int append(struct status *s, const char *text, size_t length)
{
	if (s->room - s->length <= length) {
		size_t room = 2 * (s->length + length) + 1024;
		char *more = realloc(s->text, room);

		if (!more)
			return -ENOMEM;
		s->text = more;
		s->room = room;
	}
	memcpy(s->text + s->length, text, length);
	s->length += length;
	s->text[s->length] = '\0';
	return 0;
}

static int append_text(struct status *s, const char *text)
{
	return append(s, text, strlen(text));
}

static int append_json(struct status *s, json_t *item)
{
	char *text = json_dumps(item, JSON_COMPACT);
	int error = text ? append_text(s, text) : -ENOMEM;

	json_decref(item);
	free(text);
	return error;
}

static int begin_section(struct status *s)
{
	bool list = sections[s->section].next;
	char head[64];

	snprintf(head, sizeof(head), "%s\"%s\": %s", s->section ? ",\n " : "{\n ",
		sections[s->section].name, list ? "[" : "");
	s->at = UINT64_MAX;
	s->begun = false;
	return append_text(s, head);
}

static int end_section(struct status *s)
{
	bool list = sections[s->section].next;

	s->section++;
	if (append_text(s, list ? "]" : "") != 0)
		return -ENOMEM;
	return append_text(s, s->section == SECTIONS ? "\n}" : "");
}

static int add_whole(struct status *s)
{
	int error = begin_section(s);

	if (!error)
		error = append_json(s, sections[s->section].whole(s->d, &s->view));
	return error ? error : end_section(s);
}

static int add_item(struct status *s)
{
	int error = s->begun || s->at != UINT64_MAX ? 0 : begin_section(s);
	json_t *item;

	if (error)
		return error;
	s->unfinished = false;
	item = sections[s->section].next(s);
	if (s->unfinished)
		return 0;
	if (!item) {
		s->at = UINT64_MAX;
		s->begun = false;
		return end_section(s);
	}
	error = append_text(s, s->begun ? ",\n  " : "\n  ");
	s->begun = true;
	if (!error)
		return append_json(s, item);
	json_decref(item);
	return error;
}

struct status *status_begin(struct daemon *d, uint32_t viewer)
{
	struct status *s = os_zalloc(sizeof(*s));

	if (!s)
		return NULL;
	s->d = d;
	s->view.uid = viewer;
	s->at = UINT64_MAX;
	return s;
}

int status_go_on(struct status *s)
{
	int error = sections[s->section].whole ? add_whole(s) : add_item(s);

	return error ? error : s->section < SECTIONS;
}

char *status_end(struct status *s)
{
	char *text = s->text;

	os_free(s);
	return text;
}

void status_free(struct status *s)
{
	if (!s)
		return;
	free(s->text);
	os_free(s);
}
