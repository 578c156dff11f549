/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hosttail - on the host: a host that keeps no promise to the ptnet driver of a guest.
 *
 *	hosttail RAM SLOTS
 *
 * RAM is the file with the guest's memory. The page with the CSB's host-to-guest entries is found by what it looks like: one
 * tx and one rx ring, SLOTS each. Says "look"; then, when the guest has sent something and a line has come on stdin, the
 * page is the one where the tx ring has moved, and is idle. Says "found", and moves hwtail to and fro, so that there is never room for a
 * long packet, until stdin ends. As nmcheck: "ok", or what is wrong.
 *
 * Thread safety: a program of two threads; one waits for the end of stdin.
 */
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "guestprog.h"

enum { PAGE = 4096, PAGES_MAX = 4096 };

static volatile uint32_t *pages[PAGES_MAX];
static uint32_t seen[PAGES_MAX], slots;
static volatile int ended;

static bool all_zero(const volatile uint32_t *words, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (words[i])
			return false;
	return true;
}

/* Also while netmapd writes to it. */
static bool looks_right(const volatile uint32_t *p)
{
	return p[0] < slots && p[1] < slots && p[2] <= 1 && p[16] < slots && p[17] < slots &&
	       p[18] <= 1 && all_zero(p, 4, 16) && all_zero(p, 20, PAGE / 4);
}

static bool is_idle(const volatile uint32_t *p)
{
	return looks_right(p) && p[1] == (p[0] + slots - 1) % slots;
}

static uint32_t look(char *ram, size_t bytes)
{
	uint32_t found = 0;

	for (size_t at = 0; at + PAGE <= bytes; at += PAGE) {
		volatile uint32_t *p = (volatile uint32_t *)(ram + at);

		if ((p[0] || p[1]) && looks_right(p) && found < PAGES_MAX) {
			seen[found] = p[0];
			pages[found++] = p;
		}
	}
	return found;
}

/* How many pages have moved, and are idle; *p: the last of them. */
static uint32_t look_again(uint32_t found, volatile uint32_t **p)
{
	uint32_t moved = 0;

	for (uint32_t i = 0; i < found; i++) {
		if (is_idle(pages[i]) && pages[i][0] != seen[i]) {
			*p = pages[i];
			moved++;
		}
	}
	return moved;
}

/* The one that has; netmapd may have no processor just now. */
static volatile uint32_t *find(uint32_t found)
{
	volatile uint32_t *p = NULL;

	for (int tries = 0; look_again(found, &p) != 1; tries++) {
		if (tries == 600)
			fail("%u pages look right, %u have moved", found, look_again(found, &p));
		usleep(100000);
	}
	return p;
}

static void *wait_for_end(void *arg)
{
	while (getchar() != EOF)
		;
	ended = 1;
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	uint32_t found, base;
	volatile uint32_t *p;
	pthread_t thread;
	struct stat st;
	char *ram;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	slots = (uint32_t)atoi(argv[2]);
	ram = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(ram != MAP_FAILED);
	found = look(ram, (size_t)st.st_size);
	say("look");
	CHECK(getchar() == '\n');
	p = find(found);
	CHECK(pthread_create(&thread, NULL, wait_for_end, NULL) == 0);
	base = p[0];
	p[1] = base;
	say("found");
	while (!ended) /* room for none, or one */
		for (uint32_t i = 0; i < 1000; i++)
			p[1] = (base + (i & 1)) % slots;
	p[1] = (base + slots - 1) % slots;
	CHECK(pthread_join(thread, NULL) == 0);
	say("ok");
	return 0;
}
