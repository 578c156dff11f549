/* SPDX-License-Identifier: BSD-2-Clause */
#include "events.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct nmd_event kept[EVENTS_KEPT]; /* number n lies at n % EVENTS_KEPT */
static uint64_t last;                      /* number */
static void (*listener)(void *arg);
static void *listener_arg;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void events_add(enum nmd_event_what what, const char *name, uint32_t user, const char *detail, ...)
{
	struct nmd_event *event = &kept[++last % EVENTS_KEPT];
	va_list args;

	memset(event, 0, sizeof(*event));
	event->number = last;
	event->time_ns = now_ns();
	event->what = what;
	event->user = user;
	snprintf(event->name, sizeof(event->name), "%s", name);
	va_start(args, detail);
	vsnprintf(event->detail, sizeof(event->detail), detail, args);
	va_end(args);
	os_make_printable(event->name);
	os_make_printable(event->detail);
	if (listener)
		listener(listener_arg);
}

uint32_t events_after(uint64_t *after, struct nmd_event *list, uint32_t max, uint32_t user)
{
	uint64_t first = last < EVENTS_KEPT ? 1 : last - EVENTS_KEPT + 1;
	uint32_t count = 0;

	if (*after > last)
		*after = last;
	if (*after + 1 < first)
		*after = first - 1;
	while (*after < last && count < max) {
		const struct nmd_event *event = &kept[++*after % EVENTS_KEPT];

		if (user == NMD_USER_ALL || event->user == user)
			list[count++] = *event;
	}
	return count;
}

uint64_t events_last(void)
{
	return last;
}

void events_listen(void (*fn)(void *arg), void *arg)
{
	listener = fn;
	listener_arg = arg;
}
