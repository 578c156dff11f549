/* SPDX-License-Identifier: BSD-2-Clause */
#include "placement.h"

#include <fnmatch.h>

static const struct placement_rule *find_rule(const struct daemon *d, const char *name)
{
	const struct placement_rule *rule = d->places;

	while (rule && fnmatch(rule->item.name, name, 0) != 0)
		rule = rule->next;
	return rule;
}

bool placement_rules(const struct daemon *d, const char *name)
{
	return find_rule(d, name) != NULL;
}

bool placement_is_there(const struct daemon *d, const struct worker *worker)
{
	for (unsigned i = 0; i < d->config.workers; i++)
		if (d->workers[i] == worker)
			return true;
	return false;
}

void placement_begin(struct daemon *d, const char *name, struct placement_turn *turn)
{
	*turn = (struct placement_turn){.daemon = d, .rule = find_rule(d, name)};
	if (!turn->rule)
		turn->worker = d->next_worker++;
}

struct worker *placement_next(struct placement_turn *turn)
{
	struct daemon *d = turn->daemon;
	uint32_t ring = turn->ring++;

	if (turn->rule) {
		const struct config_item *item = &turn->rule->item;

		return d->workers[item->numbers[ring % item->count]];
	}
	if (ring > 0 && d->config.ring_each)
		turn->worker = d->next_worker++;
	return d->workers[turn->worker % d->config.workers];
}
