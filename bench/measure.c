/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One measurement of one scenario:
 *
 *      measure SCENARIO [--len BYTES] [--batch N] [--seconds N] [--ports N] [--macs N] [--hdr N]
 *              [--both] [--monitor] [--cpus CLIENT…,WORKER…] [--profile FILE] NETMAPD
 *
 * Starts a netmapd, sets the scenario up in it, and prints one line of JSON: what was counted
 * and in what time. bench/run repeats this and makes figures of it.
 */
#include "measure.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct scenario *const scenarios[] = {&vale_pairs, &vale_workers, &vale_all,
	&vale_broadcast, &vale_macs, &pipe_pair, &pipe_chain, &local_vale, &local_pipe,
	&round_trips, &round_trips_asleep, &idle_ports};

enum { NUM_SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr, "usage: measure SCENARIO [OPTION…] NETMAPD\n");
	for (int i = 0; i < NUM_SCENARIOS; i++)
		fprintf(stderr, "  %-12s %s\n", scenarios[i]->name, scenarios[i]->what);
	exit(2);
}

static uint32_t number(const char *name, const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < min || value > max) {
		fprintf(stderr, "measure: --%s: \"%s\" is not a number from %u to %u\n", name, text,
			min, max);
		exit(2);
	}
	return (uint32_t)value;
}

/* As many clients as workers: the first half is the clients'. */
static void set_cpus(const char *text, struct testbed *w)
{
	int cpu[2 * TESTBED_WORKERS], n = 0, used = 0;

	while (n < 2 * TESTBED_WORKERS && sscanf(text, "%d%n", &cpu[n], &used) == 1) {
		text += used;
		n++;
		if (*text != ',')
			break;
		text++;
	}
	if (*text || n == 0 || n % 2)
		usage();
	w->workers = n / 2;
	for (int i = 0; i < w->workers; i++) {
		w->client_cpu[i] = cpu[i];
		w->worker_cpu[i] = cpu[w->workers + i];
	}
}

enum { LEN, BATCH, SECONDS, PORTS, MACS, HDR, BOTH, MONITOR, CPUS, PROFILE, POLL };

static const struct option options[] = {{"len", 1, 0, LEN}, {"batch", 1, 0, BATCH},
	{"seconds", 1, 0, SECONDS}, {"ports", 1, 0, PORTS}, {"macs", 1, 0, MACS},
	{"hdr", 1, 0, HDR}, {"both", 0, 0, BOTH}, {"monitor", 0, 0, MONITOR}, {"cpus", 1, 0, CPUS},
	{"profile", 1, 0, PROFILE}, {"poll-us", 1, 0, POLL}, {0}};

static void set_option(int c, struct options *o, struct testbed *w)
{
	switch (c) {
	case LEN:
		o->len = number("len", optarg, 60, 65535 + NM_PORT_HDR_MAX);
		break;
	case BATCH:
		o->batch = number("batch", optarg, 1, 1023);
		break;
	case SECONDS:
		o->seconds = strtod(optarg, NULL);
		break;
	case PORTS:
		o->ports = number("ports", optarg, 1, TESTBED_MACHINES);
		break;
	case MACS:
		o->macs = number("macs", optarg, 1, 1000000);
		break;
	case HDR:
		o->hdr_len = number("hdr", optarg, 0, NM_PORT_HDR_MAX);
		break;
	case BOTH:
		o->both = true;
		break;
	case MONITOR:
		o->monitor = true;
		break;
	case PROFILE:
		w->profile = optarg;
		break;
	case POLL:
		w->poll_us = (int)number("poll-us", optarg, 0, 1000000);
		break;
	case CPUS:
		set_cpus(optarg, w);
		break;
	default:
		usage();
	}
}

int main(int argc, char **argv)
{
	struct options o = {.len = 60, .batch = 256, .seconds = 1, .ports = 2, .macs = 1};
	struct testbed w = {.workers = 1, .worker_cpu = {1}, .poll_us = -1};
	const struct scenario *scenario = NULL;
	struct result r = {0};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		set_option(c, &o, &w);
	for (int i = 0; i < NUM_SCENARIOS && optind + 2 == argc; i++)
		if (strcmp(argv[optind], scenarios[i]->name) == 0)
			scenario = scenarios[i];
	if (!scenario || o.seconds <= 0 || o.seconds > 600)
		usage();
	w.netmapd = argv[optind + 1];
	testbed_start(&w);
	scenario->run(&w, &o, &r);
	testbed_stop(&w);
	printf("{\"count\": %llu, \"sent\": %llu, \"seconds\": %.6f, \"extra\": [%llu, %llu, %llu, %llu]}\n",
		(unsigned long long)r.count, (unsigned long long)r.sent, r.seconds,
		(unsigned long long)r.extra[0], (unsigned long long)r.extra[1],
		(unsigned long long)r.extra[2], (unsigned long long)r.extra[3]);
	return 0;
}
