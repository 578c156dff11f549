/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl watch: what happens in netmapd, a line for each event, as it happens. */
#include "netmapctl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "one_line.h"
#include "proto_client.h"

static const struct {
	const char *name; /* in JSON */
	const char *text; /* with the name and the detail */
} kinds[NMD_EVENTS_NUM] = {
	[NMD_EVENT_PORT_NEW] = {"port_new", "port %s is there (%s)"},
	[NMD_EVENT_PORT_GONE] = {"port_gone", "port %s is gone (%s)"},
	[NMD_EVENT_PORT_NAMED] = {"port_named", "port %s had the name %s"},
	[NMD_EVENT_MACHINE_NEW] = {"machine_new", "machine %s is there (%s)"},
	[NMD_EVENT_MACHINE_GONE] = {"machine_gone", "machine %s is gone (%s)"},
	[NMD_EVENT_LINK_UP] = {"link_up", "link of %s is up (%s)"},
	[NMD_EVENT_LINK_DOWN] = {"link_down", "link of %s is down (%s)"},
	[NMD_EVENT_LIMIT] = {"limit", "limit %s is now %s"},
	[NMD_EVENT_SETTING] = {"setting", "setting %s is now %s"},
};

static json_t *event_json(const struct nmd_event *e)
{
	json_t *out = json_pack(
		"{s:I, s:I}", "number", (json_int_t)e->number, "time_ns", (json_int_t)e->time_ns);

	json_object_set_new(out, "event",
		json_string(e->what < NMD_EVENTS_NUM && kinds[e->what].name ? kinds[e->what].name
									    : "other"));
	json_object_set_new(out, "name", json_string(e->name));
	json_object_set_new(out, "detail", json_string(e->detail));
	if (e->user != NMD_USER_ALL)
		json_object_set_new(out, "user", json_integer(e->user));
	return out;
}

static void put_event(const struct nmd_event *e)
{
	time_t seconds = (time_t)(e->time_ns / 1000000000);
	char text[192], user[CTL_USER];
	json_t *json = event_json(e);
	struct tm tm;

	localtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	printf("%s.%06u  ", text, (unsigned)(e->time_ns % 1000000000 / 1000));
	if (e->what < NMD_EVENTS_NUM && kinds[e->what].text)
		/* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): of the table above */
		snprintf(text, sizeof(text), kinds[e->what].text, *e->name ? e->name : "-",
			e->detail);
	else
		snprintf(text, sizeof(text), "event %u: %.*s %.*s", e->what, NMD_NAME_MAX, e->name,
			NMD_NAME_MAX, e->detail);
	one_line(text);
	if (e->user == NMD_USER_ALL)
		puts(text);
	else
		printf("%s, user %s\n", text, ctl_user(json, user));
	json_decref(json);
}

/* Events behind *after; waits for one. Their number, at most `most` of them printed; or minus an exit status. */
static int take_events(int fd, uint64_t *after, bool wait, uint64_t most, const struct ctl *ctl)
{
	_Alignas(struct nmd_events_reply) char message[NMD_MSG_MAX];
	const struct nmd_events_reply *reply = (const void *)message;
	struct nmd_event *events = (void *)(message + sizeof(*reply));
	struct nmd_events req = {.after = *after, .wait = wait};
	struct nm_error err;
	ssize_t n;

	nmd_hdr_init(&req.hdr, NMD_EVENTS, sizeof(req));
	n = nmd_ask(fd, &req, message, sizeof(message), sizeof(*reply), &err);
	if (n == -ECONNRESET)
		return -ctl_fail(CTL_UNREACHABLE, "netmapd has ended");
	if (n < 0)
		return -ctl_failed(&err);
	if ((size_t)n / sizeof(*events) < reply->count)
		return -ctl_fail(CTL_FAILED, "the events of netmapd are malformed");
	if (reply->lost)
		ctl_fail(0, "%llu events were missed", (unsigned long long)reply->lost);
	for (uint32_t i = 0; i < reply->count && i < most; i++) {
		events[i].name[NMD_NAME_MAX - 1] = events[i].detail[NMD_NAME_MAX - 1] = '\0';
		if (ctl->json)
			ctl_put_json(event_json(&events[i]), 0);
		else
			put_event(&events[i]);
	}
	*after = reply->after;
	return (int)reply->count;
}

static int watch(int fd, uint64_t after, uint64_t most, const struct ctl *ctl)
{
	const struct timeval never = {0};
	int n = 0;

	/* A reply may take as long as nothing happens. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof(never));
	if (after == UINT64_MAX)
		n = take_events(fd, &after, false, 0, ctl);
	while (n >= 0 && most > 0) {
		n = take_events(fd, &after, true, most, ctl);
		if (n > 0)
			most -= most == UINT64_MAX ? 0 : (uint64_t)n > most ? most : (uint64_t)n;
		if (fflush(stdout) != 0)
			return CTL_FAILED; /* main() says so */
	}
	return n < 0 ? -n : CTL_OK;
}

int ctl_watch(int argc, char **argv, const struct ctl *ctl)
{
	uint64_t after = UINT64_MAX, most = UINT64_MAX;
	const char *value;
	int fd, status = CTL_OK;

	for (int i = 1; i < argc && !status; i++) {
		if (ctl_option(argc, argv, &i, "--count", &value))
			status = ctl_number("--count", value, 1, UINT64_MAX - 1, &most);
		else if (ctl_option(argc, argv, &i, "--after", &value))
			status = ctl_number("--after", value, 0, UINT64_MAX - 1, &after);
		else
			status = ctl_fail(CTL_USAGE,
				"watch takes --count N, --after NUMBER and --json, not '%s'",
				argv[i]);
	}
	if (!status)
		status = ctl_connect(ctl, &fd);
	if (status)
		return status;
	status = watch(fd, after, most, ctl);
	close(fd);
	return status;
}
