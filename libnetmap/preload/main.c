/* SPDX-License-Identifier: BSD-2-Clause */
/* netmap-run: runs a program that was built for /dev/netmap on the ports of netmapd. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"
#include "proto_client.h"

static const char usage_text[] =
	"usage: netmap-run [options] PROGRAM [ARGUMENT...]\n"
	"Runs a program that uses /dev/netmap on the ports of netmapd.\n"
	"\n"
	"  -s, --socket=PATH  netmapd's socket (default: $NETMAPD_SOCKET, or the usual place)\n"
	"  -v, --verbose      say on stderr why requests fail\n"
	"  -h, --help         print this\n"
	"      --version      print the version\n";

static int __attribute__((noreturn, format(printf, 2, 3))) die(int status, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "netmap-run: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

struct options {
	const char *socket;
	int verbose;
};

/* Returns the index of PROGRAM. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"socket", required_argument, NULL, 's'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:s:vh", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'v':
			o->verbose = 1;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		case 'V':
			puts("netmap-run " PTNETMAP_VERSION);
			exit(0);
		case ':':
			die(2, "%s needs a value; see netmap-run --help", argv[optind - 1]);
		default:
			die(2, "unknown option %s; see netmap-run --help", argv[optind - 1]);
		}
	}
	if (optind == argc)
		die(2, "which program? see netmap-run --help");
	return optind;
}

/* The library beside this command, as in the build tree, or where it was installed. */
static void find_library(char path[PATH_MAX])
{
	static const char *const places[] = {"netmap-run.so", NETMAP_RUN_FROM_BIN "/netmap-run.so"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *dir;

	if (n < 0)
		die(1, "can't find out where netmap-run is: %s", strerror(errno));
	self[n] = '\0';
	dir = dirname(self);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (snprintf(path, PATH_MAX, "%s/%s", dir, places[i]) < PATH_MAX &&
			access(path, R_OK) == 0)
			return;
	die(1, "its library is neither %s/%s nor %s/%s", dir, places[0], dir, places[1]);
}

/* Before those that are preloaded already, so that it is asked first. */
static void preload(const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	char *value;

	if (strpbrk(library, ": "))
		die(1, "%s: the loader can't preload from a directory with a colon or a space in its name",
			library);
	if (asprintf(&value, "%s%s%s", library, others && *others ? ":" : "",
		    others ? others : "") < 0)
		die(1, "out of memory");
	setenv("LD_PRELOAD", value, 1);
	free(value);
}

/* Now, and not at the program's first open(), where it could not say much. */
static void check_netmapd(void)
{
	struct nm_error why;
	int fd = nmd_connect(NULL, NULL, &why);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		die(1, "%s; start it: netmapd --background", why.text);
	if (fd < 0)
		die(1, "%s", why.text);
	close(fd);
}

int main(int argc, char **argv)
{
	char library[PATH_MAX], program[PATH_MAX], why[PROGRAM_WHY];
	struct options o = {0};
	int at = parse(argc, argv, &o);

	if (o.socket)
		setenv("NETMAPD_SOCKET", o.socket, 1);
	if (o.verbose)
		setenv("NETMAP_RUN_VERBOSE", "1", 1);
	if (program_find(argv[at], program, why) < 0 || program_check(program, why) < 0)
		die(1, "%s", why);
	find_library(library);
	check_netmapd();
	preload(library);
	execv(program, argv + at);
	die(1, "%s: %s", program, strerror(errno));
}
