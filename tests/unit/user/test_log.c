/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * user/log.h: nobody waits for the reader, nobody hides what others say, and what is written is
 * printable. stderr is a pipe of the test's; a child plays the program where that ends or could hang.
 */
#include "log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT_MAX = 1 << 20, MANY = 5000 };

static struct {
	int read, write, stderr_before;
	char text[TEXT_MAX];
	size_t bytes;
} reader;

static void redirect(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	reader.read = ends[0];
	reader.write = ends[1];
	reader.bytes = 0;
	assert_int_equal(fcntl(reader.read, F_SETFL, O_NONBLOCK), 0);
	reader.stderr_before = dup(STDERR_FILENO);
	dup2(reader.write, STDERR_FILENO);
}

static void restore(void)
{
	dup2(reader.stderr_before, STDERR_FILENO);
	close(reader.stderr_before);
	close(reader.write);
	close(reader.read);
}

/* As much as is there. */
static void take(void)
{
	ssize_t n;

	while ((n = read(reader.read, reader.text + reader.bytes, TEXT_MAX - 1 - reader.bytes)) > 0)
		reader.bytes += (size_t)n;
	reader.text[reader.bytes] = '\0';
}

/* No room for another line; stderr is blocking, as a terminal is. */
static void fill_pipe(void)
{
	char page[4096];

	memset(page, 'x', sizeof(page));
	page[sizeof(page) - 1] = '\n';
	assert_int_equal(fcntl(reader.write, F_SETFL, O_NONBLOCK), 0);
	while (write(reader.write, page, sizeof(page)) > 0)
		;
	assert_int_equal(fcntl(reader.write, F_SETFL, 0), 0);
}

/* Each test has a second of its own to begin with, and so all lines that it may write. */
static int setup(void **state)
{
	uint64_t now = os_time_s();

	while (os_time_s() == now)
		usleep(10000);
	unsetenv("JOURNAL_STREAM");
	log_setup("unit", OS_LOG_INFO);
	redirect();
	return 0;
}

static int teardown(void **state)
{
	log_from(NULL);
	restore();
	return 0;
}

/* Lines that contain a text. */
static unsigned count(const char *text)
{
	unsigned lines = 0;

	for (const char *at = reader.text; (at = strstr(at, text)); at += strlen(text))
		lines++;
	return lines;
}

/* What the lines about lines left out say, together. */
static unsigned long said_to_be_left_out(void)
{
	unsigned long sum = 0;

	for (const char *at = reader.text; (at = strstr(at, " lines left out")); at++) {
		const char *from = at;

		while (from > reader.text && from[-1] >= '0' && from[-1] <= '9')
			from--;
		sum += strtoul(from, NULL, 10);
	}
	return sum;
}

static void lines_come_out_in_order(void **state)
{
	assert_int_equal(log_start(), 0);
	for (int i = 0; i < 50; i++)
		os_log(OS_LOG_INFO, "line %d", i);
	os_log(OS_LOG_DEBUG, "too talkative");
	log_stop();
	os_log(OS_LOG_WARN, "and one behind");
	take();
	assert_int_equal(strncmp(reader.text, "unit: line 0\nunit: line 1\n", 26), 0);
	assert_non_null(strstr(reader.text, "unit: line 49\nunit: and one behind\n"));
	assert_null(strstr(reader.text, "talkative"));
}

static void the_journal_gets_priorities(void **state)
{
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_setup("unit", OS_LOG_INFO);
	os_log(OS_LOG_WARN, "x");
	take();
	assert_string_equal(reader.text, "<4>unit: x\n");
}

/* stderr as the service manager makes it known, and the journal's socket. */
static int open_journal(char path[64])
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char stream[64];
	struct stat st;

	snprintf(path, 64, "/tmp/test_log-%d", (int)getpid());
	strcpy(at.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_setup("unit", OS_LOG_INFO);
	return fd;
}

static const char *entry(int fd, int flags)
{
	static char text[2048];
	ssize_t n = recv(fd, text, sizeof(text) - 1, flags);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void the_journal_gets_fields(void **state)
{
	const struct log_source source = {.id = 7, .user = 1000};
	char path[64];
	int fd = open_journal(path);

	assert_true(log_to_journal(path));
	os_log(OS_LOG_INFO, "plain");
	assert_string_equal(
		entry(fd, MSG_DONTWAIT), "MESSAGE=plain\nPRIORITY=6\nSYSLOG_IDENTIFIER=unit\n");
	log_from(&source);
	log_about("vale1:a\nMESSAGE=forged", "vm3");
	log_error(-EDQUOT);
	os_log(OS_LOG_WARN, "two\nlines");
	assert_string_equal(entry(fd, MSG_DONTWAIT),
		"MESSAGE=two?lines\nPRIORITY=4\nSYSLOG_IDENTIFIER=unit\nPORT=vale1:a?MESSAGE=forged\nMACHINE=vm3\nUSER=1000\nCAUSE=EDQUOT\n");
	/* A cause is of one line, the rest of all until another source. */
	log_error(EPERM);
	os_log(OS_LOG_DEBUG, "not written");
	os_log(OS_LOG_WARN, "next");
	assert_string_equal(entry(fd, MSG_DONTWAIT),
		"MESSAGE=next\nPRIORITY=4\nSYSLOG_IDENTIFIER=unit\nPORT=vale1:a?MESSAGE=forged\nMACHINE=vm3\nUSER=1000\n");
	log_from(NULL);
	os_log(OS_LOG_WARN, "own");
	assert_string_equal(
		entry(fd, MSG_DONTWAIT), "MESSAGE=own\nPRIORITY=4\nSYSLOG_IDENTIFIER=unit\n");
	take();
	assert_string_equal(reader.text, "");
	/* Nobody is there any more: the lines are not lost. */
	close(fd);
	os_log(OS_LOG_WARN, "to stderr");
	take();
	assert_string_equal(reader.text, "<4>unit: to stderr\n");
	unlink(path);
}

static void the_journal_is_told_how_many_were_left_out(void **state)
{
	const struct log_source source = {.id = 8, .user = 1001};
	const struct timeval patience = {.tv_sec = 30};
	char path[64];
	int fd = open_journal(path);

	assert_true(log_to_journal(path));
	assert_int_equal(log_start(), 0);
	log_from(&source);
	for (int i = 0; i < LOG_SOURCE_LINES + 5; i++)
		os_log(OS_LOG_INFO, "line %d", i);
	/* A socket has room for some ten: the thread waits for the reader, and nobody else does. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < LOG_SOURCE_LINES; i++)
		assert_non_null(strstr(entry(fd, 0), "USER=1001\n"));
	assert_string_equal(entry(fd, 0),
		"MESSAGE=5 lines left out, caused by user 1001\nPRIORITY=4\nSYSLOG_IDENTIFIER=unit\nUSER=1001\nLEFT_OUT=5\n");
	log_stop();
	assert_string_equal(entry(fd, MSG_DONTWAIT), "");
	close(fd);
	unlink(path);
}

/* Another file than the one that the variable names, as after a redirection: the lines go there. */
static void a_redirected_stderr_is_not_the_journal(void **state)
{
	char path[64];
	int fd = open_journal(path);

	setenv("JOURNAL_STREAM", "8:1", 1);
	assert_false(log_to_journal(path));
	setenv("JOURNAL_STREAM", "nonsense", 1);
	assert_false(log_to_journal(path));
	unsetenv("JOURNAL_STREAM");
	assert_false(log_to_journal(path));
	close(fd);
	unlink(path);
}

static void what_is_written_is_printable(void **state)
{
	assert_int_equal(log_start(), 0);
	os_log(OS_LOG_WARN, "a\nunit: forged \033[2J\r\t\x7f \xc3\xa4 \xff%c|", 7);
	log_stop();
	take();
	assert_string_equal(reader.text, "unit: a?unit: forged ?[2J??? ?? ??|\n");
}

/* Nobody reads, and no line is written: each is in the queue, or counted. */
static void all_is_written_or_counted(void **state)
{
	assert_int_equal(log_start(), 0);
	fill_pipe();
	for (unsigned i = 0; i < MANY; i++) {
		const struct log_source source = {.id = 1 + i % 100, .user = i % 50};

		log_from(&source);
		os_log(OS_LOG_WARN, "number %u", i);
	}
	log_from(NULL);
	assert_true(log_left_out() >= MANY - LOG_QUEUE - 1);
	for (int i = 0; i < 10; i++)
		take();
	log_stop(); /* all that waits is little enough for the pipe */
	take();
	assert_true(count("number ") >= LOG_QUEUE);
	assert_int_equal(count("number ") + said_to_be_left_out(), MANY);
}

static void log_lines(uint64_t id, uint32_t user, unsigned lines, const char *text)
{
	const struct log_source source = {.id = id, .user = user};

	log_from(&source);
	for (unsigned i = 0; i < lines; i++)
		os_log(OS_LOG_WARN, "%s", text);
}

/* By one source, by many of one user, and by many more than there is a place for. */
static void who_floods_hides_only_what_is_his(void **state)
{
	assert_int_equal(log_start(), 0);
	log_lines(1, 1000, MANY, "flood");
	log_lines(2, 1000, 5, "same user");
	for (unsigned i = 0; i < 1000; i++)
		log_lines(100 + i, 1001, 30, "spread");
	log_lines(3, 1002, 5, "other user");
	log_from(NULL);
	os_log(OS_LOG_WARN, "own");
	log_stop();
	take();
	assert_in_range(count("flood"), 1, 3 * LOG_SOURCE_LINES); /* the second may change */
	assert_in_range(count("spread"), 1, 3 * LOG_USER_LINES);
	assert_int_equal(count("same user"), 5);
	assert_int_equal(count("other user"), 5);
	assert_int_equal(count("own"), 1);
	assert_non_null(strstr(reader.text, " lines left out, caused by user 1000\n"));
	assert_non_null(strstr(reader.text, " lines left out, caused by user 1001\n"));
	assert_null(strstr(reader.text, "user 1002\n"));
}

/* Also when there is no thread. */
static void what_was_left_out_is_said(void **state)
{
	for (int i = 0; i < 5 * LOG_OWN_LINES; i++)
		os_log(OS_LOG_WARN, "line");
	sleep(1);
	os_log(OS_LOG_WARN, "later");
	take();
	assert_int_equal(count("line\n") + said_to_be_left_out(), 5 * LOG_OWN_LINES);
	assert_int_equal(count("later"), 1);
}

/* ---- children that end, whoever reads ------------------------------------------------------- */

static int end_of_child(void (*child)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		alarm(30); /* hangs, then */
		child();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void logs_and_stops(void)
{
	if (log_start() != 0)
		_exit(1);
	for (unsigned i = 0; i < MANY; i++)
		log_lines(1 + i, i, 1, "line");
	log_stop();
}

static void nobody_waits_for_the_reader(void **state)
{
	int status;

	fill_pipe();
	status = end_of_child(logs_and_stops);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void logs_without_a_thread(void)
{
	for (unsigned i = 0; i < 3; i++)
		os_log(OS_LOG_WARN, "line");
}

static void nor_without_a_thread(void **state)
{
	int status;

	fill_pipe();
	status = end_of_child(logs_without_a_thread);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fails_an_assertion(void)
{
	log_start();
	for (int i = 0; i < 50; i++)
		os_log(OS_LOG_WARN, "line");
	assert(!"what must not be");
}

static void assertions_are_said_last(void **state)
{
	int status = end_of_child(fails_an_assertion);
	const char *said;

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	take();
	assert_int_equal(count("line\n"), 50);
	said = strstr(reader.text, "test_log.c:");
	assert_non_null(said);
	assert_non_null(strstr(said, "fails_an_assertion: assertion "));
	assert_non_null(strstr(said, "what must not be"));
	assert_null(strstr(said, "line\n"));
}

static void assertions_end_the_program_unread(void **state)
{
	int status;

	fill_pipe();
	status = end_of_child(fails_an_assertion);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void aborts(void)
{
	log_start();
	for (int i = 0; i < 50; i++)
		os_log(OS_LOG_WARN, "line");
	abort();
}

static void what_waits_is_written_before_the_end(void **state)
{
	int status = end_of_child(aborts);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	take();
	assert_int_equal(count("line\n"), 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(lines_come_out_in_order),
		TEST(the_journal_gets_priorities),
		TEST(the_journal_gets_fields),
		TEST(the_journal_is_told_how_many_were_left_out),
		TEST(a_redirected_stderr_is_not_the_journal),
		TEST(what_is_written_is_printable),
		TEST(all_is_written_or_counted),
		TEST(who_floods_hides_only_what_is_his),
		TEST(what_was_left_out_is_said),
		TEST(nobody_waits_for_the_reader),
		TEST(nor_without_a_thread),
		TEST(assertions_are_said_last),
		TEST(assertions_end_the_program_unread),
		TEST(what_waits_is_written_before_the_end),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
