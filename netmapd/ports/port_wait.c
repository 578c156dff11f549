/* SPDX-License-Identifier: BSD-2-Clause */
#include "port_wait.h"

#include <errno.h>

#include "os.h"

void port_waits_init(struct port_waits *waits)
{
	*waits = (struct port_waits){.end = &waits->first};
}

int port_wait_for(struct port_waits *waits, struct port_wait *wait)
{
	os_assert(!wait->list);
	wait->list = waits;
	wait->round = waits->rounds;
	wait->next = NULL;
	*waits->end = wait;
	waits->end = &wait->next;
	return -EINPROGRESS;
}

static void take_out(struct port_waits *waits, struct port_wait **link)
{
	struct port_wait *wait = *link;

	*link = wait->next;
	if (!wait->next)
		waits->end = link;
	wait->list = NULL;
}

static bool is_meant(const struct port_wait *wait, const uint32_t *host_user)
{
	return !host_user || (wait->host && wait->user == *host_user);
}

/* The one that came first, before this round. */
static struct port_wait *take_first(struct port_waits *waits, const uint32_t *host_user)
{
	struct port_wait **link = &waits->first, *wait;

	while (*link && !is_meant(*link, host_user))
		link = &(*link)->next;
	wait = *link;
	if (!wait || wait->round == waits->rounds)
		return NULL;
	take_out(waits, link);
	return wait;
}

void port_waits_tell(
	struct port_waits *waits, const uint32_t *host_user, const struct nm_error *err)
{
	struct port_wait *wait;

	waits->rounds++;
	while ((wait = take_first(waits, host_user)))
		wait->fn(wait->arg, err);
}

void port_wait_forget(struct port_wait *wait)
{
	struct port_wait **link;

	if (!wait->list)
		return;
	for (link = &wait->list->first; *link != wait;)
		link = &(*link)->next;
	take_out(wait->list, link);
}
