/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which file would be run, as execvp() finds it, and whether a preloaded library has a chance in
 * it: no set-ID bits or capabilities, this machine's architecture, dynamically linked; for a
 * script, its interpreter is looked at in its place.
 */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { SCRIPTS_MAX = 4, HEADERS_MAX = 256, LINE_MAX_BYTES = 256 };

#if __SIZEOF_POINTER__ == 8
enum { OWN_CLASS = ELFCLASS64 };
#else
enum { OWN_CLASS = ELFCLASS32 };
#endif

__attribute__((format(printf, 3, 4))) static int fail(
	int error, char why[PROGRAM_WHY], const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, PROGRAM_WHY, format, ap);
	va_end(ap);
	return error;
}

/* ---- where it is ---------------------------------------------------------------------- */

static int is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int check_path(const char *path, char why[PROGRAM_WHY])
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail(-errno, why, "%.300s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return fail(-EISDIR, why, "%.300s: is a directory", path);
	if (!is_program(path))
		return fail(-EACCES, why, "%.300s: not executable", path);
	return 0;
}

int program_find(const char *name, char path[PATH_MAX], char why[PROGRAM_WHY])
{
	const char *p = getenv("PATH"), *end;

	if (strchr(name, '/') || !*name) {
		if (strlen(name) >= PATH_MAX)
			return fail(-ENAMETOOLONG, why, "the name of the program is too long");
		strcpy(path, name);
		return check_path(path, why);
	}
	for (p = p ? p : "/usr/bin:/bin";; p = end + 1) {
		int len;

		end = strchrnul(p, ':');
		len = (int)(end - p);
		if (snprintf(path, PATH_MAX, "%.*s/%s", len ? len : 1, len ? p : ".", name) <
				PATH_MAX &&
			is_program(path))
			return 0;
		if (!*end)
			break;
	}
	return fail(-ENOENT, why, "%.200s: no such program in PATH", name);
}

/* ---- what it is ----------------------------------------------------------------------- */

/* Is it run with more rights than ours? Then the loader takes no library from us. */
static int check_rights(const char *path, int fd, char why[PROGRAM_WHY])
{
	struct stat st;
	uid_t uid = getuid();

	if (fstat(fd, &st) < 0)
		return fail(-errno, why, "%.300s: %s", path, strerror(errno));
	if ((st.st_mode & S_ISUID) && st.st_uid != uid)
		return fail(-EPERM, why,
			"%.300s: is setuid: the dynamic loader ignores preloaded libraries; use a copy without the bit (chmod u-s)",
			path);
	if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid())
		return fail(-EPERM, why,
			"%.300s: is setgid: the dynamic loader ignores preloaded libraries; use a copy without the bit (chmod g-s)",
			path);
	if (uid != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return fail(-EPERM, why,
			"%.300s: has file capabilities: the dynamic loader ignores preloaded libraries; use a copy of it (cp doesn't copy them)",
			path);
	return 0;
}

static int check_machine(const char *path, const ElfW(Ehdr) * eh, char why[PROGRAM_WHY])
{
	ElfW(Ehdr) own;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, &own, sizeof(own));

	if (fd >= 0)
		close(fd);
	if (eh->e_ident[EI_CLASS] != OWN_CLASS)
		return fail(-ENOEXEC, why,
			"%.300s: is a program of %d bits; only those of %d bits can be served: link it with libnetmap (for 32 bits: -lnetmap-m32)",
			path, eh->e_ident[EI_CLASS] == ELFCLASS32 ? 32 : 64,
			OWN_CLASS == ELFCLASS32 ? 32 : 64);
	if (n == sizeof(own) && eh->e_machine != own.e_machine)
		return fail(-ENOEXEC, why,
			"%.300s: is a program for another machine (ELF number %u)", path,
			eh->e_machine);
	return 0;
}

static int check_dynamic(const char *path, int fd, const ElfW(Ehdr) * eh, char why[PROGRAM_WHY])
{
	ElfW(Phdr) ph;

	for (unsigned int i = 0; i < eh->e_phnum && i < HEADERS_MAX; i++) {
		off_t at = (off_t)eh->e_phoff + (off_t)i * eh->e_phentsize;

		if (pread(fd, &ph, sizeof(ph), at) != sizeof(ph))
			break;
		if (ph.p_type == PT_INTERP)
			return 0;
	}
	return fail(-ENOEXEC, why,
		"%.300s: is statically linked: no library can be preloaded; link it dynamically, or build it with libnetmap",
		path);
}

/* "#! INTERPRETER …": its path goes to `next`. False: no script. */
static int is_script(const char *head, size_t n, char next[PATH_MAX])
{
	size_t len;

	if (n < 3 || head[0] != '#' || head[1] != '!')
		return 0;
	head += 2;
	head += strspn(head, " \t");
	len = strcspn(head, " \t\n");
	memcpy(next, head, len); /* shorter than the line */
	next[len] = '\0';
	return len > 0;
}

/* One file. 1: a script, look at `next`. */
static int check_file(const char *path, char next[PATH_MAX], char why[PROGRAM_WHY])
{
	char head[LINE_MAX_BYTES + 1] = "";
	ElfW(Ehdr) eh = {0};
	ssize_t n;
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) /* it can be executed, but not be looked at: so be it */
		return errno == EACCES ? 0 : fail(-errno, why, "%.300s: %s", path, strerror(errno));
	ret = check_rights(path, fd, why);
	n = ret ? 0 : pread(fd, head, LINE_MAX_BYTES, 0);
	if (!ret && n > 0 && is_script(head, (size_t)n, next)) {
		close(fd);
		return 1;
	}
	if (!ret && (pread(fd, &eh, sizeof(eh), 0) < (ssize_t)EI_NIDENT ||
			    memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0))
		ret = fail(-ENOEXEC, why, "%.300s: is neither a program nor a script", path);
	if (!ret)
		ret = check_machine(path, &eh, why);
	if (!ret)
		ret = check_dynamic(path, fd, &eh, why);
	close(fd);
	return ret;
}

int program_check(const char *path, char why[PROGRAM_WHY])
{
	char now[PATH_MAX], next[PATH_MAX] = "";
	int ret, depth;

	snprintf(now, sizeof(now), "%s", path);
	for (depth = 0; depth < SCRIPTS_MAX; depth++) {
		ret = check_file(now, next, why);
		if (ret <= 0)
			return ret;
		strcpy(now, next);
	}
	return fail(-ELOOP, why, "%.300s: a script of a script of a script", path);
}
