/* SPDX-License-Identifier: BSD-2-Clause */
#include "libvirt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blocker.h"
#include "daemon.h"
#include "hold.h"

/* `s` as the value of an attribute between '…'. */
static void print_value(const char *s, FILE *f)
{
	for (; *s; s++)
		if (strchr("<>&'", *s))
			fprintf(f, "&#%d;", *s);
		else if ((unsigned char)*s >= ' ')
			fputc(*s, f);
}

static void print_arg(const char *indent, const char *element, const char *value, FILE *f)
{
	fprintf(f, "%s<%s value='", indent, element);
	print_value(value, f);
	fputs("'/>\n", f);
}

/* The options of the ports, as they were given. */
static void print_ports(const struct command *c, FILE *f)
{
	fputs("<metadata>\n  <ptnet:ports xmlns:ptnet='" LIBVIRT_NAMESPACE "'>\n", f);
	for (size_t i = 0; i < c->ports->count; i++) {
		const struct port *port = &c->ports->port[i];
		const struct scan_arg *netdev = &c->scan->arg[port->netdev_arg];
		const struct scan_arg *device = &c->scan->arg[port->device_arg];

		print_arg("    ", "ptnet:arg", netdev->word, f);
		print_arg("    ", "ptnet:arg", netdev->value, f);
		if (netdev == device)
			continue;
		print_arg("    ", "ptnet:arg", device->word, f);
		print_arg("    ", "ptnet:arg", device->value, f);
	}
	fputs("  </ptnet:ports>\n</metadata>\n", f);
}

static void print_devices(const struct text_argv *args, FILE *f)
{
	fputs("<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n", f);
	for (size_t i = 0; i < args->count; i++)
		print_arg("  ", "qemu:arg", args->v[i], f);
	fputs("</qemu:commandline>\n", f);
}

int libvirt_print(const struct command *c, const char *dir, FILE *f, char err[TEXT_ERR])
{
	struct command_sockets *links = hold_links(dir, c->sockets, c->ports->count);
	struct text_argv args = {NULL, 0};
	struct command placed = *c;
	char *image = text_format("%s/" BLOCKER_FILE, dir);
	int ret;

	blocker_node(image, &args);
	placed.sockets = links;
	ret = command_devices(&placed, &args, err);
	if (ret == 0) {
		fputs("<memoryBacking>\n  <source type='memfd'/>\n  <access mode='shared'/>\n</memoryBacking>\n",
			f);
		print_ports(c, f);
		print_devices(&args, f);
		if (fflush(f) || ferror(f))
			ret = text_fail(-EIO, err, "can't write to stdout");
	}
	text_argv_free(&args);
	free(image);
	daemon_free_sockets(links, c->ports->count);
	free(links);
	return ret;
}
