/* SPDX-License-Identifier: BSD-2-Clause */
#include "local.h"
#include "control.h"
#include "os_user.h"
#include "sealed.h"
#include "served.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CSB_BYTES = 2 * SERVED_RINGS_MAX * sizeof(struct nm_csb_atok), EXTMEM_PAGE = 4096 };

struct local {
	struct daemon *daemon;
	struct nm_client client;
	struct served *served;
	char *csb; /* CSB_BYTES: atok entries, then ktoa entries */
	int csb_fd;
	int tx_irq, rx_irq;
	int kicks[SERVED_RINGS_MAX];
	uint32_t rings;
};

struct local *local_new(struct daemon *d)
{
	struct local *l = os_zalloc(sizeof(*l));

	if (!l)
		return NULL;
	l->daemon = d;
	nm_client_init(&l->client, &d->core);
	l->client.exclusive_only = true; /* a CSB has one owner */
	l->csb_fd = l->tx_irq = l->rx_irq = -1;
	return l;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The order: service ends, then what it used goes, then the port. */
static void detach(struct local *l)
{
	served_close(l->served);
	l->served = NULL;
	for (uint32_t i = 0; i < l->rings; i++)
		close_fd(&l->kicks[i]);
	l->rings = 0;
	close_fd(&l->tx_irq);
	close_fd(&l->rx_irq);
	if (l->csb)
		munmap(l->csb, CSB_BYTES);
	l->csb = NULL;
	close_fd(&l->csb_fd);
	nm_client_unbind(&l->client);
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

const struct served *local_served(const struct local *l)
{
	return l->served;
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
static struct os_mem *extmem(
	void *arg, uint64_t addr, uint64_t bytes, int *error, char *err, size_t err_size)
{
	const struct message *m = arg;
	const char *why = "did not come with the request";
	struct os_mem *mem;
	struct stat st;

	*error = -EINVAL;
	if (m->extmem >= 0)
		why = bytes && bytes <= INT64_MAX - EXTMEM_PAGE
			      ? sealed_check(m->extmem, 0,
					(bytes + EXTMEM_PAGE - 1) / EXTMEM_PAGE * EXTMEM_PAGE, &st)
			      : "can't be of this size";
	if (why) {
		snprintf(err, err_size, "external memory of %llu bytes: its file %s",
			(unsigned long long)bytes, why);
		return NULL;
	}
	mem = os_mem_on_file(m->extmem, bytes);
	*error = mem ? 0 : -errno;
	if (!mem)
		snprintf(err, err_size, "external memory of %llu bytes can't be mapped: %s",
			(unsigned long long)bytes, strerror(errno));
	return mem;
}

/* ---- attaching ----------------------------------------------------------------------- */

static int make_csb(struct local *l)
{
	l->csb_fd = memfd_create("netmap-csb", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (l->csb_fd < 0 || ftruncate(l->csb_fd, CSB_BYTES) < 0 ||
		fcntl(l->csb_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	l->csb = mmap(NULL, CSB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->csb_fd, 0);
	if (l->csb == MAP_FAILED) {
		l->csb = NULL;
		return -errno;
	}
	return 0;
}

static int make_eventfd(int *fd)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd < 0 ? -errno : 0;
}

static int make_ring_fds(struct local *l, uint32_t tx_rings, uint32_t rings)
{
	int error = make_eventfd(&l->tx_irq);

	if (!error)
		error = make_eventfd(&l->rx_irq);
	for (uint32_t i = 0; i < rings && !error; i++) {
		error = make_eventfd(&l->kicks[i]);
		if (error)
			break;
		l->rings = i + 1;
		error = served_set_kick(l->served, i, l->kicks[i]);
		if (!error)
			error = served_set_irq(l->served, i, i < tx_rings ? l->tx_irq : l->rx_irq);
	}
	return error;
}

static void fill_attach(
	struct local *l, const struct served_geometry *geo, struct nmd_attach *attach)
{
	*attach = (struct nmd_attach){
		.region_size = l->client.port->region->size,
		.csb_size = CSB_BYTES,
		.ktoa_offset = CSB_BYTES / 2,
		.rings = geo->tx_rings + geo->rx_rings,
		.tx_rings = geo->tx_rings,
		.rx_rings = geo->rx_rings,
		.first_tx = l->client.first[NM_TX],
		.first_rx = l->client.first[NM_RX],
	};
}

static void fill_fds(struct local *l, int fds[NMD_FDS_MAX], uint32_t *nfds)
{
	uint32_t n = 0;

	fds[n++] = os_mem_fd(l->client.port->region->mem);
	fds[n++] = l->csb_fd;
	fds[n++] = l->tx_irq;
	fds[n++] = l->rx_irq;
	for (uint32_t i = 0; i < l->rings; i++)
		fds[n++] = l->kicks[i];
	*nfds = n;
}

static int attach_rings(struct local *l, struct nmd_attach *attach, char *text)
{
	struct served_geometry geo;
	int error;

	l->served = served_open(l->daemon, &l->client, &error, text);
	if (!l->served)
		return error;
	served_geometry(l->served, &geo);
	error = make_csb(l);
	if (!error)
		error = make_ring_fds(l, geo.tx_rings, geo.tx_rings + geo.rx_rings);
	if (!error)
		error = served_start(l->served, (struct nm_csb_atok *)l->csb,
			(struct nm_csb_ktoa *)(l->csb + CSB_BYTES / 2));
	if (error) {
		snprintf(text, NMD_TEXT_MAX, "%s: can't be attached: %s", l->client.port->name,
			strerror(-error));
		return error;
	}
	fill_attach(l, &geo, attach);
	return 0;
}

int local_request(struct local *l, void *payload, size_t bytes, int extmem_fd,
	struct nmd_attach *attach, int fds[NMD_FDS_MAX], uint32_t *nfds, char *text)
{
	struct message m = {payload, bytes, extmem_fd};
	const struct nm_uaccess ua = {
		.read = read_message, .write = write_message, .arg = &m, .extmem = extmem};
	bool was_bound = local_bound(l);
	struct nmreq_header hdr;
	int error;

	memset(attach, 0, sizeof(*attach));
	*nfds = 0;
	if (bytes < sizeof(hdr)) {
		snprintf(text, NMD_TEXT_MAX, "a request of %zu bytes has no header", bytes);
		return -EINVAL;
	}
	memcpy(&hdr, payload, sizeof(hdr));
	if ((hdr.nr_body && hdr.nr_body < sizeof(hdr)) ||
		(hdr.nr_options && hdr.nr_options < sizeof(hdr))) {
		snprintf(text, NMD_TEXT_MAX, "the request's body or options lie in its header");
		return -EINVAL;
	}
	error = nm_control(&l->client, &ua, 0);
	if (error) {
		snprintf(text, NMD_TEXT_MAX, "%s", l->client.err);
		return error;
	}
	if (was_bound || !local_bound(l))
		return 0;
	error = attach_rings(l, attach, text);
	if (error)
		detach(l);
	else
		fill_fds(l, fds, nfds);
	return error;
}
