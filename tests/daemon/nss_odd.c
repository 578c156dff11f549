/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory of users (nsswitch.conf: "odd") for tests: its library does what those of real ones do, and the sandbox of netmapd
 * forbids. Its users: oddly, odder; odd-ones are both. Whoever asks for "never" waits, for "out-of-order" or "refused" gets an error; half-there is oddly and refused.
 */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const users[] = {"oddly", "odder"};
static char *members[] = {"oddly", "odder", NULL}, *some[] = {"oddly", "refused", NULL};
static unsigned next;

enum { USERS = sizeof(users) / sizeof(users[0]), FIRST_UID = 51003 };

/* Whoever may not do that doesn't find anybody. */
static int work(void)
{
	int sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	if (sock < 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -1;
	close(sock);
	pid = fork();
	if (pid == 0)
		_exit(0);
	return pid < 0 || waitpid(pid, NULL, 0) != pid ? -1 : 0;
}

static void fill(struct passwd *user, unsigned which)
{
	*user = (struct passwd){.pw_name = members[which],
		.pw_uid = FIRST_UID + which,
		.pw_gid = 1 /* somebody else's */,
		.pw_passwd = "x",
		.pw_gecos = "",
		.pw_dir = "/",
		.pw_shell = "/bin/false"};
}

enum nss_status _nss_odd_getpwnam_r(
	const char *name, struct passwd *user, char *buffer, size_t size, int *error);
enum nss_status _nss_odd_setpwent(int stay);
enum nss_status _nss_odd_endpwent(void);
enum nss_status _nss_odd_getpwent_r(struct passwd *user, char *buffer, size_t size, int *error);
enum nss_status _nss_odd_getgrnam_r(
	const char *name, struct group *group, char *buffer, size_t size, int *error);

enum nss_status _nss_odd_getpwnam_r(
	const char *name, struct passwd *user, char *buffer, size_t size, int *error)
{
	(void)buffer;
	(void)size;
	*error = strcmp(name, "out-of-order") == 0 ? EIO
		 : strcmp(name, "refused") == 0    ? ECONNREFUSED
						   : ENOENT;
	if (*error != ENOENT || work() < 0)
		return NSS_STATUS_UNAVAIL;
	while (strcmp(name, "never") == 0)
		pause();
	for (unsigned i = 0; i < USERS; i++)
		if (strcmp(name, users[i]) == 0) {
			fill(user, i);
			return NSS_STATUS_SUCCESS;
		}
	return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_odd_setpwent(int stay)
{
	(void)stay;
	next = 0;
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_odd_endpwent(void)
{
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_odd_getpwent_r(struct passwd *user, char *buffer, size_t size, int *error)
{
	(void)buffer;
	(void)size;
	*error = ENOENT;
	if (next >= USERS)
		return NSS_STATUS_NOTFOUND;
	fill(user, next++);
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_odd_getgrnam_r(
	const char *name, struct group *group, char *buffer, size_t size, int *error)
{
	(void)buffer;
	(void)size;
	*error = ENOENT;
	if (work() < 0)
		return NSS_STATUS_UNAVAIL;
	if (strcmp(name, "odd-ones") != 0 && strcmp(name, "half-there") != 0)
		return NSS_STATUS_NOTFOUND;
	*group = (struct group){.gr_name = "odd-ones",
		.gr_passwd = "x",
		.gr_gid = 51003,
		.gr_mem = strcmp(name, "odd-ones") == 0 ? members : some};
	return NSS_STATUS_SUCCESS;
}
