/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl extcap: what Wireshark asks of an external capture program. Interfaces are the ports of this machine's netmapd, those of
 * the machines in $NETMAP_EXTCAP_HOSTS, and one whose port and machine are typed in.
 *
 *      netmap:vale1:10           a port here
 *      netmap@HOST:vale1:10      a port of HOST, by ssh
 *      netmap-ssh                with --host and --port
 */
#include "netmapctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto_client.h"

struct extcap {
	const char *interface, *fifo, *filter, *host, *port, *snaplen, *direction, *socket;
	bool interfaces, dlts, config, capture;
};

static const char LOCAL[] = "netmap:", REMOTE[] = "netmap@", ASKED[] = "netmap-ssh";

/* Texts of Wireshark's sentences end at a brace. */
static bool is_plain(const char *text)
{
	return *text && !strpbrk(text, "{}'\"\\") && text[0] != '-';
}

/* ---- interfaces ------------------------------------------------------------------------------------- */

static void offer(const char *host, const char *port)
{
	if (!is_plain(port))
		return;
	if (host)
		printf("interface {value=%s%s:%s}{display=netmap port %s of %s}\n", REMOTE, host,
			port, port, host);
	else
		printf("interface {value=%s%s}{display=netmap port %s}\n", LOCAL, port, port);
}

static void offer_local(const struct ctl *ctl)
{
	struct nm_error err;
	json_t *root, *port;
	int fd = nmd_connect(ctl->socket, NULL, &err);
	size_t i;

	if (fd < 0)
		return; /* none runs here: nothing to offer */
	if (ctl_report_on(fd, &root) == CTL_OK) {
		json_array_foreach(json_object_get(root, "ports"), i,
			port) if (strcmp(ctl_string(port, "kind"), "monitor") != 0)
			offer(NULL, ctl_string(port, "name"));
		json_decref(root);
	}
	close(fd);
}

static void offer_remote(const char *host)
{
	char *command, line[128];
	FILE *list;

	if (!is_plain(host))
		return;
	command = ctl_format(
		"ssh -o BatchMode=yes -o ConnectTimeout=3 '%s' netmapctl list 2>/dev/null", host);
	/* NOLINTNEXTLINE(cert-env33-c): the host is plain, see above */
	list = popen(command, "re");
	while (list && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		if (!strchr(line, '/')) /* monitors */
			offer(host, line);
	}
	if (list)
		pclose(list);
	free(command);
}

static int put_interfaces(const struct ctl *ctl)
{
	const char *hosts = getenv("NETMAP_EXTCAP_HOSTS");
	char *copy = ctl_format("%s", hosts ? hosts : ""), *at = copy, *host;

	puts("extcap {version=" PTNETMAP_VERSION "}{help=man:netmapctl(1)}");
	offer_local(ctl);
	while ((host = strsep(&at, " ,")))
		if (*host)
			offer_remote(host);
	printf("interface {value=%s}{display=netmap port over ssh}\n", ASKED);
	free(copy);
	return CTL_OK;
}

static int put_config(const struct extcap *e)
{
	puts("arg {number=0}{call=--snaplen}{display=Bytes of a packet}{type=unsigned}{range=14,262144}{default=262144}");
	puts("arg {number=1}{call=--direction}{display=Direction}{type=selector}");
	puts("value {arg=1}{value=both}{display=both}{default=true}");
	puts("value {arg=1}{value=rx}{display=received by the port's user}");
	puts("value {arg=1}{value=tx}{display=sent by the port's user}");
	if (!strcmp(e->interface, ASKED)) {
		puts("arg {number=2}{call=--host}{display=Machine}{type=string}{required=true}{tooltip=as ssh takes it}");
		puts("arg {number=3}{call=--port}{display=Port}{type=string}{required=true}{tooltip=as vale1:10}");
	} else if (!strncmp(e->interface, LOCAL, strlen(LOCAL))) {
		puts("arg {number=2}{call=--socket}{display=netmapd's socket}{type=string}");
	}
	return CTL_OK;
}

/* ---- capture ------------------------------------------------------------------------------------------ */

/* 'text', for a shell at the other end. */
static char *quoted(const char *text)
{
	char *out = ctl_format("'");

	for (; *text; text++) {
		char *more =
			*text == '\'' ? ctl_format("%s'\\''", out) : ctl_format("%s%c", out, *text);

		free(out);
		out = more;
	}
	return ctl_format("%s'", out);
}

/* Becomes netmapctl capture, here or there. */
static int become_capture(const struct extcap *e, const char *host, const char *port)
{
	const char *snaplen = e->snaplen ? e->snaplen : "262144";
	const char *direction = e->direction ? e->direction : "both";
	const char *filter = e->filter ? e->filter : "";
	char *args[] = {"netmapctl", "--socket", (char *)e->socket, "capture", "-q", "-w", "-",
		"--snaplen", (char *)snaplen, "--direction", (char *)direction, "--filter",
		(char *)filter, (char *)port, NULL};
	char *command;

	if (!host && e->socket) {
		execv("/proc/self/exe", args);
	} else if (!host) {
		args[2] = args[0]; /* without a socket of its own */
		execv("/proc/self/exe", args + 2);
	} else {
		command = ctl_format(
			"exec netmapctl capture -q -w - --snaplen %s --direction %s --filter %s %s",
			quoted(snaplen), quoted(direction), quoted(filter), quoted(port));
		execlp("ssh", "ssh", "-o", "BatchMode=yes", "--", host, command, (char *)NULL);
	}
	return ctl_fail(CTL_FAILED, "can't start %s", host ? "ssh" : "netmapctl");
}

/* Which port, and of which machine (to be freed; NULL: this one). False: it doesn't say. */
static bool find_port(const struct extcap *e, char **host, const char **port)
{
	*host = NULL;
	*port = e->port;
	if (!strncmp(e->interface, LOCAL, strlen(LOCAL))) {
		*port = e->interface + strlen(LOCAL);
	} else if (!strncmp(e->interface, REMOTE, strlen(REMOTE))) {
		*host = ctl_format("%s", e->interface + strlen(REMOTE));
		*port = strchr(e->interface, ':') ? strchr(e->interface, ':') + 1 : NULL;
		(*host)[strcspn(*host, ":")] = '\0';
	} else if (!strcmp(e->interface, ASKED)) {
		*host = ctl_format("%s", e->host ? e->host : "");
	}
	return *port && is_plain(*port) && (!*host || is_plain(*host));
}

static int capture(const struct extcap *e)
{
	const char *port;
	char *host;
	int fd, status;

	if (!e->fifo)
		return ctl_fail(CTL_USAGE, "extcap: --capture needs --fifo");
	if (!find_port(e, &host, &port)) {
		free(host);
		return ctl_fail(CTL_USAGE, "extcap: which port of which machine? '%s' says nothing",
			e->interface);
	}
	fd = open(e->fifo, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
		status = ctl_fail(CTL_FAILED, "can't write to %s: %s", e->fifo, strerror(errno));
	else
		status = become_capture(e, host, port);
	if (fd >= 0)
		close(fd);
	free(host);
	return status;
}

static bool take_flag(struct extcap *e, const char *arg)
{
	if (!strcmp(arg, "--extcap-interfaces"))
		return e->interfaces = true;
	if (!strcmp(arg, "--extcap-dlts"))
		return e->dlts = true;
	if (!strcmp(arg, "--extcap-config"))
		return e->config = true;
	if (!strcmp(arg, "--capture"))
		return e->capture = true;
	return false;
}

static void take_value(struct extcap *e, int argc, char **argv, int *i)
{
	const struct {
		const char *option, **value;
	} values[] = {{"--extcap-interface", &e->interface}, {"--fifo", &e->fifo},
		{"--extcap-capture-filter", &e->filter}, {"--host", &e->host}, {"--port", &e->port},
		{"--snaplen", &e->snaplen}, {"--direction", &e->direction},
		{"--socket", &e->socket}};

	/* Others are those of later versions of Wireshark, as --extcap-version=4.0. */
	for (size_t n = 0; n < sizeof(values) / sizeof(values[0]); n++)
		if (ctl_option(argc, argv, i, values[n].option, values[n].value))
			return;
}

int ctl_extcap(int argc, char **argv, const struct ctl *ctl)
{
	struct extcap e = {.interface = "", .socket = ctl->socket};

	for (int i = 1; i < argc; i++)
		if (!take_flag(&e, argv[i]))
			take_value(&e, argc, argv, &i);
	if (!e.interface)
		e.interface = "";
	if (e.interfaces)
		return put_interfaces(ctl);
	if (e.dlts) {
		puts("dlt {number=1}{name=EN10MB}{display=Ethernet}");
		return CTL_OK;
	}
	if (e.config)
		return put_config(&e);
	if (e.capture)
		return capture(&e);
	return ctl_fail(CTL_USAGE, "extcap is called by Wireshark; see netmapctl(1)");
}
