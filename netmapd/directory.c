/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One question at a time goes to the other process, and users come back, one in each message, the last one with a verdict. Whoever
 * doesn't want the others takes them all the same, so that the next answer is the next question's.
 */
#include "directory.h"
#include "helper_process.h"
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_BYTES = 257 };

struct question {
	bool group;
	char name[NAME_BYTES];
};

struct answer {
	bool is_last;
	int error; /* of the last one, which has no user */
	uint32_t uid;
	char name[NAME_BYTES];
};

static int other = -1; /* a socket to it; -1: this process asks itself, */
static bool failed;    /* or, in its sandbox, nobody can */

/* ---- the directories ------------------------------------------------------------------------------ */

/*
 * What the C library says of a name that it hasn't found: getpwnam(3) lists these as "not found", and nss-systemd says EHOSTDOWN where no
 * systemd runs. With any other error nobody knows, for a
 * directory is out of order, and a user's limits must not go with it.
 */
static int verdict(int error)
{
	switch (error) {
	case 0:
	case ENOENT:
	case ESRCH:
	case EBADF:
	case EPERM:
	case EHOSTDOWN:
		return -ENOENT;
	default:
		return -error;
	}
}

static int ask_user(const char *name, directory_take *take, void *arg)
{
	const struct passwd *user;

	errno = 0;
	user = getpwnam(name);
	return user ? take(arg, user->pw_uid, user->pw_name) : verdict(errno);
}

static bool is_listed(char *const members[], const char *name)
{
	for (; *members; members++)
		if (strcmp(*members, name) == 0)
			return true;
	return false;
}

/* Whose own group it is. Not all directories list all of their users; whom the group names is found without that. */
static int ask_users_of(gid_t gid, char *const members[], directory_take *take, void *arg)
{
	const struct passwd *user;
	int error = 0;

	setpwent();
	while (!error && (errno = 0, user = getpwent()))
		if (user->pw_gid == gid && !is_listed(members, user->pw_name))
			error = take(arg, user->pw_uid, user->pw_name);
	if (!error && verdict(errno) != -ENOENT)
		error = verdict(errno);
	endpwent();
	return error;
}

static int ask_group(const char *name, directory_take *take, void *arg)
{
	const struct group *group;
	int error = 0;

	errno = 0;
	group = getgrnam(name);
	if (!group)
		return verdict(errno);
	for (char **member = group->gr_mem; *member && !error; member++)
		if (!is_listed(member + 1, *member)) {
			error = ask_user(*member, take, arg);
			/* One who is gone. */
			if (error == -ENOENT)
				error = 0;
		}
	return error ? error : ask_users_of(group->gr_gid, group->gr_mem, take, arg);
}

/* ---- the other process ----------------------------------------------------------------------------- */

static int send_user(void *arg, uint32_t uid, const char *name)
{
	struct answer answer = {.uid = uid};

	(void)arg;
	if (strlen(name) >= sizeof(answer.name))
		return -ENAMETOOLONG;
	strcpy(answer.name, name);
	return send(HELPER_FD, &answer, sizeof(answer), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static bool answer_question(void)
{
	struct answer last = {.is_last = true};
	struct question question;

	if (recv(HELPER_FD, &question, sizeof(question), 0) != (ssize_t)sizeof(question))
		return false;
	question.name[sizeof(question.name) - 1] = '\0';
	last.error = question.group ? ask_group(question.name, send_user, NULL)
				    : ask_user(question.name, send_user, NULL);
	return send(HELPER_FD, &last, sizeof(last), MSG_NOSIGNAL) == (ssize_t)sizeof(last);
}

static void run(void)
{
	prctl(PR_SET_NAME, "netmapd-names");
	/* Also while a directory service makes it wait; behind what would undo it. */
	if (privileges_keep(0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
	while (answer_question())
		;
}

int directory_start(bool quiet)
{
	int sock = helper_fork(quiet, run);

	failed = sock < 0;
	if (failed)
		return sock;
	other = sock;
	return 0;
}

void directory_stop(void)
{
	if (other >= 0)
		shutdown(other, SHUT_RDWR);
}

/* ---- questions -------------------------------------------------------------------------------------- */

static int take_answers(directory_take *take, void *arg)
{
	struct answer answer;
	int error = 0;

	for (;;) {
		if (recv(other, &answer, sizeof(answer), 0) != (ssize_t)sizeof(answer))
			return -EPIPE;
		if (answer.is_last)
			return error ? error : answer.error;
		answer.name[sizeof(answer.name) - 1] = '\0';
		if (!error)
			error = take(arg, answer.uid, answer.name);
	}
}

static int ask(bool group, const char *name, directory_take *take, void *arg)
{
	struct question question = {.group = group};

	if (strlen(name) >= sizeof(question.name))
		return -ENOENT;
	if (failed)
		return -EPIPE;
	if (other < 0)
		return group ? ask_group(name, take, arg) : ask_user(name, take, arg);
	strcpy(question.name, name);
	if (send(other, &question, sizeof(question), MSG_NOSIGNAL) != (ssize_t)sizeof(question))
		return -EPIPE;
	return take_answers(take, arg);
}

int directory_user(const char *name, directory_take *take, void *arg)
{
	return ask(false, name, take, arg);
}

int directory_group(const char *name, directory_take *take, void *arg)
{
	return ask(true, name, take, arg);
}
