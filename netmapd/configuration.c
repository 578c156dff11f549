/* SPDX-License-Identifier: BSD-2-Clause */
#include "configuration.h"
#include "config_apply.h"
#include "ctl.h"
#include "directory.h"
#include "policy.h"
#include "privileges.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The thread has `next`, `owned`, `rules`, `fd`, `error` and `applied` while it runs. */
static struct {
	char *config, *policy; /* paths from the root; NULL: none */
	struct config have;    /* what there is because of those that were applied */
	struct config owned;   /* the same, of the next one */
	struct config next;
	struct policy *rules; /* with it; NULL: none, or taken over already */
	bool several;         /* users, since the start */
	bool read;            /* the files are to be read first */
	int error;
	bool applied; /* as far as it could be; false: nothing of it */
	int fd;       /* to netmapd itself */
	int done;     /* eventfd: the thread is about to end */
	bool running, again;
	pthread_t thread;
	struct loop_handle *handle;
} state = {.fd = -1, .done = -1};

/* ---- reading --------------------------------------------------------------------------------------- */

static int read_files(struct nm_error *err)
{
	struct config_policy policy = {policy_take, state.rules = policy_new()};
	int error = 0;

	if (!state.rules)
		return nm_error_set(err, -ENOMEM, "out of memory");
	policy.arg = state.rules;
	if (state.policy)
		error = config_read_lines(state.policy, policy_take, state.rules, err);
	if (!error && state.config)
		error = config_read(&state.next, state.config, &policy, err);
	if (!error)
		return 0;
	policy_free(state.rules);
	state.rules = NULL;
	config_free(&state.next);
	return error;
}

/* In the background the directory is another one. */
static int full_path(const char *path, char **full, struct nm_error *err)
{
	*full = path ? realpath(path, NULL) : NULL;
	return path && !*full ? nm_error_set(err, -errno, "%.120s: %s", path, strerror(errno)) : 0;
}

int configuration_read(const char *config, const char *policy, struct nm_error *err)
{
	int error = full_path(config, &state.config, err);

	if (!error)
		error = full_path(policy, &state.policy, err);
	if (!error)
		error = read_files(err);
	if (error)
		return error;
	state.several = policy || policy_names_users(state.rules);
	if (state.several)
		policy_activate(policy ? policy : config);
	policy_use(state.rules);
	state.rules = NULL;
	return 0;
}

/* ---- the thread ------------------------------------------------------------------------------------- */

static void changed(void *arg, const struct config_change *c)
{
	char place[160] = "", text[CONFIG_TEXT_MAX];

	if (c->at->line)
		snprintf(place, sizeof(place), "%.120s:%u: ", c->at->file, c->at->line);
	snprintf(text, sizeof(text), "%s", c->text);
	if (c->error)
		os_log(OS_LOG_ERR, "%s%s", place, c->error);
	else
		os_log(OS_LOG_INFO, "%s%s%s%s%s", place, text, c->was[0] ? " (was: " : "", c->was,
			c->was[0] ? ")" : "");
}

static int apply(struct nm_error *err)
{
	struct config_apply how = {
		.fd = state.fd,
		.exact = state.read,
		.before = &state.have,
		.owned = &state.owned,
		.changed = changed,
	};
	int failures = config_apply(&state.next, &how, err);

	if (how.given_up)
		os_log(OS_LOG_ERR,
			"what the configuration has behind that was not asked for: have it read again when that is over (SIGHUP, systemctl reload netmapd)");
	return failures < 0 ? failures : 0;
}

/* The first thread is older than the sandbox, and reads no file; each keeps nothing when the files are read. */
static void *run(void *arg)
{
	struct nm_error err;
	uint64_t one = 1;

	pthread_setname_np(pthread_self(), "config");
	state.error = state.read ? read_files(&err) : 0;
	privileges_none();
	state.applied = !state.error && apply(&err) == 0;
	if (state.error)
		os_log(OS_LOG_ERR, "%s; nothing is changed", err.text);
	else if (!state.applied)
		os_log(OS_LOG_ERR, "the configuration can't be applied: %s", err.text);
	if (write(state.done, &one, sizeof(one)) != sizeof(one))
		os_log(OS_LOG_ERR, "the configuration: %s", strerror(errno));
	return NULL;
}

static int start(struct daemon *d, bool read, struct nm_error *err)
{
	int error;

	state.fd = ctl_connect_self(d, err);
	if (state.fd < 0)
		return state.fd;
	state.read = read;
	error = pthread_create(&state.thread, NULL, run, NULL);
	if (!error) {
		state.running = true;
		return 0;
	}
	close(state.fd);
	state.fd = -1;
	return nm_error_set(err, -error, "no thread for the configuration: %s", strerror(error));
}

static void join(void)
{
	pthread_join(state.thread, NULL);
	close(state.fd);
	state.fd = -1;
	state.running = false;
}

/* Where all of it failed there is what was there before. */
static void take_over(void)
{
	if (state.rules && policy_names_users(state.rules) && !state.several) {
		os_log(OS_LOG_WARN,
			"rules of users are for the next start: netmapd serves one user now");
		policy_forget_users(state.rules);
	}
	if (state.rules)
		policy_use(state.rules);
	state.rules = NULL;
	config_free(&state.next);
	if (!state.applied) {
		config_free(&state.owned);
		return;
	}
	config_free(&state.have);
	state.have = state.owned;
	state.owned = (struct config){0};
}

static void applied(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	uint64_t count;

	if (read(state.done, &count, sizeof(count)) != sizeof(count) || !state.running)
		return;
	join();
	if (!state.error)
		take_over();
	if (state.again) {
		state.again = false;
		configuration_reload(d);
	}
}

/* ---- life ------------------------------------------------------------------------------------------- */

int configuration_begin(struct daemon *d, struct nm_error *err)
{
	int error;

	if (!state.config && !state.policy)
		return 0;
	state.done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = state.done < 0 ? -errno
			       : loop_add(d->loop, state.done, EPOLLIN, applied, d, &state.handle);
	if (error)
		return nm_error_set(err, error, "the configuration: %s", strerror(-error));
	return state.next.items ? start(d, false, err) : 0;
}

bool configuration_is_done(void)
{
	return !state.running;
}

bool configuration_reload(struct daemon *d)
{
	struct nm_error err;

	if (!state.config && !state.policy)
		return false;
	os_log(OS_LOG_INFO, "reads its configuration again");
	state.again = state.running;
	if (!state.running && start(d, true, &err) != 0)
		os_log(OS_LOG_ERR, "%s", err.text);
	return true;
}

/* Its connection has ended, and so do questions for users: it doesn't wait for anything. */
void configuration_end(struct daemon *d)
{
	directory_stop();
	if (state.running)
		join();
	loop_del(d->loop, state.handle);
	state.handle = NULL;
	if (state.done >= 0)
		close(state.done);
	state.done = -1;
	policy_free(state.rules);
	state.rules = NULL;
	config_free(&state.have);
	config_free(&state.next);
	config_free(&state.owned);
	free(state.config);
	free(state.policy);
	state.config = state.policy = NULL;
}
