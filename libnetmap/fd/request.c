/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ioctl and mmap of a file. A request is copied out of the program into one arena, with the links
 * between header, body and options leading there; it is run by libnetmap; results go back, and the
 * program's own links stay as they were. The program's memory is read and written by calls that
 * fail where it is not mapped.
 */
#include "request.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "legacy.h"
#include "real.h"
#include "../usermem.h"

/* ---- requests ------------------------------------------------------------------------- */

enum { OPTIONS_MAX = NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option) };

/* A request of the program, copied: header, body and options with their addresses there. */
struct copy {
	struct nmreq_header hdr;
	uint64_t addr, body_addr, first_addr; /* in the program */
	size_t body_size;
	unsigned int options;
	struct {
		uint64_t addr, next;
		struct nmreq_option *opt;
		size_t size;
	} option[OPTIONS_MAX];
	size_t used; /* of arena */
	char arena[NETMAP_REQ_MAXSIZE] __attribute__((aligned(8)));
};

/* The program's bytes at addr, in the arena. */
static int copy_in(struct copy *c, uint64_t addr, size_t size, void **out)
{
	size_t room = (size + 7) & ~(size_t)7;
	int ret;

	if (room > sizeof(c->arena) - c->used)
		return -EMSGSIZE;
	*out = c->arena + c->used;
	ret = nmlib_user_read(*out, addr, size);
	c->used += room;
	return ret;
}

static size_t whole_option_size(const struct nmreq_option *opt)
{
	size_t size = nmlib_option_size(opt->nro_reqtype);

	if (opt->nro_reqtype == NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS && opt->nro_size > sizeof(*opt))
		return opt->nro_size <= NETMAP_REQ_MAXSIZE ? opt->nro_size : NETMAP_REQ_MAXSIZE + 1;
	return size ? size : sizeof(*opt);
}

/* The option at this address has been copied: the list is a loop. */
static bool is_copied(const struct copy *c, uint64_t addr)
{
	for (unsigned int i = 0; i < c->options; i++)
		if (c->option[i].addr == addr)
			return true;
	return false;
}

static int copy_options(struct copy *c)
{
	uint64_t addr = c->hdr.nr_options, *link = &c->hdr.nr_options;
	struct nmreq_option head;
	void *mem;
	int ret;

	for (; addr; addr = head.nro_next) {
		ret = nmlib_user_read(&head, addr, sizeof(head));
		if (ret < 0)
			return ret;
		if (is_copied(c, addr) && nmlib_option_known(head.nro_reqtype))
			return -EINVAL;
		if (c->options == OPTIONS_MAX || is_copied(c, addr))
			return -EMSGSIZE;
		c->option[c->options].size = whole_option_size(&head);
		ret = copy_in(c, addr, c->option[c->options].size, &mem);
		if (ret < 0)
			return ret;
		c->option[c->options].opt = mem;
		c->option[c->options].addr = addr;
		c->option[c->options++].next = head.nro_next;
		*link = (uintptr_t)mem;
		link = &((struct nmreq_option *)mem)->nro_next;
		*link = 0;
	}
	return 0;
}

static int copy_request(struct copy *c, uint64_t addr)
{
	void *body;
	int ret;

	c->options = 0;
	c->used = sizeof(c->hdr);
	c->addr = addr;
	ret = nmlib_user_read(&c->hdr, addr, sizeof(c->hdr));
	if (ret < 0)
		return ret;
	c->body_addr = c->hdr.nr_body;
	c->first_addr = c->hdr.nr_options;
	c->body_size = nmlib_body_size(c->hdr.nr_reqtype);
	if (c->body_size) {
		ret = copy_in(c, c->body_addr, c->body_size, &body);
		if (ret < 0)
			return ret;
		c->hdr.nr_body = (uintptr_t)body;
	}
	return copy_options(c);
}

/* The result goes back; the program's links stay what they are. */
static int copy_back(struct copy *c)
{
	const void *body = (void *)(uintptr_t)c->hdr.nr_body;
	struct nmreq_header hdr = c->hdr;
	int ret = 0;

	if (c->body_size)
		ret = nmlib_user_write(c->body_addr, body, c->body_size);
	for (unsigned int i = 0; i < c->options && ret == 0; i++) {
		c->option[i].opt->nro_next = c->option[i].next;
		ret = nmlib_user_write(c->option[i].addr, c->option[i].opt, c->option[i].size);
	}
	hdr.nr_body = c->body_addr;
	hdr.nr_options = c->first_addr;
	return ret < 0 ? ret : nmlib_user_write(c->addr, &hdr, sizeof(hdr));
}

/* The descriptors of a registration move out of the program's way. */
static void protect(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	p->region_fd = nmfd_internal(p->region_fd);
	p->irq[NMLIB_TX] = nmfd_internal(p->irq[NMLIB_TX]);
	p->irq[NMLIB_RX] = nmfd_internal(p->irq[NMLIB_RX]);
	p->stop = nmfd_internal(p->stop);
	for (uint32_t i = 0; i < p->at.rings; i++) {
		int *kick = &p->rings[i].kick;

		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): where there are rings there are kicks */
		*kick = i < p->kicks ? nmfd_internal(*kick) : p->rings[i % p->kicks].kick;
	}
}

/* netmapd has given the port: what sync and poll need of it. */
static int take_port(struct nmfd_file *f, const struct nmreq_header *hdr, struct nm_error *why)
{
	struct nmport_d *d = f->port;

	protect(d);
	memcpy(d->hdr.nr_name, hdr->nr_name, sizeof(d->hdr.nr_name));
	d->reg = *(struct nmreq_register *)(uintptr_t)hdr->nr_body;
	d->register_done = 1;
	if (nmport_mmap(d) < 0)
		return nm_error_set(why, -errno,
			"the memory region, %llu bytes, can't be mapped: %s",
			(unsigned long long)d->reg.nr_memsize, strerror(errno));
	__atomic_store_n(&f->daemon, d->priv->daemon, __ATOMIC_RELEASE);
	return 0;
}

static int execute_unlocked(struct nmfd_file *f, struct nmreq_header *hdr, struct nm_error *why)
{
	int ret = nmlib_conn.request(f->port, hdr, why);

	if (ret == 0 && hdr->nr_reqtype == NETMAP_REQ_REGISTER)
		ret = take_port(f, hdr, why);
	return ret;
}

static int execute_locked(struct nmfd_file *f, struct nmreq_header *hdr, struct nm_error *why)
{
	int ret = nmfd_lock_control(f);

	if (ret != 0)
		return nm_error_set(why, ret, "another request is under way");
	ret = execute_unlocked(f, hdr, why);
	nmfd_unlock_control(f);
	return ret;
}

int nmfd_request(struct nmfd_file *f, struct nmreq_header *hdr, struct nm_error *why)
{
	bool loop = hdr->nr_reqtype == NETMAP_REQ_SYNC_KLOOP_START ||
		    hdr->nr_reqtype == NETMAP_REQ_SYNC_KLOOP_STOP;

	/* The loop lasts; STOP must get by. */
	return loop ? execute_unlocked(f, hdr, why) : execute_locked(f, hdr, why);
}

static int execute(struct nmfd_file *f, struct nmreq_header *hdr)
{
	struct nm_error why = {0};
	int ret = nmfd_request(f, hdr, &why);

	if (ret < 0 && nmfd_verbose)
		nmfd_say("%s: %s", hdr->nr_name[0] ? hdr->nr_name : "netmap",
			why.text[0] ? why.text : strerror(-ret));
	return ret;
}

static int control(struct nmfd_file *f, void *arg)
{
	struct copy c;
	int ret, back;

	ret = copy_request(&c, (uintptr_t)arg);
	if (ret < 0)
		return ret;
	ret = execute(f, &c.hdr);
	back = copy_back(&c);
	return ret < 0 ? ret : back;
}

/* ---- the older requests --------------------------------------------------------------- */

static int legacy(struct nmfd_file *f, void *arg, bool regif)
{
	struct nm_error why;
	struct nm_legacy l;
	struct nmreq nmr;
	int ret, back;

	ret = nmlib_user_read(&nmr, (uintptr_t)arg, sizeof(nmr));
	if (ret < 0)
		return ret;
	ret = nm_legacy_request(&nmr, regif, &l, &why);
	if (ret < 0 && nmfd_verbose)
		nmfd_say("%s", why.text);
	if (ret == 0) {
		l.hdr.nr_body = l.body_size ? (uintptr_t)&l.body : 0;
		ret = execute(f, &l.hdr);
		nm_legacy_result(&l, ret == 0, &nmr);
	} else {
		nmr.nr_version = NETMAP_API;
	}
	back = nmlib_user_write((uintptr_t)arg, &nmr, sizeof(nmr));
	return ret < 0 ? ret : back;
}

/* ---- ioctl and mmap ------------------------------------------------------------------- */

static int sync_rings(struct nmfd_file *f, enum nmlib_dir dir)
{
	struct nmlib_daemon_port *p = nmfd_port(f);

	return p ? nmlib_daemon_sync(p, dir) : -ENXIO;
}

static int set_nonblock(struct nmfd_file *f, void *arg)
{
	int on, ret = nmlib_user_read(&on, (uintptr_t)arg, sizeof(on));

	if (ret == 0)
		__atomic_store_n(&f->common->nonblock, on ? O_NONBLOCK : 0, __ATOMIC_RELAXED);
	return ret;
}

int nmfd_ioctl(struct nmfd_file *f, int fd, unsigned long request, void *arg)
{
	/* As the kernel, which has 32 bits of it: some programs extend the sign. */
	switch ((uint32_t)request) {
	case NIOCTXSYNC:
		return sync_rings(f, NMLIB_TX);
	case NIOCRXSYNC:
		return sync_rings(f, NMLIB_RX);
	case NIOCCTRL:
		return control(f, arg);
	case NIOCREGIF:
		return legacy(f, arg, true);
	case NIOCGINFO:
		return legacy(f, arg, false);
	case NIOCCONFIG:
		return -EOPNOTSUPP;
	case FIOCLEX:
		return REAL(fcntl)(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
	case FIONCLEX:
		return REAL(fcntl)(fd, F_SETFD, 0) < 0 ? -errno : 0;
	case FIONBIO:
		return set_nonblock(f, arg);
	default:
		return -ENOTTY;
	}
}

void *nmfd_mmap(struct nmfd_file *f, void *addr, size_t len, int prot, int flags, off64_t offset)
{
	struct nmlib_daemon_port *p = nmfd_port(f);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages, wanted;

	if (!p) {
		errno = ENXIO;
		return MAP_FAILED;
	}
	pages = (p->at.region_size + page - 1) / page;
	wanted = len / page + (len % page != 0);
	if (!(flags & MAP_SHARED) || offset < 0 || (uint64_t)offset / page > pages ||
		wanted > pages - (uint64_t)offset / page) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	return REAL(mmap)(addr, len, prot, flags, p->region_fd, offset);
}
