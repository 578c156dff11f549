/* SPDX-License-Identifier: BSD-2-Clause */
#include "run_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <libnetmap.h>

#include "real_netmapd.h"

int request(int fd, uint16_t type, const char *name, void *body)
{
	struct nmreq_header hdr = {.nr_version = NETMAP_API, .nr_reqtype = type};

	strncpy(hdr.nr_name, name, sizeof(hdr.nr_name) - 1);
	hdr.nr_body = (uintptr_t)body;
	return ioctl(fd, NIOCCTRL, &hdr);
}

static void quiet(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	(void)text;
}

int try_port(struct port *p, const char *name)
{
	nmctx_error_cb said = nmctx_get()->error;
	char spec[80];

	snprintf(spec, sizeof(spec), "%s%s", name, p->reg.nr_flags & NR_EXCLUSIVE ? "/x" : "");
	nmctx_get()->error = quiet;
	p->d = nmport_open(spec);
	nmctx_get()->error = said;
	if (!p->d)
		return -1;
	p->fd = p->d->fd;
	p->reg = p->d->reg;
	p->nifp = p->d->nifp;
	p->tx = NETMAP_TXRING(p->nifp, p->d->first_tx_ring);
	p->rx = NETMAP_RXRING(p->nifp, p->d->first_rx_ring);
	return 0;
}

void open_port(struct port *p, const char *name)
{
	if (try_port(p, name) < 0)
		fail_msg("%s: %s", name, strerror(errno));
}

void close_port(struct port *p)
{
	nmport_close(p->d);
}

/* The port lives on in the duplicate. */
int open_bare(const char *name, bool *registered)
{
	struct port p = {0};
	char spec[80];
	int fd = -1;

	snprintf(spec, sizeof(spec), "%s@conf:slots=64", name);
	*registered = try_port(&p, spec) == 0;
	if (*registered) {
		fd = dup(p.fd);
		close_port(&p);
	}
	return fd;
}

int run_main(int argc, char **argv, int (*tests)(void))
{
	struct real_netmapd netmapd;
	int status;

	(void)argc;
	(void)argv;
	real_start(&netmapd);
	alarm(120);
	nmctx_set_threadsafe();
	status = tests();
	if (real_stop(&netmapd) != 0) {
		printf("Bail out! netmapd didn't end well\n");
		return 1;
	}
	return status;
}
