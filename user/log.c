/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who logs formats its line, then takes the lock of the queue, which nobody holds for longer than it
 * takes to copy a line; whoever can't get it all the same (a signal in the middle) counts its line as
 * left out. The thread that writes copies a line out, and holds nothing while it writes.
 *
 * Counts of lines per second are kept in a small table, by source and by user. One that is not of
 * this second, and has nothing left to say, makes place for another; when there is no such, lines go
 * by the place that all the others share.
 */
#include "log.h"
#include "privileges.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	COUNTS = 512,    /* sources and users that log in one second; the first is for all others */
	TRIES = 1000000, /* to get the lock */
	MS_IN_NS = 1000000,
};

enum scope { OWN, SOURCE, USER, OTHERS };

/* Lines of one source, or of all sources of a user. */
struct count {
	enum scope scope;
	uint64_t id;
	uint32_t user;
	uint64_t second; /* in which the lines were */
	unsigned lines, left_out;
	uint64_t since; /* the first of those left out; they are said in a later second */
};

enum { ABOUT_MAX = 64, NOBODY = -1 };

struct line {
	enum os_log_level level;
	int64_t user; /* who caused it; NOBODY: is not known */
	unsigned left_out;
	char port[ABOUT_MAX], machine[ABOUT_MAX], cause[32];
	char text[LOG_TEXT_MAX];
};

static struct {
	const char *name;
	enum os_log_level limit;
	bool journal; /* stderr is the journal: prefix with the priority */
	int journal_fd;
	struct sockaddr_un journal_at;

	pthread_mutex_t lock;
	struct line lines[LOG_QUEUE];
	unsigned first, num;
	struct count counts[COUNTS];

	sem_t wake; /* there is something to write, or to stop */
	pthread_t thread;
	bool started, stop, stopped; /* the thread is there; is to end; has ended */
	bool writing;                /* the thread has a line that it hasn't written */
	uint64_t written, left_out;
} state = {.name = "netmap",
	.limit = OS_LOG_INFO,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.journal_fd = -1};

static __thread struct log_source source_now; /* id 0: the program */
static __thread char port_now[ABOUT_MAX], machine_now[ABOUT_MAX], cause_now[32];
static __thread bool never_here;

void log_setup(const char *name, enum os_log_level limit)
{
	state.name = name;
	state.limit = limit;
	state.journal = getenv("JOURNAL_STREAM") != NULL;
	if (state.journal_fd >= 0)
		close(state.journal_fd);
	state.journal_fd = -1;
}

void log_from(const struct log_source *source)
{
	source_now = source ? *source : (struct log_source){0};
	log_about(NULL, NULL);
}

/* For each message of a machine: it has to be quick. */
static void copy_name(char to[ABOUT_MAX], const char *name)
{
	size_t length = name ? strnlen(name, ABOUT_MAX - 1) : 0;

	if (length > 0)
		memcpy(to, name, length);
	to[length] = '\0';
}

void log_about(const char *port, const char *machine)
{
	copy_name(port_now, port);
	copy_name(machine_now, machine);
}

void log_cause(const char *cause)
{
	snprintf(cause_now, sizeof(cause_now), "%s", cause);
}

void log_error(int error)
{
	const char *name = strerrorname_np(error < 0 ? -error : error);

	log_cause(name ? name : "");
}

/* Is stderr the file that the service manager says it has made for the journal? */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char *end;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	dev = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	ino = strtoull(end + 1, &end, 10);
	return !*end && dev == st.st_dev && ino == st.st_ino;
}

bool log_to_journal(const char *path)
{
	struct sockaddr_un *at = &state.journal_at;

	if (!stderr_is_journal() || strlen(path) >= sizeof(at->sun_path))
		return false;
	at->sun_family = AF_UNIX;
	memcpy(at->sun_path, path, strlen(path) + 1);
	state.journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return state.journal_fd >= 0;
}

void log_never_here(void)
{
	never_here = true;
}

uint64_t log_left_out(void)
{
	return OS_LOAD(&state.left_out);
}

/* ---- writing --------------------------------------------------------------------------- */

/* False: stderr takes nothing within timeout_ms (-1: for ever), or is gone. */
static bool write_all(const char *text, size_t bytes, int timeout_ms)
{
	while (bytes > 0) {
		struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
		ssize_t n = -1;

		if (timeout_ms >= 0 && poll(&fd, 1, timeout_ms) <= 0)
			return false;
		n = write(STDERR_FILENO, text, bytes);
		if (n < 0 && errno == EAGAIN && timeout_ms < 0)
			(void)poll(&fd, 1, timeout_ms);
		else if (n < 0 && errno != EINTR)
			return false;
		else if (n > 0) {
			text += n;
			bytes -= (size_t)n;
		}
	}
	return true;
}

static const int priority[] = {3, 4, 6, 7}; /* of syslog, for the journal */

/* A field, unless it is empty. What is in it is printable, so it ends with the line. */
static void add_field(char *entry, size_t size, const char *name, const char *value)
{
	size_t at = strlen(entry);

	if (*value)
		snprintf(entry + at, size - at, "%s=%s\n", name, value);
}

/* False: it doesn't take it now, or there is none. */
static bool write_entry(const struct line *line, bool wait)
{
	char entry[LOG_TEXT_MAX + 512] = "", number[24] = "";
	ssize_t n;

	if (state.journal_fd < 0)
		return false;
	add_field(entry, sizeof(entry), "MESSAGE", line->text);
	snprintf(number, sizeof(number), "%d", priority[line->level]);
	add_field(entry, sizeof(entry), "PRIORITY", number);
	add_field(entry, sizeof(entry), "SYSLOG_IDENTIFIER", state.name);
	add_field(entry, sizeof(entry), "PORT", line->port);
	add_field(entry, sizeof(entry), "MACHINE", line->machine);
	snprintf(number, sizeof(number), "%lld", (long long)line->user);
	add_field(entry, sizeof(entry), "USER", line->user == NOBODY ? "" : number);
	add_field(entry, sizeof(entry), "CAUSE", line->cause);
	snprintf(number, sizeof(number), "%u", line->left_out);
	add_field(entry, sizeof(entry), "LEFT_OUT", line->left_out ? number : "");
	n = sendto(state.journal_fd, entry, strlen(entry), MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT),
		(const struct sockaddr *)&state.journal_at, sizeof(state.journal_at));
	return n >= 0;
}

static bool write_line(const struct line *line, int timeout_ms)
{
	char prefix[8] = "", text[LOG_TEXT_MAX + 64];
	int bytes;

	if (write_entry(line, timeout_ms < 0))
		return true;
	if (state.journal)
		snprintf(prefix, sizeof(prefix), "<%d>", priority[line->level]);
	bytes = snprintf(text, sizeof(text) - 1, "%s%.32s: %s", prefix, state.name, line->text);
	if (bytes > (int)sizeof(text) - 2)
		bytes = (int)sizeof(text) - 2;
	text[bytes] = '\n';
	return write_all(text, (size_t)bytes + 1, timeout_ms);
}

/* ---- the queue -------------------------------------------------------------------------- */

static bool queue_lock(void)
{
	for (int i = 0; i < TRIES; i++) {
		if (pthread_mutex_trylock(&state.lock) == 0)
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

static void queue_unlock(void)
{
	pthread_mutex_unlock(&state.lock);
}

/* The count of a source or a user; or the one that all the others share. */
static struct count *find_count(enum scope scope, uint64_t id, uint32_t user, uint64_t now)
{
	struct count *unused = NULL;

	for (int i = 1; i < COUNTS; i++) {
		struct count *c = &state.counts[i];

		if (c->scope == scope && c->id == id && c->user == user && c->second)
			return c;
		if (c->second != now && !c->left_out && !unused)
			unused = c;
	}
	if (unused)
		*unused = (struct count){.scope = scope, .id = id, .user = user};
	else
		state.counts[0].scope = OTHERS;
	return unused ? unused : &state.counts[0];
}

static void leave_out(struct count *c, uint64_t now)
{
	if (c->left_out++ == 0)
		c->since = now;
}

/* False: it has said as much as it may. */
static bool has_room(struct count *c, uint64_t now, unsigned most)
{
	if (c->second != now)
		c->lines = 0;
	c->second = now;
	if (c->lines >= most)
		leave_out(c, now);
	return c->lines < most;
}

/* Whose limit keeps the line out, or NULL: then *mine is whose it is. A source that says too much uses up
 * nothing of its user's; and a user that does gets no more places for sources. */
static struct count *over_limit(uint64_t now, struct count **mine)
{
	const struct log_source *s = &source_now;
	struct count *user = NULL;

	if (s->id != 0) {
		user = find_count(USER, 0, s->user, now);
		if (!has_room(user, now, LOG_USER_LINES))
			return user;
		user->lines++;
	}
	*mine = s->id ? find_count(SOURCE, s->id, s->user, now) : find_count(OWN, 0, 0, now);
	if (has_room(*mine, now, s->id ? LOG_SOURCE_LINES : LOG_OWN_LINES)) {
		(*mine)->lines++;
		return NULL;
	}
	if (user)
		user->lines--;
	return *mine;
}

static void push(const struct line *line)
{
	state.lines[(state.first + state.num++) % LOG_QUEUE] = *line;
}

static bool pop(struct line *line)
{
	bool some;

	if (!queue_lock())
		return false;
	some = state.num > 0;
	if (some) {
		*line = state.lines[state.first];
		state.first = (state.first + 1) % LOG_QUEUE;
		state.num--;
	}
	OS_STORE(&state.writing, some);
	queue_unlock();
	return some;
}

/* What was left out before this second, of one source or user. */
static bool next_left_out(struct line *line, bool all)
{
	uint64_t now = os_time_s();
	bool some = false;

	if (!queue_lock())
		return false;
	for (int i = 0; i < COUNTS && !some; i++) {
		struct count *c = &state.counts[i];

		if (!c->left_out || (c->since == now && !all))
			continue;
		some = true;
		*line = (struct line){
			.level = OS_LOG_WARN, .user = NOBODY, .left_out = c->left_out};
		if (c->scope == SOURCE || c->scope == USER)
			line->user = c->user;
		if (c->scope == SOURCE || c->scope == USER)
			snprintf(line->text, sizeof(line->text),
				"%u lines left out, caused by user %u", c->left_out, c->user);
		else
			snprintf(line->text, sizeof(line->text), "%u lines left out", c->left_out);
		c->left_out = 0;
	}
	OS_STORE(&state.writing, some);
	queue_unlock();
	return some;
}

static bool has_left_out(void)
{
	bool some = false;

	if (!queue_lock())
		return true;
	for (int i = 0; i < COUNTS; i++)
		some |= state.counts[i].left_out > 0;
	queue_unlock();
	return some;
}

/* ---- the thread --------------------------------------------------------------------------- */

static void wait_for_lines(void)
{
	struct timespec until;

	if (!has_left_out()) {
		(void)sem_wait(&state.wake);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	(void)sem_timedwait(&state.wake, &until);
}

static void *write_lines(void *arg)
{
	struct line line;
	bool stop;

	privileges_none();
	do {
		stop = OS_LOAD_ACQUIRE(&state.stop);
		while (pop(&line) || next_left_out(&line, stop)) {
			(void)write_line(&line, -1);
			OS_STORE(&state.written, state.written + 1);
		}
		if (!stop)
			wait_for_lines();
	} while (!stop);
	OS_STORE_RELEASE(&state.stopped, true);
	return NULL;
}

static bool all_written(void)
{
	bool all;

	if (OS_LOAD_ACQUIRE(&state.stopped))
		return true;
	if (!queue_lock())
		return false;
	all = state.num == 0 && !OS_LOAD(&state.writing) && !OS_LOAD(&state.stop);
	queue_unlock();
	return all;
}

/* Until all is written, or nothing was for LOG_STALL_MS. Calls nothing that a signal handler may not. */
static bool drain(void)
{
	const struct timespec ms = {.tv_nsec = MS_IN_NS};
	uint64_t written = OS_LOAD(&state.written);
	int idle = 0;

	sem_post(&state.wake);
	while (!all_written()) {
		if (idle++ == LOG_STALL_MS)
			return false;
		nanosleep(&ms, NULL);
		if (OS_LOAD(&state.written) != written)
			idle = 0;
		written = OS_LOAD(&state.written);
	}
	return true;
}

/* ---- ends ---------------------------------------------------------------------------------- */

static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

static bool is_running(void)
{
	return OS_LOAD_ACQUIRE(&state.started) && !pthread_equal(pthread_self(), state.thread);
}

/* The handler was for once: on return what was wrong ends the program. */
static void before_the_end(int sig)
{
	if (is_running())
		(void)drain();
	if (sig == SIGABRT)
		raise(sig);
}

/* Where nobody else has something to say, as sanitizers have. */
/* cppcheck-suppress constParameter; a function can't be const */
static void set_handlers(void (*from)(int), void (*to)(int))
{
	struct sigaction now, then = {.sa_handler = to, .sa_flags = (int)SA_RESETHAND};

	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		if (sigaction(fatal[i], NULL, &now) == 0 && now.sa_handler == from)
			sigaction(fatal[i], &then, NULL);
}

/* In the place of the C library's, which waits for the reader of stderr. */
void __assert_fail(const char *what, const char *file, unsigned int at, const char *function)
{
	struct line line = {.level = OS_LOG_ERR, .user = NOBODY};
	bool queued = false;

	snprintf(line.text, sizeof(line.text), "%s:%u: %s: assertion \"%s\" failed", file, at,
		function, what);
	os_make_printable(line.text);
	if (is_running() && queue_lock()) {
		queued = state.num < LOG_QUEUE;
		if (queued)
			push(&line);
		queue_unlock();
	}
	if (!queued || !drain())
		(void)write_line(&line, LOG_STALL_MS);
	abort();
}

int log_start(void)
{
	pthread_attr_t detached;
	sigset_t all, before;
	int error;

	state.stop = state.stopped = false;
	sem_init(&state.wake, 0, 0);
	sigfillset(&all);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&state.thread, &detached, write_lines, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&detached);
	if (error)
		return -error;
	pthread_setname_np(state.thread, "log");
	OS_STORE_RELEASE(&state.started, true);
	set_handlers(SIG_DFL, before_the_end);
	return 0;
}

/* A thread that nobody reads is left behind: it ends with the program, and so does the queue. */
void log_stop(void)
{
	if (!state.started)
		return;
	OS_STORE_RELEASE(&state.stop, true);
	if (!drain())
		return;
	set_handlers(before_the_end, SIG_DFL);
	OS_STORE_RELEASE(&state.started, false);
	sem_destroy(&state.wake);
}

/* ---- logging -------------------------------------------------------------------------------- */

enum where { LEFT_OUT, QUEUED, AT_ONCE };

static enum where enqueue(const struct line *line)
{
	uint64_t now = os_time_s();
	enum where where = LEFT_OUT;
	struct count *mine;

	if (!queue_lock())
		return LEFT_OUT;
	if (!over_limit(now, &mine))
		where = OS_LOAD(&state.started) ? QUEUED : AT_ONCE;
	if (where == QUEUED && state.num == LOG_QUEUE) {
		leave_out(mine, now);
		where = LEFT_OUT;
	}
	if (where == QUEUED)
		push(line);
	queue_unlock();
	return where;
}

static void write_at_once(const struct line *line)
{
	struct line left_out;

	while (next_left_out(&left_out, false))
		(void)write_line(&left_out, LOG_STALL_MS);
	(void)write_line(line, LOG_STALL_MS);
}

void os_log(enum os_log_level level, const char *fmt, ...)
{
	struct line line = {
		.level = level, .user = source_now.id ? (int64_t)source_now.user : (int64_t)NOBODY};
	va_list ap;

	os_assert(!never_here);
	if (level > state.limit) {
		cause_now[0] = '\0';
		return;
	}
	va_start(ap, fmt);
	vsnprintf(line.text, sizeof(line.text), fmt, ap);
	va_end(ap);
	os_make_printable(line.text);
	memcpy(line.port, port_now, sizeof(line.port));
	memcpy(line.machine, machine_now, sizeof(line.machine));
	memcpy(line.cause, cause_now, sizeof(line.cause));
	cause_now[0] = '\0';
	os_make_printable(line.port);
	os_make_printable(line.machine);
	switch (enqueue(&line)) {
	case LEFT_OUT:
		__atomic_fetch_add(&state.left_out, 1, __ATOMIC_RELAXED);
		break;
	case QUEUED:
		sem_post(&state.wake);
		break;
	case AT_ONCE:
		write_at_once(&line);
	}
}
