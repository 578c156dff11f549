/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An application's port. Its requests are those of the ioctl; addresses in them are offsets into
 * the message, and the message is the only memory that they reach.
 *
 * After the REGISTER that binds it, in parts, attach_rings(): open the service, make a CSB (a sealed memfd)
 * and eventfds, start; the descriptors of all of them go out with the reply. Detaching is the
 * reverse, service first, so that no worker is in the CSB when it is unmapped.
 *
 * Applications that register the same rings share all of that: the first one has it, the others borrow
 * it, and when it goes while others are there one of them gets it.
 */
#include "local.h"
#include "closer.h"
#include "control.h"
#include "os_user.h"
#include "policy.h"
#include "sealed.h"
#include "port_service.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	CSB_PER_PAGE = PAGE / sizeof(struct nm_csb_atok),
	/* Descriptors: CSB and interrupts; a ring's kick. */
	FDS_OF_USER = 3,
	FDS_OF_RING = 1,
	FDS_OF_REGION = 1,
};

static_assert((int)NMD_RINGS_MAX == (int)PORT_SERVICE_RINGS_MAX, "what is served can be told");

struct local {
	struct daemon *daemon;
	struct account *user;
	uint32_t descriptors; /* paid for */
	struct nm_client client;
	struct port_service *service;
	char *csb; /* csb_bytes: atok entries, then, from the middle, ktoa entries */
	size_t csb_bytes;
	int csb_fd;
	int tx_irq, rx_irq;
	int kicks[NMD_KICKS_MAX];
	uint32_t num_kicks;

	struct local *next;   /* of daemon->locals, while it is attached */
	struct local *lender; /* whose service, CSB and eventfds it uses; NULL: its own */
	uint32_t sharer;      /* its number among those that share the rings; 0: it is alone */
	uint32_t last_sharer; /* given, by the lender */
};

struct local *local_new(struct daemon *d, struct account *user)
{
	struct local *l = os_zalloc(sizeof(*l));

	if (!l)
		return NULL;
	l->daemon = d;
	l->user = user;
	nm_client_init(&l->client, &d->core);
	l->client.same_rings = true; /* a CSB is for all of them */
	l->client.user = account_uid(user);
	l->client.in_parts = true; /* local_go_on() */
	l->client.no_shared = !policy_is_admin(account_uid(user));
	l->csb_fd = l->tx_irq = l->rx_irq = -1;
	return l;
}

/* The application has it as well, and whatever it has made wait for it. */
static void close_fd(int *fd)
{
	closer_later(*fd);
	*fd = -1;
}

/* ---- sharing -------------------------------------------------------------------------- */

/* Who has the service that l uses. */
static struct local *lender_of(struct local *l)
{
	return l->lender ? l->lender : l;
}

/* What the sharers of a direction's rings have in common; behind the entries of the rings. */
static struct nmd_shared *shared_of(const struct local *lender, enum nm_dir dir)
{
	uint32_t rings = lender->client.count[NM_TX] + lender->client.count[NM_RX];
	size_t half = dir == NM_TX ? 0 : lender->csb_bytes / 2;

	return (struct nmd_shared *)(lender->csb + half + rings * sizeof(struct nm_csb_atok));
}

/* The one whose rings are those of l. NULL: they are nobody's. The core has seen to it that it is all or
 * none. */
static struct local *find_lender(const struct local *l)
{
	if (l->client.count[NM_TX] + l->client.count[NM_RX] == 0)
		return NULL;
	for (struct local *other = l->daemon->locals; other; other = other->next)
		if (!other->lender && other->client.port == l->client.port &&
			nm_client_same_rings(&other->client, &l->client))
			return other;
	return NULL;
}

static int borrow(struct local *l, struct local *lender, struct nm_error *err)
{
	if (account_uid(l->user) != account_uid(lender->user))
		return nm_error_set(err, -EBUSY,
			"%s: its rings are in use by a program of another user: only programs of one user can share them",
			l->client.port->name);
	l->lender = lender;
	l->sharer = ++lender->last_sharer;
	for (int dir = 0; dir < NM_DIRS; dir++)
		OS_STORE(&shared_of(lender, dir)->joint, 1);
	return 0;
}

/* Everything but the port becomes another's. */
static void hand_over(struct local *l, struct local *heir)
{
	for (struct local *other = l->daemon->locals; other; other = other->next)
		if (other->lender == l)
			other->lender = heir;
	heir->lender = NULL;
	heir->service = l->service;
	port_service_set_client(heir->service, &heir->client);
	heir->csb = l->csb;
	heir->csb_bytes = l->csb_bytes;
	heir->csb_fd = l->csb_fd;
	heir->tx_irq = l->tx_irq;
	heir->rx_irq = l->rx_irq;
	memcpy(heir->kicks, l->kicks, sizeof(heir->kicks));
	heir->num_kicks = l->num_kicks;
	heir->last_sharer = l->last_sharer;
	heir->descriptors += l->descriptors; /* of the same user */
	l->descriptors = 0;
	l->service = NULL;
	l->csb = NULL;
	l->csb_fd = l->tx_irq = l->rx_irq = -1;
	l->num_kicks = 0;
}

static void enlist(struct local *l)
{
	l->next = l->daemon->locals;
	l->daemon->locals = l;
}

static void take_out(uint32_t *who, uint32_t sharer)
{
	__atomic_compare_exchange_n(who, &sharer, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* Out of the list, and out of what it shares: it may have died in the middle of a sync. */
static void leave(struct local *l)
{
	struct local **link = &l->daemon->locals, *other;

	while (*link && *link != l)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = l->next;
	for (int dir = 0; dir < NM_DIRS && l->sharer; dir++) {
		struct nmd_shared *shared = shared_of(lender_of(l), dir);

		take_out(&shared->owner, l->sharer);
		take_out(&shared->alone, l->sharer);
	}
	for (other = l->daemon->locals; other && other->lender != l;)
		other = other->next;
	if (other)
		hand_over(l, other);
	l->lender = NULL;
}

/* The order: service ends, then what it used goes, then the port. */
static void detach(struct local *l)
{
	leave(l);
	port_service_close(l->service);
	l->service = NULL;
	while (l->num_kicks)
		close_fd(&l->kicks[--l->num_kicks]);
	close_fd(&l->tx_irq);
	close_fd(&l->rx_irq);
	if (l->csb)
		munmap(l->csb, l->csb_bytes);
	l->csb = NULL;
	close_fd(&l->csb_fd);
	nm_quota_give(account_quota(l->user), LIMIT_DESCRIPTORS, l->descriptors);
	l->descriptors = 0;
	nm_client_unbind(&l->client);
}

void local_release(struct local *l)
{
	detach(l);
}

void local_free(struct local *l)
{
	if (!l)
		return;
	detach(l);
	os_free(l);
}

bool local_bound(const struct local *l)
{
	return l->client.port != NULL;
}

const char *local_port_name(const struct local *l)
{
	return l->client.port ? l->client.port->name : "";
}

uint32_t local_port_number(const struct local *l)
{
	return l->client.port ? l->client.port->owner : 0;
}

const struct port_service *local_service(const struct local *l)
{
	return l->lender ? l->lender->service : l->service;
}

/* ---- control requests ---------------------------------------------------------------- */

struct message {
	char *payload;
	size_t bytes;
	int extmem; /* descriptor, or -1 */
};

/* The header is at 0, and nothing else reaches into it: an address of 0 is none. */
static bool in_message(const struct message *m, uint64_t addr, size_t bytes)
{
	if (addr < sizeof(struct nmreq_header) &&
		(addr != 0 || bytes != sizeof(struct nmreq_header)))
		return false;
	return addr <= m->bytes && bytes <= m->bytes - addr;
}

static int read_message(void *arg, uint64_t addr, void *dst, size_t bytes)
{
	const struct message *m = arg;

	if (!in_message(m, addr, bytes))
		return -EFAULT;
	memcpy(dst, m->payload + addr, bytes);
	return 0;
}

static int write_message(void *arg, uint64_t addr, const void *src, size_t bytes)
{
	const struct message *m = arg;

	if (!in_message(m, addr, bytes))
		return -EFAULT;
	memcpy(m->payload + addr, src, bytes);
	return 0;
}

/* `addr` is one of the application's, and of no use here: the memory came as a file. */
static struct os_mem *extmem(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err)
{
	const struct message *m = arg;
	const char *why = "did not come with the request";
	struct os_mem *mem;
	struct stat st;

	if (m->extmem >= 0)
		why = bytes && bytes <= INT64_MAX - PAGE
			      ? sealed_check(
					m->extmem, 0, (bytes + PAGE - 1) / PAGE * PAGE, &st, NULL)
			      : "can't be of this size";
	if (why) {
		nm_error_set(err, -EINVAL, "external memory of %llu bytes: its file %s",
			(unsigned long long)bytes, why);
		return NULL;
	}
	mem = os_mem_on_file(m->extmem, bytes);
	if (!mem)
		nm_error_set(err, -errno, "external memory of %llu bytes can't be mapped: %s",
			(unsigned long long)bytes, strerror(errno));
	return mem;
}

/* ---- attaching ----------------------------------------------------------------------- */

static int make_csb(struct local *l, uint32_t rings)
{
	l->csb_bytes = (size_t)2 * PAGE * (rings / CSB_PER_PAGE + 1);
	l->csb_fd = os_fd_keep(memfd_create("netmap-csb", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (l->csb_fd < 0 || ftruncate(l->csb_fd, (off_t)l->csb_bytes) < 0 ||
		fcntl(l->csb_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	l->csb = mmap(NULL, l->csb_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, l->csb_fd, 0);
	if (l->csb == MAP_FAILED) {
		l->csb = NULL;
		return -errno;
	}
	return 0;
}

static int make_eventfd(int *fd)
{
	*fd = os_fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	return *fd < 0 ? -errno : 0;
}

static int pay_for_fds(struct local *l, uint32_t rings, struct nm_error *err)
{
	uint32_t fds =
		FDS_OF_USER + FDS_OF_REGION + (rings < NMD_KICKS_MAX ? rings : NMD_KICKS_MAX);
	int error = nm_quota_take(account_quota(l->user), LIMIT_DESCRIPTORS, fds, err);

	if (!error)
		l->descriptors = fds;
	return error;
}

/* Kicks for all rings, shared when there are more rings than descriptors to pass on. */
static int make_fds(struct local *l, uint32_t rings)
{
	uint32_t kicks = rings < NMD_KICKS_MAX ? rings : NMD_KICKS_MAX;
	int error = make_eventfd(&l->tx_irq);

	if (!error)
		error = make_eventfd(&l->rx_irq);
	while (!error && l->num_kicks < kicks) {
		error = make_eventfd(&l->kicks[l->num_kicks]);
		l->num_kicks += !error;
	}
	return error;
}

static int set_fds(struct local *l, uint32_t tx_rings, uint32_t rings)
{
	int error = 0;

	for (uint32_t i = 0; i < rings && !error; i++) {
		port_service_set_irq(l->service, i, i < tx_rings ? l->tx_irq : l->rx_irq);
		error = port_service_set_kick(l->service, i, l->kicks[i % l->num_kicks]);
	}
	return error;
}

static void fill_attach(struct local *l, struct nmd_attach *attach)
{
	const struct local *lender = lender_of(l);

	*attach = (struct nmd_attach){
		.region_size = l->client.port->region->size,
		.csb_size = lender->csb_bytes,
		.ktoa_offset = lender->csb_bytes / 2,
		.rings = l->client.count[NM_TX] + l->client.count[NM_RX],
		.tx_rings = l->client.count[NM_TX],
		.rx_rings = l->client.count[NM_RX],
		.first_tx = l->client.first[NM_TX],
		.first_rx = l->client.first[NM_RX],
		.sharer = l->sharer,
	};
}

static void fill_fds(struct local *l, int fds[NMD_FDS_MAX], uint32_t *nfds)
{
	uint32_t n = 0;

	fds[n++] = os_mem_fd(l->client.port->region->mem);
	l = lender_of(l);
	fds[n++] = l->csb_fd;
	fds[n++] = l->tx_irq;
	fds[n++] = l->rx_irq;
	for (uint32_t i = 0; i < l->num_kicks; i++)
		fds[n++] = l->kicks[i];
	*nfds = n;
}

static int attach_error(const struct local *l, uint32_t rings, int error, struct nm_error *err)
{
	struct rlimit limit = {0};

	getrlimit(RLIMIT_NOFILE, &limit);
	if (error == -EMFILE)
		nm_error_set(err, error,
			"%.64s: netmapd may open %llu files only, and the %u rings need up to %u: open fewer rings, or start netmapd with a higher limit (ulimit -n, LimitNOFILE)",
			l->client.port->name, (unsigned long long)limit.rlim_cur, rings,
			FDS_OF_USER + FDS_OF_RING * rings);
	else
		nm_error_set(err, error, "%s: can't be attached: %s", l->client.port->name,
			strerror(-error));
	return error;
}

static int attach_rings(struct local *l, struct nm_error *err)
{
	struct port_service_geometry geo;
	uint32_t rings;
	int error;

	l->service = port_service_open(l->daemon, &l->client, err);
	if (!l->service)
		return err->code;
	port_service_geometry(l->service, &geo);
	rings = geo.tx_rings + geo.rx_rings;
	error = pay_for_fds(l, rings, err);
	if (error)
		return error;
	error = make_csb(l, rings);
	if (!error)
		error = make_fds(l, rings);
	if (!error)
		error = set_fds(l, geo.tx_rings, rings);
	if (!error)
		error = port_service_start(l->service, (struct nm_csb_atok *)l->csb,
			(struct nm_csb_ktoa *)(l->csb + l->csb_bytes / 2));
	if (error)
		return attach_error(l, rings, error, err);
	l->sharer = l->last_sharer = l->client.flags & NR_EXCLUSIVE ? 0 : 1;
	return 0;
}

static int attach_or_borrow(struct local *l, struct nm_error *err)
{
	struct local *lender = find_lender(l);
	int error = lender ? borrow(l, lender, err) : attach_rings(l, err);

	if (!error)
		enlist(l);
	return error;
}

int local_request(struct local *l, void *payload, size_t bytes, int extmem_fd, bool *more,
	struct nm_error *err)
{
	struct message m = {payload, bytes, extmem_fd};
	const struct nm_uaccess ua = {
		.read = read_message, .write = write_message, .arg = &m, .extmem = extmem};
	bool was_bound = local_bound(l);
	struct nmreq_header hdr;
	int error;

	*more = false;
	if (bytes < sizeof(hdr)) {
		return nm_error_set(err, -EINVAL, "a request of %zu bytes has no header", bytes);
	}
	memcpy(&hdr, payload, sizeof(hdr));
	if ((hdr.nr_body && hdr.nr_body < sizeof(hdr)) ||
		(hdr.nr_options && hdr.nr_options < sizeof(hdr))) {
		return nm_error_set(
			err, -EINVAL, "the request's body or options lie in its header");
	}
	error = nm_control(&l->client, &ua, 0);
	if (error) {
		return nm_error_set(err, error, "%s", l->client.err.text);
	}
	*more = !was_bound && local_bound(l);
	return 0;
}

int local_go_on(struct local *l, struct nmd_attach *attach, int fds[NMD_FDS_MAX], uint32_t *nfds,
	struct nm_error *err)
{
	int error = nm_client_go_on(&l->client, NM_SLOTS_PER_PART);

	if (error > 0)
		return error;
	if (error)
		return nm_error_set(err, error, "%s", l->client.err.text);
	error = attach_or_borrow(l, err);
	if (error) {
		detach(l);
		return error;
	}
	fill_attach(l, attach);
	fill_fds(l, fds, nfds);
	return 0;
}
