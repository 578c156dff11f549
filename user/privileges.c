/* SPDX-License-Identifier: BSD-2-Clause */
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights of the first version of Landlock (Linux 5.13), and what later ones have added: known to the headers or not. */
#define READ_RIGHTS  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FIRST_RIGHTS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define REFER        (1ULL << 13) /* Linux 5.19 */
#define TRUNCATE     (1ULL << 14) /* 6.2 */
#define DIR_RIGHTS                                                                     \
	(READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
		LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |         \
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)

static bool wanted;

void privileges_want(bool want)
{
	wanted = want;
}

int privileges_keep(uint64_t capabilities)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (!wanted)
		return 0;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &hdr, data) < 0)
		return -errno;
	/* One that has nothing more can be where it may not say so. */
	if (!(data[0].permitted & ~(uint32_t)capabilities) &&
		!(data[1].permitted & ~(uint32_t)(capabilities >> 32)))
		return 0;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(capabilities >> (32 * i));
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &hdr, data) < 0 ? -errno : 0;
}

/* A set of rules that allows nothing yet, and what it is about; or a negative errno. */
static int new_rules(uint64_t *handled)
{
	struct landlock_ruleset_attr attr = {0};
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	long fd;

	if (version < 0)
		return -errno;
	*handled = FIRST_RIGHTS | (version >= 2 ? REFER : 0) | (version >= 3 ? TRUNCATE : 0);
	attr.handled_access_fs = *handled;
	fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	return fd < 0 ? -errno : (int)fd;
}

static int allow(int rules, const char *path, uint64_t rights)
{
	int error, fd = open(path, O_PATH | O_CLOEXEC);
	const struct landlock_path_beneath_attr attr = {.allowed_access = rights, .parent_fd = fd};

	if (fd < 0)
		return -errno;
	error = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0
			? -errno
			: 0;
	close(fd);
	return error;
}

static int enforce(int rules)
{
	int error = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
				    syscall(SYS_landlock_restrict_self, rules, 0) < 0
			    ? -errno
			    : 0;

	close(rules);
	return error;
}

void privileges_none(void)
{
	uint64_t handled = 0;
	int rules;

	if (!wanted)
		return;
	(void)privileges_keep(0);
	rules = new_rules(&handled);
	if (rules >= 0)
		(void)enforce(rules);
}

int privileges_write_only_in(const char *dir, const char *const devices[])
{
	uint64_t handled = 0;
	int rules, error;

	if (!wanted)
		return 0;
	rules = new_rules(&handled);
	if (rules < 0)
		return rules;
	error = allow(rules, "/", READ_RIGHTS);
	if (!error)
		error = allow(rules, dir, handled & (DIR_RIGHTS | TRUNCATE));
	/* Those that this system has. */
	for (int i = 0; devices[i] && !error; i++)
		(void)allow(rules, devices[i],
			LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
	if (!error)
		return enforce(rules);
	close(rules);
	return error;
}
