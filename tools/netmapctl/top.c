/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl top: a report each interval, and what has changed since the one before as a screen (top_screen.c). On a terminal the
 * screen is drawn anew, and keys change what it shows; else, with --once and with --json, each is written behind the other.
 */
#include "netmapctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
	"Usage: netmapctl top [OPTION…]\n"
	"\n"
	"  --once             one screen, of one interval, and the end\n"
	"  --count N          so many of them\n"
	"  --interval S       seconds between two looks (1)\n"
	"  --sort KEY         rate, name, tx, rx, drop, fill or int\n"
	"  --filter TEXT      ports with the text in their name or user; with * or ?:\n"
	"                     those whose name matches\n"
	"  --rings            a line for each ring, too\n"
	"  --width N          columns (those of the terminal, else 80)\n"
	"\n"
	"Keys: q end, s S sort by the next or previous key, / filter, r rings, p pause,\n"
	"j k scroll, + - longer or shorter intervals, Space look now, ? this text\n";

static const double INTERVAL_MIN = 0.05, INTERVAL_MAX = 3600; /* seconds */

struct top {
	const struct ctl *ctl;
	int fd;
	struct top_view view;
	unsigned sort;
	double interval;
	uint64_t count; /* screens left */
	bool screen;    /* a terminal that is drawn anew */
	bool asking;    /* for the filter: it is being typed */
	bool helping;
	char filter[64];
	json_t *before, *rates;
};

/* ---- the terminal ------------------------------------------------------------------------------ */

static struct termios terminal_before;
static bool terminal_changed;

/* Also at the end by a signal: nothing but calls that are allowed then. */
static void restore_terminal(void)
{
	static const char text[] = "\033[?25h\033[?1049l";

	if (!terminal_changed)
		return;
	terminal_changed = false;
	tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		return;
}

static void end_by_signal(int number)
{
	restore_terminal();
	signal(number, SIG_DFL);
	raise(number);
}

static void resized(int number)
{
	(void)number; /* it interrupts poll() */
}

/* Keys come one by one; another screen, whose cursor isn't seen. */
static void prepare_terminal(void)
{
	struct sigaction action = {.sa_handler = resized};
	struct termios keys;

	if (tcgetattr(STDIN_FILENO, &terminal_before) < 0)
		return;
	keys = terminal_before;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	terminal_changed = true;
	sigaction(SIGWINCH, &action, NULL);
	signal(SIGINT, end_by_signal);
	signal(SIGTERM, end_by_signal);
	atexit(restore_terminal);
	tcsetattr(STDIN_FILENO, TCSANOW, &keys);
	fputs("\033[?1049h\033[?25l", stdout);
}

static void measure(struct top_view *view)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return;
	view->columns = size.ws_col;
	view->lines = size.ws_row > 1 ? size.ws_row - 1U : 1;
}

/* What is in the way of the new text goes, line by line, so that nothing flickers. */
static void draw(const char *text)
{
	fputs("\033[H", stdout);
	for (const char *p = text; *p; p++) {
		if (*p == '\n')
			fputs("\033[K", stdout);
		fputc(*p, stdout);
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

/* ---- one screen --------------------------------------------------------------------------------- */

static void put_screen(struct top *t)
{
	char *text = NULL;
	size_t size;
	FILE *f;

	if (!t->screen) {
		top_screen(stdout, t->rates, &t->view);
		return;
	}
	measure(&t->view);
	f = open_memstream(&text, &size);
	if (!f)
		ctl_out_of_memory();
	if (t->helping)
		fputs(help, f);
	else
		top_screen(f, t->rates, &t->view);
	if (t->asking)
		fprintf(f, "filter: %s_", t->filter);
	fclose(f);
	draw(text);
	free(text);
}

/* Another report, and the rates since the one before. 0, or an exit status. */
static int look(struct top *t)
{
	json_t *now;
	int status = ctl_report_on(t->fd, &now);

	if (status)
		return status;
	if (t->before) {
		json_decref(t->rates);
		t->rates = ctl_rates(t->before, now);
		json_decref(t->before);
	}
	t->before = now;
	return CTL_OK;
}

/* ---- keys ------------------------------------------------------------------------------------------ */

static void type_filter(struct top *t, char key)
{
	size_t length = strlen(t->filter);

	if (key == '\n' || key == '\r' || key == 27)
		t->asking = false;
	else if (key == 127 || key == 8)
		t->filter[length ? length - 1 : 0] = '\0';
	else if (key >= ' ' && length + 1 < sizeof(t->filter)) {
		t->filter[length] = key;
		t->filter[length + 1] = '\0';
	}
	t->view.filter = t->filter;
	t->view.skip = 0;
}

static void sort_by(struct top *t, int step)
{
	unsigned count = 1; /* there is at least one */

	while (top_sort_name(count))
		count++;
	t->sort = (t->sort + count + (unsigned)step) % count;
	t->view.sort = top_sort_name(t->sort);
}

static void change_interval(struct top *t, double factor)
{
	t->interval *= factor;
	if (t->interval < 0.1)
		t->interval = 0.1;
	if (t->interval > 60)
		t->interval = 60;
}

/* False: the end. */
static bool take_key(struct top *t, char key)
{
	switch (key) {
	case 'q':
		return false;
	case 's':
	case 'S':
		sort_by(t, key == 's' ? 1 : -1);
		break;
	case '/':
		t->asking = true;
		t->filter[0] = '\0';
		break;
	case 'r':
		t->view.rings = !t->view.rings;
		break;
	case 'p':
		t->view.paused = !t->view.paused;
		break;
	case 'j':
		t->view.skip++;
		break;
	case 'k':
		t->view.skip -= t->view.skip > 0;
		break;
	case '+':
	case '-':
		change_interval(t, key == '+' ? 2 : 0.5);
		break;
	case '?':
		t->helping = !t->helping;
		break;
	default:
		break;
	}
	return true;
}

static bool take_keys(struct top *t, bool *at_once)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n == 0)
		return false; /* the terminal is gone */
	for (ssize_t i = 0; i < n; i++) {
		if (t->asking)
			type_filter(t, keys[i]);
		else if (keys[i] == ' ')
			*at_once = true;
		else if (!take_key(t, keys[i]))
			return false;
	}
	return true;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Until the interval is over. Keys are heard meanwhile, and what they change is seen at once. False: the end. */
static bool wait_interval(struct top *t)
{
	double end = now_s() + t->interval;
	bool at_once = false;

	while (!at_once) {
		struct pollfd fd = {.fd = t->screen ? STDIN_FILENO : -1, .events = POLLIN};
		double left = end - now_s();
		int n;

		if (left <= 0 && !t->view.paused)
			return true;
		n = poll(&fd, 1, t->view.paused ? -1 : (int)(left * 1000) + 1);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0 && !take_keys(t, &at_once))
			return false;
		if (n != 0 && t->rates)
			put_screen(t);
	}
	return true;
}

static int run(struct top *t)
{
	int status = look(t);

	while (!status && t->count > 0) {
		if (!wait_interval(t))
			break;
		status = look(t);
		if (status)
			break;
		t->count -= t->count != UINT64_MAX;
		if (t->ctl->json)
			status = ctl_put_json(json_incref(t->rates), JSON_REAL_PRECISION(6));
		else
			put_screen(t);
		if (!t->screen && t->count > 0 && !t->ctl->json)
			putchar('\n');
		if (fflush(stdout) != 0)
			break; /* main() says so */
	}
	restore_terminal();
	return status;
}

/* ---- arguments ------------------------------------------------------------------------------------- */

static int take_interval(struct top *t, const char *text)
{
	double seconds = 0;
	char *end = NULL;

	if (text)
		seconds = strtod(text, &end);
	if (!text || end == text || *end || !(seconds >= INTERVAL_MIN && seconds <= INTERVAL_MAX))
		return ctl_fail(CTL_USAGE, "--interval needs a number from %g to %g", INTERVAL_MIN,
			INTERVAL_MAX);
	t->interval = seconds;
	return CTL_OK;
}

static int take_sort(struct top *t, const char *name)
{
	for (unsigned i = 0; name && top_sort_name(i); i++)
		if (!strcmp(top_sort_name(i), name)) {
			t->sort = i;
			t->view.sort = top_sort_name(i);
			return CTL_OK;
		}
	return ctl_fail(CTL_USAGE, "--sort takes rate, name, tx, rx, drop, fill or int");
}

static int take_filter(struct top *t, const char *text)
{
	if (!text || strlen(text) >= sizeof(t->filter))
		return ctl_fail(CTL_USAGE, "--filter takes a text of at most %zu bytes",
			sizeof(t->filter) - 1);
	memcpy(t->filter, text, strlen(text) + 1);
	t->view.filter = t->filter;
	return CTL_OK;
}

/* The next option of argv, from argv[*i] on. */
static int take_option(struct top *t, int argc, char **argv, int *i)
{
	uint64_t columns = 0;
	const char *value;
	int status = CTL_OK;

	if (!strcmp(argv[*i], "--once"))
		t->count = 1;
	else if (!strcmp(argv[*i], "--rings"))
		t->view.rings = true;
	else if (ctl_option(argc, argv, i, "--count", &value))
		status = ctl_number("--count", value, 1, UINT64_MAX - 1, &t->count);
	else if (ctl_option(argc, argv, i, "--interval", &value))
		status = take_interval(t, value);
	else if (ctl_option(argc, argv, i, "--sort", &value))
		status = take_sort(t, value);
	else if (ctl_option(argc, argv, i, "--filter", &value))
		status = take_filter(t, value);
	else if (ctl_option(argc, argv, i, "--width", &value)) {
		status = ctl_number("--width", value, 40, 1000, &columns);
		t->view.columns = (unsigned)columns;
	} else
		status = ctl_fail(CTL_USAGE, "top doesn't know '%s'; see top --help", argv[*i]);
	return status;
}

int ctl_top(int argc, char **argv, const struct ctl *ctl)
{
	struct top t = {.ctl = ctl, .interval = 1, .count = UINT64_MAX, .view = {.sort = "rate"}};
	int status = CTL_OK;

	for (int i = 1; i < argc && !status; i++) {
		if (!strcmp(argv[i], "--help")) {
			fputs(help, stdout);
			return CTL_OK;
		}
		status = take_option(&t, argc, argv, &i);
	}
	if (status)
		return status;
	t.screen = t.count == UINT64_MAX && !ctl->json && isatty(STDIN_FILENO) &&
		   isatty(STDOUT_FILENO);
	if (t.view.columns == 0)
		t.view.columns = ctl_columns() > 1000 ? 80 : ctl_columns();
	status = ctl_connect(ctl, &t.fd);
	if (status)
		return status;
	if (t.screen)
		prepare_terminal();
	status = run(&t);
	close(t.fd);
	json_decref(t.before);
	json_decref(t.rates);
	return status;
}
