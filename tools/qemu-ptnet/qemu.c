/* SPDX-License-Identifier: BSD-2-Clause */
#include "qemu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"

enum { PROBE_SECONDS = 20 };

#define HOW_TO_GET_ONE \
	"install qemu-system-x86 from trixie-backports (Debian 13) or run setup/qemu of ptnetmap"

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *qemu_in_path(const char *program)
{
	const char *dir = getenv("PATH"), *end;

	if (strchr(program, '/'))
		return is_program(program) ? text_dup(program) : NULL;
	for (; dir; dir = *end ? end + 1 : NULL) {
		char *path;

		end = strchrnul(dir, ':');
		path = text_format("%.*s/%s", end > dir ? (int)(end - dir) : 1,
			end > dir ? dir : ".", program);
		if (is_program(path))
			return path;
		free(path);
	}
	return NULL;
}

/* Runs it; its stdout goes to *text, to be freed. Returns as child_run(). */
static int ask(char *const argv[], char **text)
{
	struct child c = {.argv = argv, .capture = CHILD_STDOUT, .seconds = PROBE_SECONDS};

	return child_run(&c, text);
}

/* "7.2.22", or "" when it doesn't say. */
static void version_of(const char *path, char *out, size_t size)
{
	char *argv[] = {(char *)path, "-version", NULL};
	static const char before[] = "version ";
	char *text = NULL, *v;

	ask(argv, &text);
	v = strstr(text, before);
	out[0] = '\0';
	if (v) {
		v += strlen(before);
		snprintf(out, size, "%.*s", (int)strspn(v, "0123456789."), v);
	}
	free(text);
}

/* 0, or -ENOEXEC with the reason. */
static int check_vfio_user(const char *path, char why[TEXT_ERR])
{
	char *argv[] = {(char *)path, "-M", "none", "-device", "help", NULL};
	unsigned int major = 0, minor = 0;
	char version[32], *text = NULL;
	int status;
	bool ok;

	status = ask(argv, &text);
	ok = strstr(text, "\"vfio-user-pci\"") != NULL;
	free(text);
	if (ok)
		return 0;
	if (status == 127)
		return text_fail(-ENOEXEC, why, "%.200s can't be executed", path);
	version_of(path, version, sizeof(version));
	if (!version[0])
		return text_fail(-ENOEXEC, why,
			"%.200s doesn't work as a QEMU (-version prints none, status %d)", path,
			status);
	/* NOLINTNEXTLINE(cert-err34-c): a strange version gets the other text */
	if (sscanf(version, "%u.%u", &major, &minor) == 2 &&
		(major > 10 || (major == 10 && minor >= 1)))
		return text_fail(-ENOEXEC, why,
			"%.200s is QEMU %s, but built without vfio-user-pci", path, version);
	return text_fail(-ENOEXEC, why,
		"%.200s is QEMU %s, which is too old: vfio-user needs 10.1 or newer", path,
		version);
}

/* Path of the one that setup/qemu unpacks. NULL: there is no place for it. */
static char *private_path(void)
{
	const char *cache = getenv("PTNETMAP_CACHE");
	const char *xdg = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");

	if (cache && cache[0])
		return text_format("%s/qemu/bin/" QEMU_PROGRAM, cache);
	if (xdg && xdg[0])
		return text_format("%s/ptnetmap/qemu/bin/" QEMU_PROGRAM, xdg);
	if (home && home[0])
		return text_format("%s/.cache/ptnetmap/qemu/bin/" QEMU_PROGRAM, home);
	return NULL;
}

static int find_chosen(const char *chosen, bool vfio_user, char **path, char err[TEXT_ERR])
{
	char why[TEXT_ERR];
	char *found = qemu_in_path(chosen);

	if (!found)
		return text_fail(-ENOENT, err, "%.200s is no program that can be executed", chosen);
	if (vfio_user && check_vfio_user(found, why) < 0) {
		free(found);
		return text_fail(-ENOEXEC, err, "%.300s; " HOW_TO_GET_ONE, why);
	}
	*path = found;
	return 0;
}

int qemu_find(const char *chosen, bool vfio_user, char **path, char err[TEXT_ERR])
{
	char *system, *private, why[TEXT_ERR] = "there is no " QEMU_PROGRAM " in PATH";

	if (!chosen)
		chosen = getenv("QEMU_PTNET_QEMU");
	if (chosen && chosen[0])
		return find_chosen(chosen, vfio_user, path, err);

	system = qemu_in_path(QEMU_PROGRAM);
	if (system && (!vfio_user || check_vfio_user(system, why) == 0)) {
		*path = system;
		return 0;
	}
	free(system);
	private = private_path();
	if (private && is_program(private) && (!vfio_user || check_vfio_user(private, why) == 0)) {
		*path = private;
		return 0;
	}
	free(private);
	return text_fail(-ENOENT, err, "%.300s; " HOW_TO_GET_ONE, why);
}
