/* SPDX-License-Identifier: BSD-2-Clause */
#include "bounds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	bool bytes;
} bounds[LIMITS] = {
	[NM_RES_PORTS] = {"ports", false},
	[NM_RES_RINGS] = {"rings", false},
	[NM_RES_SLOTS] = {"buffers", false},
	[NM_RES_EXTRA] = {"extra-buffers", false},
	[NM_RES_MEMORY] = {"memory", true},
	[NM_RES_EXTMEM] = {"external-memory", true},
	[NM_RES_SWITCHES] = {"switches", false},
	[LIMIT_CONNECTIONS] = {"connections", false},
	[LIMIT_MACHINES] = {"machines", false},
	[LIMIT_DMA_RANGES] = {"dma-ranges", false},
	[LIMIT_DESCRIPTORS] = {"descriptors", false},
	[LIMIT_REQUESTS] = {"requests", false},
};

const char *bound_name(uint32_t what)
{
	return bounds[what].name;
}

bool bound_is_bytes(uint32_t what)
{
	return bounds[what].bytes;
}

uint32_t bound_find(const char *name, size_t length)
{
	for (uint32_t i = 0; i < LIMITS; i++)
		if (strlen(bounds[i].name) == length && memcmp(bounds[i].name, name, length) == 0)
			return i;
	return LIMITS;
}

/* A number at *p, behind which *p is moved; false: there is none, or it is too large. */
static bool read_amount(bool bytes, const char **p, uint64_t *amount)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*amount = strtoull(*p, &end, 10);
	unit = *end && bytes ? strchr(units, *end) : NULL;
	*p = unit ? end + 1 : end;
	for (long i = unit ? unit - units : -1; i >= 0; i--) {
		if (*amount > UINT64_MAX / 1024)
			return false;
		*amount *= 1024;
	}
	return errno == 0;
}

static int wrong_name(const char *text, size_t length, struct nm_error *err)
{
	char names[160] = "";

	for (int i = 0; i < LIMITS; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
			i ? ", " : "", bounds[i].name);
	return nm_error_set(err, -ENOENT, "\"%.*s\" is none of %s", length < 40 ? (int)length : 40,
		text, names);
}

int bound_parse(const char *text, bool one_user, struct bound_wanted *wanted, struct nm_error *err)
{
	size_t length = strcspn(text, "=");
	uint32_t what = bound_find(text, length);
	const char *p = text + length;
	bool good;

	*wanted = (struct bound_wanted){.what = what};
	if (what == LIMITS)
		return wrong_name(text, length, err);
	good = *p++ == '=' && read_amount(bounds[what].bytes, &p, &wanted->user);
	if (good && !one_user && *p == '/') {
		p++;
		good = read_amount(bounds[what].bytes, &p, &wanted->all) &&
		       wanted->all >= wanted->user;
	}
	if (good && !*p)
		return 0;
	return nm_error_set(err, -EINVAL,
		one_user
			? "\"%.60s\": a bound of one user is %s=N%s"
			: "\"%.60s\": a bound is %s=N of each user, or N/M with M of all, not less%s",
		text, bounds[what].name, bounds[what].bytes ? "; bytes, or with K, M, G, T" : "");
}
