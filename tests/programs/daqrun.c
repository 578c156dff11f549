// SPDX-License-Identifier: BSD-2-Clause
/*
 * What Snort does with its daq module for netmap, and no more: gets packets until SIGINT, passes or
 * blocks them, and writes them into a capture file with the times that the module gives them.
 *
 *	daqrun MODULES passive|inline DEVICE FILE
 *
 * DEVICE as the module wants it: "ve0", or "ve1:ve2" for a pair. Packets of Ethernet type 88b6 are
 * blocked; ahead of each of type 88b7 goes one of type 88b8, which is injected.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <daq.h>

enum { BLOCKED = 0x88b6, LED = 0x88b7, LEADER = 0x88b8 };

static const DAQ_Module_t *module;
static void *handle;
static FILE *file;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "daqrun: %s: %s\n", what, why);
	exit(1);
}

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = 1;
	daq_breakloop(module, handle);
}

static void record(const DAQ_PktHdr_t *h, const uint8_t *data)
{
	uint32_t head[] = {(uint32_t)h->ts.tv_sec, (uint32_t)h->ts.tv_usec, h->caplen, h->pktlen};

	if (fwrite(head, sizeof(head), 1, file) != 1 || fwrite(data, h->caplen, 1, file) != 1)
		die("can't write", "the file");
}

static void inject(const DAQ_PktHdr_t *h, const uint8_t *data)
{
	uint8_t copy[2048];

	if (h->caplen > sizeof(copy))
		die("too long", "a packet to be led");
	memcpy(copy, data, h->caplen);
	copy[12] = LEADER >> 8;
	copy[13] = LEADER & 255;
	if (daq_inject(module, handle, h, copy, h->caplen, 0))
		die("daq_inject", daq_get_error(module, handle));
}

static DAQ_Verdict judge(void *user, const DAQ_PktHdr_t *h, const uint8_t *data)
{
	unsigned type = data[12] << 8 | data[13];

	record(h, data);
	if (type == LED)
		inject(h, data);
	return type == BLOCKED ? DAQ_VERDICT_BLOCK : DAQ_VERDICT_PASS;
}

static void open_file(const char *name)
{
	uint32_t head[] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};

	file = fopen(name, "wb");
	if (!file || fwrite(head, sizeof(head), 1, file) != 1)
		die("can't write", name);
	setbuf(file, NULL);
}

static void start(char *argv[])
{
	const char *dirs[] = {argv[1], NULL};
	DAQ_Config_t config = {.name = argv[3], .snaplen = 65535, .timeout = 100};
	char err[256] = "";

	config.mode = strcmp(argv[2], "inline") ? DAQ_MODE_PASSIVE : DAQ_MODE_INLINE;
	if (daq_load_modules(dirs))
		die("no modules", argv[1]);
	module = daq_find_module("netmap");
	if (!module)
		die("no module netmap", argv[1]);
	if (daq_initialize(module, &config, &handle, err, sizeof(err)))
		die(argv[3], err);
	if (daq_start(module, handle))
		die(argv[3], daq_get_error(module, handle));
}

static void tell(void)
{
	DAQ_Stats_t s;

	daq_get_stats(module, handle, &s);
	printf("received %llu passed %llu blocked %llu injected %llu\n",
		(unsigned long long)s.packets_received,
		(unsigned long long)s.verdicts[DAQ_VERDICT_PASS],
		(unsigned long long)s.verdicts[DAQ_VERDICT_BLOCK],
		(unsigned long long)s.packets_injected);
}

int main(int argc, char *argv[])
{
	struct sigaction act = {.sa_handler = on_signal};

	if (argc != 5)
		die("usage", "daqrun MODULES passive|inline DEVICE FILE");
	open_file(argv[4]);
	start(argv);
	sigaction(SIGINT, &act, NULL);
	printf("ready\n");
	fflush(stdout);
	// It returns when nothing has come for a while, too.
	while (!ended)
		if (daq_acquire(module, handle, 0, judge, NULL))
			die("daq_acquire", daq_get_error(module, handle));
	tell();
	daq_stop(module, handle);
	daq_shutdown(module, handle);
	daq_unload_modules();
	return fclose(file) ? 1 : 0;
}
