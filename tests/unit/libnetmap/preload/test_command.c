/* SPDX-License-Identifier: BSD-2-Clause */
/* The command netmap-run: which programs it refuses, and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "real_netmapd.h"

static struct real_netmapd netmapd;
static char file[128]; /* a program, in netmapd's directory */
static char output[4096];

/* Runs a command line; its output, both streams, goes to `output`. Returns the exit status. */
static int run(const char *line)
{
	FILE *p = popen(line, "r");
	size_t n;
	int status;

	assert_non_null(p);
	n = fread(output, 1, sizeof(output) - 1, p);
	output[n] = '\0';
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* netmap-run ARGUMENTS. One line and this status are expected; `text` is in it. */
static void refused(int status, const char *arguments, const char *text)
{
	char line[512];
	int got;

	snprintf(line, sizeof(line), "%s %s 2>&1", getenv("NETMAP_RUN"), arguments);
	got = run(line);
	if (got != status || strncmp(output, "netmap-run: ", 12) != 0 || !strstr(output, text) ||
		strchr(output, '\n') != output + strlen(output) - 1)
		fail_msg("status %d, expected %d with '%s': %s", got, status, text, output);
}

static void make_file(const void *content, size_t size, mode_t mode)
{
	int fd;

	unlink(file);
	fd = open(file, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, content, size), (ssize_t)size);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* The first bytes of a program, without any code. */
static void make_elf(unsigned char class, uint16_t machine, uint32_t header_type)
{
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph;
	} elf = {.ph.p_type = header_type};

	memcpy(elf.eh.e_ident, ELFMAG, SELFMAG);
	elf.eh.e_ident[EI_CLASS] = class;
	elf.eh.e_machine = machine;
	elf.eh.e_phoff = sizeof(elf.eh);
	elf.eh.e_phentsize = sizeof(elf.ph);
	elf.eh.e_phnum = 1;
	make_file(&elf, sizeof(elf), 0755);
}

static uint16_t own_machine(void)
{
	Elf64_Ehdr eh;
	int fd = open("/proc/self/exe", O_RDONLY);

	assert_int_equal(read(fd, &eh, sizeof(eh)), sizeof(eh));
	close(fd);
	return eh.e_machine;
}

static void test_arguments(void **state)
{
	(void)state;
	refused(2, "", "which program?");
	refused(2, "--nonsense true", "unknown option --nonsense");
	refused(2, "-s", "needs a value");
	assert_int_equal(run("$NETMAP_RUN --help"), 0);
	assert_non_null(strstr(output, "usage: netmap-run"));
	assert_int_equal(run("$NETMAP_RUN --version"), 0);
	assert_int_equal(strncmp(output, "netmap-run ", 11), 0);
}

static void test_not_a_program(void **state)
{
	(void)state;
	refused(1, "no-such-program-here", "no such program in PATH");
	refused(1, "/no/such/program", "No such file");
	refused(1, "/tmp", "is a directory");
	make_file("data", 4, 0644);
	refused(1, file, "not executable");
	make_file("data", 4, 0755);
	refused(1, file, "neither a program nor a script");
	make_file("#!/no/such/shell\n", 17, 0755);
	refused(1, file, "/no/such/shell");
}

static void test_program_that_cannot(void **state)
{
	char line[256];

	(void)state;
	make_elf(ELFCLASS64, own_machine(), PT_LOAD);
	refused(1, file, "statically linked");
	make_elf(ELFCLASS32, EM_386, PT_INTERP);
	refused(1, file, "32 bits");
	make_elf(ELFCLASS64, 0x4711, PT_INTERP);
	refused(1, file, "another machine");
	/* A script is what its interpreter is. */
	make_elf(ELFCLASS64, own_machine(), PT_LOAD);
	snprintf(line, sizeof(line), "%s.interp", file);
	assert_int_equal(rename(file, line), 0);
	snprintf(line, sizeof(line), "#!%s.interp -x\n", file);
	make_file(line, strlen(line), 0755);
	refused(1, file, "statically linked");
	snprintf(line, sizeof(line), "%s.interp", file);
	unlink(line);
}

static void test_setuid(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	make_elf(ELFCLASS64, own_machine(), PT_INTERP);
	assert_int_equal(chown(file, 1, 0), 0);
	assert_int_equal(chmod(file, 04755), 0);
	refused(1, file, "is setuid");
	assert_int_equal(chown(file, 0, 1), 0);
	assert_int_equal(chmod(file, 02755), 0);
	refused(1, file, "is setgid");
}

static void test_no_netmapd(void **state)
{
	(void)state;
	refused(1, "-s /tmp/no-netmapd/socket true", "netmapd is not running");
	refused(1, "-s /tmp/no-netmapd/socket true", "start it: netmapd --background");
}

static void test_runs(void **state)
{
	(void)state;
	assert_int_equal(run("$NETMAP_RUN sh -c 'echo $LD_PRELOAD; exit 7'"), 7);
	assert_non_null(strstr(output, "netmap-run.so"));
	assert_int_equal(
		run("LD_PRELOAD=other.so $NETMAP_RUN sh -c 'echo $LD_PRELOAD' 2>/dev/null"), 0);
	assert_non_null(strstr(output, "netmap-run.so:other.so"));
	make_file("#!/bin/sh\necho script $1\n", 25, 0755);
	assert_int_equal(setenv("FILE", file, 1), 0);
	assert_int_equal(run("$NETMAP_RUN $FILE one"), 0);
	assert_string_equal(output, "script one\n");
	/* What is not netmap's is not disturbed: files, pipes, children of all kinds. */
	assert_int_equal(
		run("$NETMAP_RUN sh -c 'ls -l /dev | cat | wc -l >/dev/null && (exec 9</dev/null; exec 8<&9 9<&-; cat <&8) && echo fine'"),
		0);
	assert_string_equal(output, "fine\n");
	/* A netmapd that has gone meanwhile is reported where the program opens the device. */
	assert_int_equal(
		run("$NETMAP_RUN env NETMAPD_SOCKET=/tmp/no-netmapd/socket sh -c 'exec 5<>/dev/netmap' 2>&1"),
		2);
	assert_non_null(strstr(output, "netmap-run: netmapd is not running"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_not_a_program),
		cmocka_unit_test(test_program_that_cannot),
		cmocka_unit_test(test_setuid),
		cmocka_unit_test(test_no_netmapd),
		cmocka_unit_test(test_runs),
	};
	int failed;

	alarm(120);
	real_start(&netmapd);
	snprintf(file, sizeof(file), "%s/program", netmapd.dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	if (real_stop(&netmapd) != 0) {
		printf("Bail out! netmapd didn't end well\n");
		return 1;
	}
	return failed;
}
