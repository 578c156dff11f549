/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vale-ctl: switches, what is on them, and persistent ports.
 *
 * Each action is one control request over libnetmap, so that it works on /dev/netmap and on netmapd
 * alike. Exit status: 0; 1 when the request fails; 2 for wrong arguments.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnetmap.h>

#include "options.h"

enum { EXIT_USAGE = 2 };

/* The library's last report: printed only when it matters. */
static char reported[512];

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(reported, sizeof(reported), "%s", text);
}

static int failed(void)
{
	fprintf(stderr, "vale-ctl: %s\n", reported[0] ? reported : strerror(errno));
	return EXIT_FAILURE;
}

/* Sends a request about `name` ("": none) with its body. 0, or -1 with errno. */
static int ask(struct nmport_d *d, uint16_t type, char name[NETMAP_REQ_IFNAMSIZ], void *body)
{
	struct nmreq_header hdr;
	int ret;

	nmreq_header_init(&hdr, type, body);
	memcpy(hdr.nr_name, name, sizeof(hdr.nr_name));
	reported[0] = '\0';
	ret = nmport_request(d, &hdr);
	if (!ret)
		memcpy(name, hdr.nr_name, sizeof(hdr.nr_name));
	return ret;
}

/* ---- actions -------------------------------------------------------------------------- */

static void print_port(const struct nmreq_vale_list *list, const char *name)
{
	printf("bridge:%u port:%u %.63s\n", list->nr_bridge_idx, list->nr_port_idx, name);
}

static int list_all(struct nmport_d *d)
{
	struct nmreq_vale_list list = {0};
	char name[NETMAP_REQ_IFNAMSIZ];

	for (;;) {
		memset(name, 0, sizeof(name));
		/* The end; unless there is nobody who could be asked. */
		if (ask(d, NETMAP_REQ_VALE_LIST, name, &list) < 0)
			return errno == ENOENT && d->fd >= 0 ? EXIT_SUCCESS : failed();
		print_port(&list, name);
		list.nr_port_idx++;
	}
}

static int list_one(struct nmport_d *d, struct vale_options *o)
{
	struct nmreq_vale_list list = {0};

	if (ask(d, NETMAP_REQ_VALE_LIST, o->name, &list) < 0)
		return failed();
	print_port(&list, o->name);
	return EXIT_SUCCESS;
}

static int rings(struct nmport_d *d, struct vale_options *o)
{
	struct nmreq_port_info_get info = {0};

	if (ask(d, NETMAP_REQ_PORT_INFO_GET, o->name, &info) < 0)
		return failed();
	printf("%u\n", info.nr_rx_rings);
	return EXIT_SUCCESS;
}

static int attach(struct nmport_d *d, struct vale_options *o)
{
	struct nmreq_vale_attach body = {0};

	body.reg.nr_mode = o->action == VALE_ATTACH ? NR_REG_ALL_NIC : NR_REG_NIC_SW;
	body.reg.nr_mem_id = o->mem_id;
	if (ask(d, NETMAP_REQ_VALE_ATTACH, o->name, &body) < 0)
		return failed();
	if (o->verbose)
		printf("%s is attached as port %u\n", o->name, body.port_index);
	return EXIT_SUCCESS;
}

static int detach(struct nmport_d *d, struct vale_options *o)
{
	struct nmreq_vale_detach body = {0};

	if (ask(d, NETMAP_REQ_VALE_DETACH, o->name, &body) < 0)
		return failed();
	if (o->verbose)
		printf("%s, which was port %u, is detached\n", o->name, body.port_index);
	return EXIT_SUCCESS;
}

static int newif(struct nmport_d *d, struct vale_options *o)
{
	uint32_t rx_slots = o->confs > 1 ? o->conf[1] : o->conf[0];
	uint32_t rx_rings = o->confs > 3 ? o->conf[3] : o->conf[2];
	struct nmreq_vale_newif body = {
		.nr_tx_slots = o->conf[0],
		.nr_rx_slots = rx_slots,
		.nr_tx_rings = (uint16_t)o->conf[2],
		.nr_rx_rings = (uint16_t)rx_rings,
		.nr_mem_id = o->mem_id,
	};

	if (ask(d, NETMAP_REQ_VALE_NEWIF, o->name, &body) < 0)
		return failed();
	if (o->verbose)
		printf("%s is made\n", o->name);
	return EXIT_SUCCESS;
}

static int delif(struct nmport_d *d, struct vale_options *o)
{
	if (ask(d, NETMAP_REQ_VALE_DELIF, o->name, NULL) < 0)
		return failed();
	if (o->verbose)
		printf("%s is removed\n", o->name);
	return EXIT_SUCCESS;
}

static int polling(struct nmport_d *d, struct vale_options *o)
{
	struct nmreq_vale_polling body = {
		.nr_mode =
			o->conf[0] ? NETMAP_POLLING_MODE_MULTI_CPU : NETMAP_POLLING_MODE_SINGLE_CPU,
		.nr_first_cpu_id = o->conf[1],
		.nr_num_polling_cpus = o->confs > 2 ? o->conf[2] : 1,
	};
	bool on = o->action == VALE_POLL;

	if (!on)
		memset(&body, 0, sizeof(body));
	if (ask(d, on ? NETMAP_REQ_VALE_POLLING_ENABLE : NETMAP_REQ_VALE_POLLING_DISABLE, o->name,
		    &body) < 0)
		return failed();
	if (o->verbose)
		printf("%s is %s\n", o->name, on ? "polled" : "no longer polled");
	return EXIT_SUCCESS;
}

static int act(struct nmport_d *d, struct vale_options *o)
{
	switch (o->action) {
	case VALE_LIST_ALL:
		return list_all(d);
	case VALE_LIST_ONE:
		return list_one(d, o);
	case VALE_RINGS:
		return rings(d, o);
	case VALE_ATTACH:
	case VALE_ATTACH_HOST:
		return attach(d, o);
	case VALE_DETACH:
		return detach(d, o);
	case VALE_NEWIF:
		return newif(d, o);
	case VALE_DELIF:
		return delif(d, o);
	default:
		return polling(d, o);
	}
}

int main(int argc, char **argv)
{
	struct vale_options o;
	struct nmport_d *d;
	char err[OPTIONS_ERR];
	int status;

	if (options_parse(argc, argv, &o, err) < 0) {
		fprintf(stderr, "vale-ctl: %s\n", err);
		return EXIT_USAGE;
	}
	if (o.action == VALE_HELP) {
		fputs(options_usage(), stdout);
		return EXIT_SUCCESS;
	}
	nmctx_get()->error = on_error;
	d = nmport_new();
	status = d ? act(d, &o) : failed();
	nmport_close(d);
	return status;
}
