/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl capture: options, and the loop from the monitor to the files. */
#include "capture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SNAPLEN_MAX = 262144,
	SLOTS = 4096,
	SLOTS_MAX = 16384,
	WAIT_MS = 100, /* how late a signal can be heard that comes at a bad moment */
};

volatile int capture_stop;

static void stop(int number)
{
	capture_stop = 1;
}

/* ---- options ------------------------------------------------------------------------------------ */

static int take_direction(struct capture_options *o, const char *text)
{
	if (text && !strcmp(text, "both"))
		o->directions = "rt";
	else if (text && !strcmp(text, "rx"))
		o->directions = "r";
	else if (text && !strcmp(text, "tx"))
		o->directions = "t";
	else
		return ctl_fail(CTL_USAGE, "capture: --direction takes rx, tx or both");
	return CTL_OK;
}

static int take_filter(struct capture_options *o, const char *text)
{
	if (!text)
		return ctl_fail(
			CTL_USAGE, "capture: --filter needs an expression, as 'udp port 53'");
	o->filter = text;
	return CTL_OK;
}

static const struct {
	const char *option, *shorter;
	uint64_t least, most;
} numbers[] = {
	{"--count", "-c", 1, UINT64_MAX - 1},
	{"--snaplen", "-s", 14, SNAPLEN_MAX},
	{"--duration", "-d", 1, 1000000000},
	{"--file-size", "-C", 1, 1 << 20},
	{"--files", "-W", 1, 99999},
	{"--slots", "-S", 64, SLOTS_MAX},
};

static void set_number(struct capture_options *o, size_t i, uint64_t number)
{
	switch (i) {
	case 0:
		o->count = number;
		break;
	case 1:
		o->snaplen = (uint32_t)number;
		break;
	case 2:
		o->seconds = (double)number;
		break;
	case 3:
		o->file_bytes = number << 20;
		break;
	case 4:
		o->files = (uint32_t)number;
		break;
	default:
		o->slots = (uint32_t)number;
	}
}

/* The option at argv[*i], if it wants a number. */
static bool take_number_option(
	int argc, char **argv, int *i, struct capture_options *o, int *status)
{
	const char *value;
	uint64_t number = 0;

	for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
		if (!ctl_option(argc, argv, i, numbers[n].option, &value) &&
			!ctl_option(argc, argv, i, numbers[n].shorter, &value))
			continue;
		*status = ctl_number(
			numbers[n].option, value, numbers[n].least, numbers[n].most, &number);
		if (!*status)
			set_number(o, n, number);
		return true;
	}
	return false;
}

static int take_option(int argc, char **argv, int *i, struct capture_options *o)
{
	const char *value;
	int status = CTL_OK;

	if (take_number_option(argc, argv, i, o, &status))
		return status;
	if (ctl_option(argc, argv, i, "-w", &value) || ctl_option(argc, argv, i, "--write", &value))
		o->file = value ? value : "";
	else if (ctl_option(argc, argv, i, "--direction", &value))
		return take_direction(o, value);
	else if (ctl_option(argc, argv, i, "-f", &value) ||
		 ctl_option(argc, argv, i, "--filter", &value))
		return take_filter(o, value);
	else if (!strcmp(argv[*i], "-q") || !strcmp(argv[*i], "--quiet"))
		o->quiet = true;
	else if (argv[*i][0] == '-' || o->port)
		return ctl_fail(CTL_USAGE, "capture doesn't know '%s'; see netmapctl(1)", argv[*i]);
	else
		o->port = argv[*i];
	return CTL_OK;
}

int capture_parse(int argc, char **argv, struct capture_options *o)
{
	int status = CTL_OK;

	*o = (struct capture_options){
		.directions = "rt", .snaplen = SNAPLEN_MAX, .slots = SLOTS, .count = UINT64_MAX};
	for (int i = 1; i < argc && !status; i++)
		status = take_option(argc, argv, &i, o);
	if (status)
		return status;
	if (!o->port)
		return ctl_fail(CTL_USAGE, "capture needs the name of a port, as vale1:10");
	status = ctl_name("capture", "a port, as vale1:10", o->port);
	if (status)
		return status;
	if (o->file && !*o->file)
		return ctl_fail(CTL_USAGE, "capture: -w needs a file, or -");
	if ((o->file_bytes || o->files) && (!o->file || !strcmp(o->file, "-")))
		return ctl_fail(CTL_USAGE, "capture: --file-size and --files need -w FILE");
	if (o->files && !o->file_bytes)
		return ctl_fail(CTL_USAGE, "capture: --files needs --file-size");
	if ((!o->file || !strcmp(o->file, "-")) && isatty(STDOUT_FILENO))
		return ctl_fail(CTL_USAGE,
			"capture writes pcapng: say -w FILE, or pipe it to tcpdump -r -");
	return CTL_OK;
}

/* ---- the loop -------------------------------------------------------------------------------------- */

static void hear_signals(void)
{
	struct sigaction action = {.sa_handler = stop}; /* without SA_RESTART: it ends a wait */

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* What is there. False: enough, or it can't be written. */
static bool move(struct tap *tap, struct sink *sink, uint64_t count)
{
	struct pcapng_packet packet;

	while (sink_written(sink) < count && tap_next(tap, &packet))
		if (!sink_put(sink, &packet, tap))
			return false;
	return sink_flush(sink) && sink_written(sink) < count;
}

/* An exit status. */
static int run(struct tap *tap, struct sink *sink, const struct capture_options *o)
{
	uint64_t end =
		o->seconds > 0 ? capture_now_ns() + (uint64_t)(o->seconds * 1e9) : UINT64_MAX;
	int there = 0;

	if (!sink_flush(sink)) /* who reads it sees that it has begun */
		return CTL_OK; /* sink_close() says why */
	while (there >= 0 && capture_now_ns() < end) {
		bool last = capture_stop;

		there = tap_wait(tap, last ? 0 : WAIT_MS);
		if ((there > 0 && !move(tap, sink, o->count)) || last)
			return CTL_OK;
	}
	return there < 0 ? tap_gone(tap) : CTL_OK;
}

static void tell(const struct ctl *ctl, const struct capture_sums *sums)
{
	char *missed = sums->missed_known ? ctl_format("%llu", (unsigned long long)sums->missed)
					  : ctl_format("null");

	if (ctl->json)
		fprintf(stderr, "{\"captured\": %llu, \"seen\": %llu, \"missed\": %s}\n",
			(unsigned long long)sums->written, (unsigned long long)sums->seen, missed);
	else if (sums->missed_known)
		fprintf(stderr, "%llu packets captured, %llu seen, %s missed\n",
			(unsigned long long)sums->written, (unsigned long long)sums->seen, missed);
	else
		fprintf(stderr,
			"%llu packets captured, %llu seen; how many were missed isn't known: at least %llu\n",
			(unsigned long long)sums->written, (unsigned long long)sums->seen,
			(unsigned long long)sums->missed);
	free(missed);
}

int ctl_capture(int argc, char **argv, const struct ctl *ctl)
{
	struct capture_sums sums;
	int status, ended;
	struct capture_options o;
	struct sink *sink;
	struct tap *tap;

	status = capture_parse(argc, argv, &o);
	if (status)
		return status;
	hear_signals();
	status = sink_new(&o, &sink); /* a wrong filter is told whether the port is there or not */
	if (status)
		return status;
	status = tap_open(ctl, &o, &tap);
	if (status) {
		sink_free(sink);
		return status;
	}
	status = sink_begin(sink);
	if (status) {
		tap_close(tap);
		sink_free(sink);
		return status;
	}
	ended = run(tap, sink, &o);
	status = sink_close(sink, tap, &sums);
	tap_close(tap);
	if (ctl->json || !o.quiet)
		tell(ctl, &sums);
	return status ? status : ended;
}
