/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where captured packets go: through the filter, cut to the snap length, into a file or stdout. With a size of files each is whole
 * by itself, with its statistics; their names get a number, and the oldest goes when there are too many.
 */
#include "capture.h"

#include <errno.h>
#include <limits.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, FILTER_SNAPLEN = 262144 };

struct sink {
	const struct capture_options *o;
	FILE *out;
	char *buffer;
	struct bpf_program program;
	bool filters;
	bool failed;                    /* a file is not whole, or isn't there */
	uint32_t number;                /* of the file */
	uint64_t bytes;                 /* in it */
	struct pcapng_statistics stats; /* of the file */
	uint64_t missed_before;         /* of the files before, as far as that was known */
	struct capture_sums sums;
};

/* Into sink->program. An exit status. */
static int compile(struct sink *sink)
{
	const char *filter = sink->o->filter;
	int status = CTL_OK;
	pcap_t *dead;

	if (!filter || !*filter)
		return CTL_OK;
	dead = pcap_open_dead(DLT_EN10MB, FILTER_SNAPLEN);
	if (!dead)
		return ctl_fail(CTL_FAILED, "out of memory");
	if (pcap_compile(dead, &sink->program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		status = ctl_fail(CTL_USAGE, "filter '%.200s': %s", filter, pcap_geterr(dead));
	else
		sink->filters = true;
	pcap_close(dead);
	return status;
}

/* "dir/name.ext" and 7: "dir/name_00007.ext". */
static char *numbered(const char *file, uint32_t number)
{
	const char *slash = strrchr(file, '/'), *dot = strrchr(file, '.');

	if (!dot || (slash && dot < slash) || dot == file || dot[-1] == '/')
		dot = file + strlen(file);
	return ctl_format("%.*s_%05u%s", (int)(dot - file), file, number, dot);
}

static bool is_stdout(const struct capture_options *o)
{
	return !o->file || !strcmp(o->file, "-");
}

static bool write_failed(const struct sink *sink)
{
	/* Who reads has seen enough. */
	if (errno == EPIPE)
		return true;
	ctl_fail(CTL_FAILED, "can't write to %s: %s", is_stdout(sink->o) ? "stdout" : sink->o->file,
		strerror(errno));
	return true;
}

static bool begin_file(struct sink *sink)
{
	const struct capture_options *o = sink->o;
	char *description = ctl_format("netmap port %s", o->port);
	char *name = o->file_bytes ? numbered(o->file, ++sink->number) : NULL;
	const struct pcapng_interface interface = {
		.name = o->port,
		.description = description,
		.program = "netmapctl " PTNETMAP_VERSION,
		.filter = sink->filters ? o->filter : NULL,
		.snaplen = o->snaplen,
	};

	sink->out = is_stdout(o) ? stdout : fopen(name ? name : o->file, "we");
	if (sink->out) {
		setvbuf(sink->out, sink->buffer, _IOFBF, BUFFER);
		sink->bytes = pcapng_begin(sink->out, &interface);
		sink->stats = (struct pcapng_statistics){.start_ns = capture_now_ns()};
	} else {
		ctl_fail(CTL_FAILED, "can't open %s: %s", name ? name : o->file, strerror(errno));
	}
	free(name);
	free(description);
	return sink->out;
}

static bool end_file(struct sink *sink, struct tap *tap)
{
	struct capture_sums *sums = &sink->sums;
	bool good;

	sums->missed_known = tap_missed(tap, &sums->missed);
	sink->stats.end_ns = capture_now_ns();
	sink->stats.dropped_known = sums->missed_known;
	sink->stats.dropped = sums->missed - sink->missed_before;
	sink->stats.received += sink->stats.dropped;
	sink->missed_before = sums->missed;
	pcapng_end(sink->out, &sink->stats);
	good = fflush(sink->out) == 0 && !ferror(sink->out);
	if (!good)
		write_failed(sink);
	if (sink->out != stdout)
		good &= fclose(sink->out) == 0;
	sink->out = NULL;
	return good;
}

static bool next_file(struct sink *sink, struct tap *tap)
{
	char *oldest;

	if (!end_file(sink, tap) || !begin_file(sink)) {
		sink->failed = true;
		return false;
	}
	if (sink->o->files == 0 || sink->number <= sink->o->files)
		return true;
	oldest = numbered(sink->o->file, sink->number - sink->o->files);
	if (unlink(oldest) < 0 && errno != ENOENT)
		ctl_fail(CTL_FAILED, "can't remove %s: %s", oldest, strerror(errno));
	free(oldest);
	return true;
}

int sink_new(const struct capture_options *o, struct sink **out)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	int status;

	if (sink)
		sink->buffer = malloc(BUFFER);
	if (!sink || !sink->buffer) {
		free(sink);
		return ctl_fail(CTL_FAILED, "out of memory");
	}
	sink->o = o;
	status = compile(sink);
	if (status)
		sink_free(sink);
	else
		*out = sink;
	return status;
}

void sink_free(struct sink *sink)
{
	if (sink->filters)
		pcap_freecode(&sink->program);
	/* stdout is used until the end. */
	setvbuf(stdout, NULL, _IOFBF, 0);
	free(sink->buffer);
	free(sink);
}

int sink_begin(struct sink *sink)
{
	return begin_file(sink) ? CTL_OK : CTL_FAILED;
}

static bool is_wanted(const struct sink *sink, const struct pcapng_packet *p)
{
	return !sink->filters ||
	       bpf_filter(sink->program.bf_insns, p->data, p->length, p->captured) != 0;
}

bool sink_put(struct sink *sink, const struct pcapng_packet *packet, struct tap *tap)
{
	struct pcapng_packet cut = *packet;

	sink->sums.seen++;
	sink->stats.received++;
	if (!is_wanted(sink, packet))
		return true;
	sink->stats.accepted++;
	if (sink->o->file_bytes && sink->bytes >= sink->o->file_bytes && !next_file(sink, tap))
		return false;
	if (cut.captured > sink->o->snaplen)
		cut.captured = sink->o->snaplen;
	sink->bytes += pcapng_packet(sink->out, &cut);
	sink->stats.written++;
	sink->sums.written++;
	return !ferror(sink->out) || !write_failed(sink);
}

bool sink_flush(struct sink *sink)
{
	return fflush(sink->out) == 0 || !write_failed(sink);
}

uint64_t sink_written(const struct sink *sink)
{
	return sink->sums.written;
}

int sink_close(struct sink *sink, struct tap *tap, struct capture_sums *sums)
{
	bool good = (!sink->out || end_file(sink, tap)) && !sink->failed;

	*sums = sink->sums;
	sink_free(sink);
	return good ? CTL_OK : CTL_FAILED;
}
