/* SPDX-License-Identifier: BSD-2-Clause */
/* What subcommands have in common: options, names and numbers among their arguments, and files that they replace. */
#include "netmapctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto.h"

bool ctl_option(int argc, char **argv, int *i, const char *option, const char **value)
{
	size_t length = strlen(option);

	if (strncmp(argv[*i], option, length) != 0)
		return false;
	if (argv[*i][length] == '=' && option[1] == '-') {
		*value = argv[*i] + length + 1;
		return true;
	}
	if (argv[*i][length] != '\0')
		return false;
	*value = *i + 1 < argc ? argv[++*i] : NULL;
	return true;
}

int ctl_number(
	const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
	unsigned long long value = 0;
	char *end = NULL;

	errno = 0;
	if (text && *text >= '0' && *text <= '9')
		value = strtoull(text, &end, 10);
	if (!end || *end || errno || value < least || value > most)
		return ctl_fail(CTL_USAGE, "%s needs a number from %llu to %llu%s%.40s%s", option,
			(unsigned long long)least, (unsigned long long)most, text ? ", not '" : "",
			text ? text : "", text ? "'" : "");
	*number = value;
	return CTL_OK;
}

int ctl_name(const char *subcommand, const char *of_what, const char *name)
{
	if (!name[0] || name[0] == '-')
		return ctl_fail(CTL_USAGE, "%s needs the name of %s, which '%.80s' is not",
			subcommand, of_what, name);
	if (strlen(name) >= NMD_NAME_MAX)
		return ctl_fail(CTL_USAGE, "%s: the name of %s has at most %d bytes: '%.80s'",
			subcommand, of_what, NMD_NAME_MAX - 1, name);
	return CTL_OK;
}

/* ---- files that are replaced ------------------------------------------------------------------ */

static int cant_write(const char *path, const char *why)
{
	return ctl_fail(CTL_FAILED, "can't write %.400s: %s", path, why);
}

FILE *ctl_replace(const char *path, char **beside)
{
	struct stat st;
	FILE *out = NULL;
	int fd;

	/* A device or a pipe in whose place a file came would be gone for all. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		cant_write(path, S_ISDIR(st.st_mode) ? strerror(EISDIR) : "it is not a file");
		return NULL;
	}
	*beside = ctl_format("%s.%d", path, (int)getpid());
	fd = open(*beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd >= 0)
		out = fdopen(fd, "w");
	if (out)
		return out;
	cant_write(path, strerror(errno));
	if (fd >= 0) {
		close(fd);
		unlink(*beside);
	}
	free(*beside);
	return NULL;
}

int ctl_replaced(FILE *out, char *beside, const char *path)
{
	bool good = fflush(out) == 0 && !ferror(out) && fsync(fileno(out)) == 0;
	int status = CTL_OK;

	good = fclose(out) == 0 && good;
	if (!good || rename(beside, path) != 0) {
		status = cant_write(path, strerror(errno));
		unlink(beside);
	}
	free(beside);
	return status;
}
