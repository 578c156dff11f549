/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkt-gen: sends, receives and measures packets on netmap ports.
 *
 * Main reads the command line, opens the ports, starts a worker per thread, and
 * prints a line per interval until all workers have ended or a signal comes; then
 * the totals. Exit status: 0; 1 for failures and for packets that --check found
 * missing or damaged; 2 for wrong arguments.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/report.h"
#include "setup.h"
#include "worker.h"

struct program {
	struct gen_options o;
	struct worker *workers;
	int signals; /* signalfd */
	int done;    /* eventfd: workers that have ended */
	int running;
	struct stats last;
	struct stats_window window; /* rates of the last intervals */
	struct replay replay;
	uint64_t last_ns;
};

/* ---- workers -------------------------------------------------------------------------- */

static void *worker_main(void *arg)
{
	static enum worker_end (*const run[])(struct worker *) = {
		[GEN_RX] = rx_run, [GEN_TX] = tx_run, [GEN_PING] = ping_run, [GEN_PONG] = pong_run};
	struct worker *w = arg;
	uint64_t one = 1;

	setup_affinity(w->o, w->id);
	w->result = run[w->o->fn](w);
	if (write(w->done_fd, &one, sizeof(one)) < 0)
		complain("eventfd: %s", strerror(errno));
	return NULL;
}

/* The share of worker i of n in a total of packets. */
static uint64_t share(uint64_t total, uint64_t i, uint64_t n)
{
	return total / n + (i < total % n);
}

static void fill_in(struct program *p)
{
	const struct gen_options *o = &p->o;

	for (int i = 0; i < o->threads; i++) {
		struct worker *w = &p->workers[i];

		w->id = (unsigned int)i;
		w->count = share(o->count, (uint64_t)i, (uint64_t)o->threads);
		w->rate = o->rate / o->threads;
		w->replay = o->replay[0] ? &p->replay : NULL;
		w->done_fd = p->done;
		if (o->count && !w->count)
			w->result = WORKER_DONE; /* fewer packets than threads */
	}
}

static int start(struct program *p)
{
	for (int i = 0; i < p->o.threads; i++) {
		struct worker *w = &p->workers[i];
		int error;

		if (w->result == WORKER_DONE)
			continue;
		error = pthread_create(&w->thread, NULL, worker_main, w);
		if (error) {
			complain("can't start a thread: %s", strerror(error));
			gen_stop = true;
			w->result = WORKER_FAILED;
			return -1;
		}
		p->running++;
	}
	return 0;
}

static void join(struct program *p)
{
	for (int i = 0; i < p->o.threads; i++)
		if (p->workers[i].thread)
			pthread_join(p->workers[i].thread, NULL);
}

/* ---- while they run ------------------------------------------------------------------- */

static void sum_stats(const struct program *p, struct stats *sum)
{
	struct stats s;

	memset(sum, 0, sizeof(*sum));
	for (int i = 0; i < p->o.threads; i++) {
		stats_read(&p->workers[i].stats, &s);
		sum->packets += s.packets;
		sum->bytes += s.bytes;
		sum->slots += s.slots;
		sum->batches += s.batches;
	}
}

static struct stats_style style_of(const struct gen_options *o)
{
	return (struct stats_style){.raw = o->raw_units, .framing = o->framing};
}

static void report(struct program *p, uint64_t now)
{
	struct stats s;
	char text[200], mean[100] = "";

	sum_stats(p, &s);
	stats_interval(&p->last, &s, now - p->last_ns, style_of(&p->o), text, sizeof(text));
	if (p->o.average) {
		window_add(&p->window,
			(double)(s.packets - p->last.packets) * 1e9 / (double)(now - p->last_ns));
		window_text(&p->window, style_of(&p->o), mean, sizeof(mean));
	}
	printf("main: %s%s\n", text, mean);
	p->last = s;
	p->last_ns = now;
}

/* Waits until `until` (ns) for a signal or the end of a worker. True: a signal came. */
static bool wait_event(struct program *p, uint64_t until)
{
	struct pollfd fds[2] = {{p->signals, POLLIN, 0}, {p->done, POLLIN, 0}};
	struct signalfd_siginfo info;
	uint64_t now = now_ns(), count;
	int ms = until > now ? (int)((until - now + 999999) / 1000000) : 0;

	if (poll(fds, 2, ms) <= 0)
		return false;
	if ((fds[1].revents & POLLIN) && read(p->done, &count, sizeof(count)) == sizeof(count))
		p->running -= (int)count;
	return (fds[0].revents & POLLIN) && read(p->signals, &info, sizeof(info)) == sizeof(info);
}

static void watch(struct program *p)
{
	uint64_t interval = p->o.report_ms * 1000000ULL, next, now;

	p->last_ns = now_ns();
	next = p->last_ns + interval;
	while (p->running > 0) {
		if (wait_event(p, next))
			gen_stop = true;
		now = now_ns();
		if (now < next)
			continue;
		report(p, now);
		next += interval;
		if (next < now)
			next = now + interval;
	}
}

/* False: a signal came while waiting. */
static bool wait_link(struct program *p)
{
	double seconds = setup_wait_link(&p->o, &p->workers[0]);
	uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);

	if (seconds > 0)
		printf("Waiting %g seconds for the link\n", seconds);
	while (now_ns() < until)
		if (wait_event(p, until))
			return false;
	return true;
}

/* ---- totals --------------------------------------------------------------------------- */

/* From the first packet of any worker to the last. */
static uint64_t duration(const struct program *p)
{
	uint64_t begin = UINT64_MAX, end = 0;

	for (int i = 0; i < p->o.threads; i++) {
		const struct worker *w = &p->workers[i];

		if (!w->begin)
			continue;
		begin = w->begin < begin ? w->begin : begin;
		end = w->end > end ? w->end : end;
	}
	return end > begin ? end - begin : 0;
}

static void print_totals(const struct program *p)
{
	static const char *const verbs[] = {[GEN_RX] = "Received",
		[GEN_TX] = "Sent",
		[GEN_PING] = "Measured",
		[GEN_PONG] = "Answered"};
	uint64_t ns = duration(p), pending = 0;
	struct stats s;
	char text[200];

	sum_stats(p, &s);
	for (int i = 0; i < p->o.threads; i++)
		pending += p->workers[i].pending;
	printf("%s %llu packets, %llu bytes, %llu slots in %.6f seconds\n", verbs[p->o.fn],
		(unsigned long long)s.packets, (unsigned long long)s.bytes,
		(unsigned long long)s.slots, (double)ns / 1e9);
	if (pending)
		printf("Pending: %llu slots had not left the ring at the end\n",
			(unsigned long long)pending);
	stats_speed(&s, ns, style_of(&p->o), text, sizeof(text));
	printf("%s\n", text);
}

/* What ping saw, and what --check found. Returns the exit status. */
static int print_findings(const struct program *p)
{
	const struct worker *w = &p->workers[0];
	uint64_t expected = w->result == WORKER_STOPPED ? 0 : w->count;
	struct check_sums sums;
	char text[200];

	if (p->o.fn == GEN_PING) {
		expected = w->asked;
		rtt_text(&w->rtt, text, sizeof(text));
		printf("Ping: sent %llu answered %llu %s\n", (unsigned long long)w->asked,
			(unsigned long long)w->rtt.count, text);
	}
	if (p->o.fn == GEN_TX || !p->o.check)
		return EXIT_SUCCESS;
	check_sum(&w->check, expected, &sums);
	check_text(&sums, text, sizeof(text));
	printf("%s\n", text);
	if (sums.other)
		printf("Other: %llu frames that are not numbered packets\n",
			(unsigned long long)sums.other);
	return check_passed(&sums) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_failures(const struct program *p)
{
	int status = EXIT_SUCCESS;

	for (int i = 0; i < p->o.threads; i++) {
		if (p->workers[i].result != WORKER_FAILED)
			continue;
		complain("%s", p->workers[i].err[0] ? p->workers[i].err : "a thread failed");
		status = EXIT_FAILURE;
	}
	return status;
}

/* ---- from the beginning --------------------------------------------------------------- */

/* The packets of -P; without -n they are sent once. */
static int load(struct program *p)
{
	char err[REPLAY_ERR];

	if (!p->o.replay[0])
		return 0;
	if (replay_load(&p->replay, p->o.replay, err) < 0) {
		complain("%s", err);
		return -1;
	}
	if (p->replay.skipped)
		complain("%s: %zu packets are not sent: cut off, or not of 14 to %d bytes",
			p->o.replay, p->replay.skipped, GEN_LEN_MAX);
	if (!p->o.have_count)
		p->o.count = p->replay.count;
	return 0;
}

static int prepare(struct program *p)
{
	sigset_t set;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	/* Before any thread exists: all inherit it. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	p->signals = signalfd(-1, &set, SFD_CLOEXEC);
	p->done = eventfd(0, EFD_CLOEXEC);
	p->workers = aligned_alloc(64, (size_t)p->o.threads * sizeof(*p->workers));
	if (p->signals < 0 || p->done < 0 || !p->workers) {
		complain("can't start: %s", strerror(errno));
		return -1;
	}
	memset(p->workers, 0, (size_t)p->o.threads * sizeof(*p->workers));
	return 0;
}

static int run(struct program *p)
{
	static const char *const names[] = {
		[GEN_RX] = "rx", [GEN_TX] = "tx", [GEN_PING] = "ping", [GEN_PONG] = "pong"};
	int status, found;

	fill_in(p);
	printf("%s on %s (%s), %d thread%s, virtio-net header %u bytes\n", names[p->o.fn],
		p->o.port, nmport_backend(p->workers[0].port), p->o.threads,
		p->o.threads > 1 ? "s" : "", p->workers[0].hdr_len);
	if (wait_link(p) && start(p) < 0)
		gen_stop = true;
	watch(p);
	join(p);
	print_totals(p);
	found = print_findings(p);
	status = print_failures(p);
	return status ? status : found;
}

int main(int argc, char **argv)
{
	static struct program p;
	char err[OPTIONS_ERR];
	int status;

	if (options_parse(argc, argv, &p.o, err) < 0) {
		complain("%s", err);
		return EXIT_USAGE;
	}
	if (p.o.help) {
		fputs(options_usage(), stdout);
		return EXIT_SUCCESS;
	}
	if (load(&p) < 0 || prepare(&p) < 0)
		return EXIT_FAILURE;
	status = setup_open(&p.o, p.workers, &p.replay);
	if (!status)
		status = run(&p);
	setup_close(&p.o, p.workers);
	for (int i = 0; i < p.o.threads; i++)
		check_free(&p.workers[i].check);
	free(p.workers);
	replay_free(&p.replay);
	return status;
}
