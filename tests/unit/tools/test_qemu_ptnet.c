/* SPDX-License-Identifier: BSD-2-Clause */
/* qemu-ptnet's modules: what is taken from a command line, and what QEMU gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "accel.h"
#include "child.h"
#include "command.h"
#include "daemon.h"
#include "memory.h"
#include "opts.h"
#include "ports.h"
#include "qemu.h"
#include "scan.h"
#include "text.h"

enum { WORDS_MAX = 40 };

#define PORT_A   "-netdev netmap,ifname=vale1:10,id=a,passthrough=on"
#define PORT_B   "-netdev netmap,ifname=vale1:11,id=b,passthrough=on"
#define DEVICE_A "-device ptnet-pci,netdev=a"
#define DEVICE_B "-device ptnet-pci,netdev=b"
#define VFIO(path, id, more)                                                                   \
	"-device {\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"" path \
	"\"},\"id\":\"" id "\"" more "}"
#define MEM              VFIO("/r/mem", "ptnet-mem0", "")
#define NET(n, id, more) VFIO("/r/net" n, id, more)
#define RAM(bytes)                                              \
	"-object memory-backend-memfd,id=ptnet-ram,size=" bytes \
	",share=on -machine memory-backend=ptnet-ram"
#define RAM_DEFAULT RAM("134217728")

/* Splits at blanks; the words live in `copy`. */
static int split(char *copy, char *argv[WORDS_MAX])
{
	int argc = 0;

	argv[argc++] = "qemu-ptnet";
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) {
		assert_true(argc < WORDS_MAX - 1);
		argv[argc++] = w;
	}
	argv[argc] = NULL;
	return argc;
}

/* All steps up to the command. Returns its words with blanks between them, or the error. */
static char *command_for(const char *line, enum command_accel accel, int *error)
{
	char *copy = text_dup(line), *argv[WORDS_MAX], err[TEXT_ERR] = "", *out = NULL;
	struct command_sockets sockets[4] = {{"/r/net0", "/r/mem"}, {"/r/net1", "/r/mem"},
		{"/r/net2", "/r/mem2"}, {"/r/net3", "/r/mem"}};
	struct text_argv words = {0};
	struct ports ports = {0};
	struct memory memory = {0};
	struct accel_wish wish;
	struct scan scan;
	size_t size;
	int argc = split(copy, argv);

	*error = scan_parse(&scan, argc, argv, err);
	if (*error == 0)
		*error = ports_find(&ports, &scan, err);
	if (*error == 0)
		*error = memory_plan(&memory, &scan, err);
	if (*error == 0) {
		struct command c = {"QEMU", &scan, &ports, &memory, sockets, accel, false};
		FILE *f = open_memstream(&out, &size);

		accel_wish(&wish, &scan);
		c.add_cpu = !wish.cpu;
		if (wish.chosen)
			c.accel = COMMAND_ACCEL_USER;
		*error = command_build(&c, &words, err);
		for (size_t i = 0; i < words.count; i++)
			fprintf(f, "%s%s", i ? " " : "", words.v[i]);
		if (*error)
			fputs(err, f);
		fclose(f);
	}
	text_argv_free(&words);
	memory_free(&memory);
	ports_free(&ports);
	scan_free(&scan);
	free(copy);
	return out ? out : text_dup(err);
}

static const struct {
	const char *line, *command;
} commands[] = {
	/* one port, at the place of its device */
	{"-m 512 " PORT_A " -nographic " DEVICE_A " disk.img",
		"QEMU " RAM("536870912") " -nic none -m 512 -nographic " MEM
					 " " NET("0", "ptnet-a", "") " disk.img"},
	/* the device may come first; two dashes */
	{"-" DEVICE_A " -" PORT_A,
		"QEMU " RAM_DEFAULT " -nic none " MEM " " NET("0", "ptnet-a", "")},
	/* ports are numbered by their devices; one memory device for a region */
	{PORT_A " " PORT_B " " DEVICE_B " -S " DEVICE_A,
		"QEMU " RAM_DEFAULT " -nic none " MEM
		" " NET("0", "ptnet-b", "") " -S " NET("1", "ptnet-a", "")},
	/* what a PCI device takes is passed on, in JSON */
	{PORT_A " -device ptnet-pci,addr=4.0,netdev=a,bus=pci.0,id=x1,multifunction=on,"
		"mac=02-11-22-33-44-5f,acpi-index=007",
		"QEMU " RAM_DEFAULT " -nic none " NET("0", "x1",
			",\"bus\":\"pci.0\",\"addr\":\"4.0\","
			"\"multifunction\":true,\"acpi-index\":7") " " MEM},
	/* a device with an address: the memory device, which has none, comes last */
	{PORT_A " " DEVICE_A " -device e1000,addr=3 -S",
		"QEMU " RAM_DEFAULT
		" -nic none " NET("0", "ptnet-a", "") " -device e1000,addr=3 -S " MEM},
	{PORT_A " " DEVICE_A " -device {\"driver\":\"e1000\",\"addr\":\"3\"}",
		"QEMU " RAM_DEFAULT " -nic none " NET(
			"0", "ptnet-a", "") " -device {\"driver\":\"e1000\",\"addr\":\"3\"} " MEM},
	{PORT_A " " DEVICE_A " -readconfig f",
		"QEMU " RAM_DEFAULT " -nic none " NET("0", "ptnet-a", "") " -readconfig f " MEM},
	/* one that the user has placed comes first, whatever others have */
	{PORT_A " " DEVICE_A ",addr=5,mem-bus=pci.0,mem-addr=6,mem-id=m",
		"QEMU " RAM_DEFAULT
		" -nic none " VFIO("/r/mem", "m", ",\"bus\":\"pci.0\",\"addr\":\"6\"") " " NET(
			"0", "ptnet-a", ",\"addr\":\"5\"")},
	/* of the ports in one region any may say it, and several the same */
	{PORT_A " " PORT_B " " DEVICE_A " " DEVICE_B ",mem-addr=6",
		"QEMU " RAM_DEFAULT " -nic none " VFIO("/r/mem", "ptnet-mem0",
			",\"addr\":\"6\"") " " NET("0", "ptnet-a", "") " " NET("1", "ptnet-b", "")},
	{PORT_A " " PORT_B " " DEVICE_A ",mem-id=m " DEVICE_B ",mem-id=m",
		"QEMU " RAM_DEFAULT " -nic none " VFIO("/r/mem", "m", "") " " NET(
			"0", "ptnet-a", "") " " NET("1", "ptnet-b", "")},
	/* ids that are taken */
	{PORT_A " " DEVICE_A " -device e1000,id=ptnet-a -device e1000,id=ptnet-mem0",
		"QEMU " RAM_DEFAULT " -nic none " VFIO("/r/mem", "ptnet-mem0.1", "") " " NET("0",
			"ptnet-a.1", "") " -device e1000,id=ptnet-a -device e1000,id=ptnet-mem0"},
	/* both in one */
	{"-S -nic netmap,ifname=vale1:10,passthrough=on -nic "
	 "netmap,ifname=vale1:11,id=b,passthrough=on,model=ptnet-pci,mac=02:11:22:33:44:55",
		"QEMU " RAM_DEFAULT " -nic none -S " MEM
		" " NET("0", "ptnet-nic0", "") " " NET("1", "ptnet-b", "")},
	{"-netdev user,id=nic0 -nic netmap,ifname=vale1:10,passthrough=on,addr=7",
		"QEMU " RAM_DEFAULT
		" -netdev user,id=nic0 " NET("0", "ptnet-nic1", ",\"addr\":\"7\"") " " MEM},
	{PORT_A " " DEVICE_A
		" -nic {\"type\":\"netmap\",\"ifname\":\"vale1:11\",\"passthrough\":true}",
		"QEMU " RAM_DEFAULT " -nic none " MEM
		" " NET("0", "ptnet-a", "") " " NET("1", "ptnet-nic0", "")},
	/* another network option: no -nic none */
	{PORT_A " " DEVICE_A " -netdev user,id=u -device e1000,netdev=u",
		"QEMU " RAM_DEFAULT " " MEM
		" " NET("0", "ptnet-a", "") " -netdev user,id=u -device e1000,netdev=u"},
	{PORT_A " " DEVICE_A " -nic user",
		"QEMU " RAM_DEFAULT " " MEM " " NET("0", "ptnet-a", "") " -nic user"},
	/* JSON for both */
	{"-netdev {\"type\":\"netmap\",\"ifname\":\"vale1:10\",\"id\":\"a\",\"passthrough\":true} "
	 "-device {\"driver\":\"ptnet-pci\",\"netdev\":\"a\",\"multifunction\":false}",
		"QEMU " RAM_DEFAULT " -nic none " MEM
		" " NET("0", "ptnet-a", ",\"multifunction\":false")},
	/* an argument is not an option, even if it looks like one */
	{"-append -netdev " PORT_A " " DEVICE_A " -daemonize -name -m",
		"QEMU " RAM_DEFAULT " -nic none -append -netdev " MEM
		" " NET("0", "ptnet-a", "") " -daemonize -name -m"},
	/* a comma in a name is escaped by a comma */
	{"-name a,,b -netdev netmap,ifname=vale1:10,id=a,passthrough=on " DEVICE_A,
		"QEMU " RAM_DEFAULT " -nic none -name a,,b " MEM " " NET("0", "ptnet-a", "")},
	/* memory in all its forms; the user's -machine stays as it is */
	{"-m 1.5G -M q35 " PORT_A " " DEVICE_A,
		"QEMU " RAM("1610612736") " -nic none -m 1.5G -M q35 " MEM
					  " " NET("0", "ptnet-a", "")},
	{"-m size=2G,slots=2,maxmem=4G " PORT_A " " DEVICE_A,
		"QEMU " RAM("2147483648") " -nic none -m size=2G,slots=2,maxmem=4G " MEM
					  " " NET("0", "ptnet-a", "")},
	{"-m 1G -m slots=2,maxmem=4G " PORT_A " " DEVICE_A,
		"QEMU " RAM("1073741824") " -nic none -m 1G -m slots=2,maxmem=4G " MEM
					  " " NET("0", "ptnet-a", "")},
	/* an id that is taken */
	{"-object rng-random,id=ptnet-ram " PORT_A " " DEVICE_A,
		"QEMU -object memory-backend-memfd,id=ptnet-ram1,size=134217728,share=on "
		"-machine memory-backend=ptnet-ram1 -nic none -object rng-random,id=ptnet-ram " MEM
		" " NET("0", "ptnet-a", "")},
	/* memory of the user's own, if it is a shared memfd */
	{"-object memory-backend-memfd,id=m,size=1G,hugetlb=on,share=on,seal=on "
	 "-machine q35,memory-backend=m " PORT_A " " DEVICE_A,
		"QEMU -nic none -object memory-backend-memfd,id=m,size=1G,hugetlb=on,share=on,seal=on "
		"-machine q35,memory-backend=m " MEM " " NET("0", "ptnet-a", "")},
	{"-object memory-backend-memfd,id=m,size=1G -numa node,memdev=m " PORT_A " " DEVICE_A,
		"QEMU -nic none -object memory-backend-memfd,id=m,size=1G -numa node,memdev=m " MEM
		" " NET("0", "ptnet-a", "")},
	{"-object {\"qom-type\":\"memory-backend-memfd\",\"id\":\"m\",\"size\":1024,\"share\":true} "
	 "-device pc-dimm,memdev=m " PORT_A " " DEVICE_A,
		"QEMU " RAM_DEFAULT " -nic none -object "
		"{\"qom-type\":\"memory-backend-memfd\",\"id\":\"m\",\"size\":1024,\"share\":true} "
		"-device pc-dimm,memdev=m " MEM " " NET("0", "ptnet-a", "")},
	/* our own options don't reach QEMU */
	{"--quiet --qemu /q --socket=/s --netmapd /n --print " PORT_A " " DEVICE_A,
		"QEMU " RAM_DEFAULT " -nic none " MEM " " NET("0", "ptnet-a", "")},
};

static void test_commands(void **state)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		int error;
		char *got = command_for(commands[i].line, COMMAND_ACCEL_USER, &error);

		assert_string_equal(got, commands[i].command);
		assert_int_equal(error, 0);
		free(got);
	}
}

static void test_regions(void **state)
{
	int error;
	char *got = command_for(PORT_A
		" " DEVICE_A " " PORT_B " " DEVICE_B
		" -netdev netmap,ifname=netmap:p{1,id=c,passthrough=yes -device ptnet-pci,netdev=c"
		" -netdev netmap,ifname=netmap:p}1,id=d,passthrough=true -device ptnet-pci,netdev=d",
		COMMAND_ACCEL_USER, &error);
	static const char mem2[] = VFIO("/r/mem2", "ptnet-mem1", "");

	char *want = text_format("QEMU %s -nic none %s %s %s %s %s %s", RAM_DEFAULT, MEM, mem2,
		NET("0", "ptnet-a", ""), NET("1", "ptnet-b", ""), NET("2", "ptnet-c", ""),
		NET("3", "ptnet-d", ""));

	assert_string_equal(got, want);
	free(want);
	free(got);
}

static void test_accel(void **state)
{
	static const struct {
		const char *line;
		enum command_accel accel;
		const char *start;
	} cases[] = {
		{PORT_A " " DEVICE_A, COMMAND_ACCEL_KVM, "QEMU -accel kvm -cpu host -object "},
		{PORT_A " " DEVICE_A, COMMAND_ACCEL_TCG,
			"QEMU -accel tcg,thread=multi -cpu "
			"max,erms=off,fsrm=off,fsrs=off,fzrm=off -object "},
		{PORT_A " " DEVICE_A " -cpu qemu64", COMMAND_ACCEL_TCG,
			"QEMU -accel tcg,thread=multi -object "},
		{PORT_A " " DEVICE_A " -accel tcg", COMMAND_ACCEL_KVM, "QEMU -object "},
		{PORT_A " " DEVICE_A " -enable-kvm", COMMAND_ACCEL_TCG, "QEMU -object "},
		{PORT_A " " DEVICE_A " -M pc,accel=tcg", COMMAND_ACCEL_KVM, "QEMU -object "},
		{PORT_A " " DEVICE_A " -machine accel=kvm:tcg", COMMAND_ACCEL_TCG, "QEMU -object "},
		{PORT_A " " DEVICE_A " -machine q35", COMMAND_ACCEL_KVM,
			"QEMU -accel kvm -cpu host -object "},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int error;
		char *got = command_for(cases[i].line, cases[i].accel, &error);

		assert_memory_equal(got, cases[i].start, strlen(cases[i].start));
		free(got);
	}
}

static const struct {
	const char *line, *text; /* a part of the error's text */
} refusals[] = {
	{PORT_A, "netmap,id=a has no device"},
	{DEVICE_A, "netdev=a: there is no -netdev netmap"},
	{"-netdev user,id=a " DEVICE_A, "netdev=a: there is no -netdev netmap"},
	{"-device ptnet-pci", "needs netdev=ID"},
	{PORT_A " " PORT_A " " DEVICE_A, "two -netdev have id=a"},
	{PORT_A " -netdev user,id=a " DEVICE_A, "two -netdev have id=a"},
	{"-netdev user,id=a " PORT_A " " DEVICE_A, "two -netdev have id=a"},
	{"-netdev user,id=b -nic netmap,ifname=vale1:1,passthrough=on,id=b",
		"two -netdev have id=b"},
	{PORT_A " " DEVICE_A " " DEVICE_A, "two -device ptnet-pci use netdev=a"},
	{PORT_A " -device virtio-net-pci,netdev=a", "not virtio-net-pci"},
	{"-netdev netmap,ifname=vale0:1,passthrough=on", "needs id="},
	{"-netdev netmap,ifname=vale0:1,id=,passthrough=on", "a name is a letter"},
	{"-netdev netmap,ifname=vale0:1,id=1a,passthrough=on", "a name is a letter"},
	{"-netdev netmap,ifname=vale0:1,id=a:b,passthrough=on", "a name is a letter"},
	{"-netdev netmap,id=a,passthrough=on", "needs ifname=PORT"},
	{"-netdev netmap,id=a,ifname=,passthrough=on", "needs ifname=PORT"},
	{"-netdev netmap,id=a,ifname=vale0:1", "needs passthrough=on"},
	{"-netdev netmap,id=a,ifname=vale0:1,passthrough=off", "needs passthrough=on"},
	{"-netdev netmap,id=a,ifname=vale0:1,passthrough=perhaps", "neither on nor off"},
	{"-netdev netmap,id=a,ifname=vale0:1,passthrough=on,ifnam=v", "no option 'ifnam'"},
	{"-netdev netmap,id=a,ifname=vale0:1,passthrough=on,id=a", "id= twice"},
	{"-netdev netmap,id=a,ifname=vale0:1,passthrough=on,", "has no device"},
	{"-netdev {\"type\":\"netmap\",\"id\":\"a\",\"ifname\":{\"x\":1}}", "plain value"},
	{"-netdev netmap,id=a,passthrough=on,ifname="
	 "vale0:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"has 64 bytes, at most 63"},
	{PORT_A " " DEVICE_A ",mac=02:11:22:33:44", "no address"},
	{PORT_A " " DEVICE_A ",mac=02:11:22:33:44:5g", "no address"},
	{PORT_A " " DEVICE_A ",mac=02:11:22:33:44:555", "no address"},
	{PORT_A " " DEVICE_A ",mac=02:11:22:33:44:55:66", "no address"},
	{PORT_A " " DEVICE_A ",mac=", "no address"},
	{PORT_A " " DEVICE_A ",mac", "no address"},
	{PORT_A " " DEVICE_A ",mac=01:00:5e:00:00:01", "multicast"},
	{PORT_A " " DEVICE_A ",mac=ff:ff:ff:ff:ff:ff", "multicast"},
	{PORT_A " " DEVICE_A ",mac=0:0:0:0:0:0", "no address of a port"},
	{PORT_A " " DEVICE_A ",rx_queue_size=3", "no option 'rx_queue_size'"},
	{PORT_A " " DEVICE_A ",id=7", "a name is a letter"},
	{PORT_A " " DEVICE_A ",multifunction=2", "neither on nor off"},
	{PORT_A " " DEVICE_A ",acpi-index=-1", "no number"},
	{PORT_A " " DEVICE_A ",acpi-index=1234567890", "no number"},
	{PORT_A " " DEVICE_A " -m 5x", "no size of memory"},
	{PORT_A " " DEVICE_A " -m size=,slots=1", "no size of memory"},
	{PORT_A " " DEVICE_A " -m -5", "no size of memory"},
	{PORT_A " " DEVICE_A " -m 99999999999999999999", "no size of memory"},
	{PORT_A " " DEVICE_A " -mem-path /dev/hugepages", "-mem-path"},
	{PORT_A " " DEVICE_A " -machine pc,memory.size=1G", "with -m"},
	{PORT_A " " DEVICE_A " -M pc,memory-backend=x", "no -object with this id"},
	{PORT_A " " DEVICE_A
		" -M memory-backend=x -object memory-backend-ram,id=x,size=1G,share=on",
		"-M memory-backend=x: this memory must be a memory-backend-memfd"},
	{PORT_A " " DEVICE_A " -machine memory-backend=x -object "
		"memory-backend-file,id=x,size=1G,share=on,mem-path=/x",
		"-machine memory-backend=x: this memory must be a memory-backend-memfd"},
	{PORT_A " " DEVICE_A
		" -machine memory-backend=x -object memory-backend-memfd,id=x,size=1G,share=off",
		"set share=on"},
	{PORT_A " " DEVICE_A
		" -machine memory-backend=x -object memory-backend-memfd,id=x,size=1G,seal=off",
		"set seal=on"},
	{PORT_A " " DEVICE_A " -numa node,memdev=x -object memory-backend-ram,id=x,size=1G",
		"-numa memdev=x"},
	{PORT_A " " DEVICE_A " -object memory-backend-ram,id=x,size=1G "
		"-device virtio-mem-pci,memdev=x",
		"-device memdev=x"},
	{PORT_A " " DEVICE_A ",mem-id=7", "mem-id='7': a name is a letter"},
	{PORT_A " " PORT_B " " DEVICE_A ",mem-addr=6 " DEVICE_B ",mem-addr=7",
		"netdev=b: mem-addr=7, but netdev=a, which has the same memory device, says 6"},
	{"-nic netmap,ifname=vale1:10", "needs passthrough=on"},
	{"-nic netmap,passthrough=on", "needs ifname=PORT"},
	{"-nic netmap,ifname=vale1:10,passthrough=on,netdev=a",
		"-nic netmap has no option 'netdev'"},
	{"-nic netmap,ifname=vale1:10,passthrough=on,model=e1000", "model=e1000 can't serve"},
	{"-nic netmap,ifname=vale1:10,passthrough=on,mac=1", "no address"},
	{PORT_A " " DEVICE_A " -nic netmap,ifname=vale1:11,id=a,passthrough=on",
		"two -netdev have id=a"},
	{"-nic tap,model=ptnet-pci",
		"-nic tap,model=ptnet-pci: this model serves netmap ports only"},
	{"-net nic,model=ptnet-pci", "use -nic netmap,ifname=PORT"},
	{"-net netmap,ifname=vale1:10", "no member of a hub"},
	{"--qemu", "--qemu needs a path"},
	{"--socket=", "--socket needs a path"},
	{"--netmapd= " PORT_A, "--netmapd needs a path"},
	{"--print=yes", "--print takes no value"},
	{"--bar-min", "--bar-min needs a size"},
	{"--bar-min=3G " PORT_A, "--bar-min 3G: not a power of two from 1M to 1T"},
	{"--bar-min 512K " PORT_A, "--bar-min 512K: "},
	{"--bar-min 2T " PORT_A, "--bar-min 2T: "},
	{"--bar-min 4GiB " PORT_A, "--bar-min 4GiB: "},
	{"--bar-min -4G " PORT_A, "--bar-min -4G: "},
};

static void test_refusals(void **state)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		int error;
		char *got = command_for(refusals[i].line, COMMAND_ACCEL_USER, &error);

		if (error != -EINVAL || !strstr(got, refusals[i].text) || strchr(got, '\n'))
			fail_msg("%s: error %d, text: %s", refusals[i].line, error, got);
		free(got);
	}
}

static void test_opts(void **state)
{
	struct opts o;

	assert_int_equal(opts_parse(&o, "netmap,a=1,,2=3,b,=x,,", "type"), 0);
	assert_int_equal(o.count, 4);
	assert_string_equal(opts_get(&o, "type"), "netmap");
	assert_string_equal(opts_get(&o, "a"), "1,2=3");
	assert_string_equal(opts_get(&o, "b"), "on");
	assert_string_equal(opts_get(&o, ""), "x,");
	opts_free(&o);

	assert_int_equal(opts_parse(&o, "a=1,a=2", "type"), 0);
	assert_null(opts_get(&o, "type"));
	assert_string_equal(opts_get(&o, "a"), "2");
	assert_string_equal(opts_repeated(&o), "a");
	opts_free(&o);

	assert_int_equal(opts_parse(&o, "", "type"), 0);
	assert_int_equal(o.count, 0);
	opts_free(&o);

	assert_int_equal(opts_parse(&o, "{\"a\": 5, \"b\": false, \"c\": [1]}", "type"), 0);
	assert_string_equal(opts_get(&o, "a"), "5");
	assert_string_equal(opts_get(&o, "b"), "off");
	assert_true(opts_has(&o, "c"));
	assert_null(opts_get(&o, "c"));
	opts_free(&o);

	assert_int_equal(opts_parse(&o, "{\"a\": ", "type"), -EINVAL);
	assert_int_equal(o.count, 0);
	opts_free(&o);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0: refused */
	} sizes[] = {
		{"512", 512ULL << 20},
		{"1G", 1ULL << 30},
		{"1g", 1ULL << 30},
		{"1.5G", 3ULL << 29},
		{"0.25g", 1ULL << 28},
		{"262144K", 1ULL << 28},
		{"1T", 1ULL << 40},
		{"1E", 1ULL << 60},
		{"134217728B", 128ULL << 20},
		{"1B", 8192}, /* rounded up */
		{"4294967296", 1ULL << 52},
		{"4E", 0},
		{"1.5", 0},
		{"4398046511104", 0},
		{"18446744073709551616", 0},
		{"", 0},
		{"G", 0},
		{".5G", 0},
		{"1GB", 0},
		{"1 G", 0},
		{"+1", 0},
		{"0x10", 0},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t bytes = 0;
		int ret = memory_parse_size(sizes[i].text, &bytes);

		if (ret != (sizes[i].bytes ? 0 : -EINVAL) || bytes != sizes[i].bytes)
			fail_msg("%s: %d, %llu bytes", sizes[i].text, ret,
				(unsigned long long)bytes);
	}
}

static void test_mac(void **state)
{
	uint8_t mac[6];

	assert_int_equal(ports_parse_mac("00:AA:BB:CC:0a:5", mac), 0);
	assert_memory_equal(mac, "\x00\xaa\xbb\xcc\x0a\x05", 6);
	assert_int_equal(ports_parse_mac("00:AA:BB:CC:0a:05 ", mac), -EINVAL);
	assert_int_equal(ports_parse_mac("00:AA:BB::0a:05", mac), -EINVAL);
}

/* Words that a shell has to give back as they were. */
static const char *const words[] = {"plain-1.0=/x,y:z@%+", "two words", "", "it's", "''", "$HOME",
	"a\\b", "\"q\"", "*", "~", "new\nline", "{\"a\":1}", "#", "a;b|c&d"};

static void test_shell_quoting(void **state)
{
	struct text_argv command = {0};
	char *line = NULL, got[64];
	size_t size;
	FILE *f;

	text_argv_add(&command, "printf");
	text_argv_add(&command, "%s\\0");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		text_argv_add(&command, words[i]);
	f = open_memstream(&line, &size);
	assert_int_equal(command_print(&command, f), 0);
	fclose(f);

	f = popen(line, "r");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = 0;
		int c;

		while ((c = fgetc(f)) > 0 && n < sizeof(got) - 1)
			got[n++] = c;
		got[n] = '\0';
		assert_string_equal(got, words[i]);
	}
	assert_int_equal(fgetc(f), EOF);
	assert_int_equal(pclose(f), 0);
	free(line);
	text_argv_free(&command);
}

static void test_json_quoting(void **state)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char *quoted = text_json(words[i]);
		json_t *value = json_loads(quoted, JSON_DECODE_ANY, NULL);

		assert_non_null(value);
		assert_string_equal(json_string_value(value), words[i]);
		json_decref(value);
		free(quoted);
	}
}

static void test_vm_name(void **state)
{
	static const struct {
		const char *line, *name;
	} cases[] = {
		{"-m 1G", ""},
		{"-name one", "one"},
		{"-name guest=two,process=x", "two"},
		{"-name process=x", ""},
		{"-name 123456789012345", "1234567"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *copy = text_dup(cases[i].line), *argv[WORDS_MAX], name[8], err[TEXT_ERR];
		struct scan scan;

		assert_int_equal(scan_parse(&scan, split(copy, argv), argv, err), 0);
		command_vm_name(&scan, name, sizeof(name));
		assert_string_equal(name, cases[i].name);
		scan_free(&scan);
		free(copy);
	}
}

/* A directory for the files of one test, removed behind it. */
struct room {
	char dir[32];
};

static int setup_room(void **state)
{
	struct room *r = calloc(1, sizeof(*r));

	strcpy(r->dir, "/tmp/qemu-ptnet-XXXXXX");
	*state = r;
	return mkdtemp(r->dir) ? 0 : -1;
}

static int teardown_room(void **state)
{
	struct room *r = *state;
	char *argv[] = {"rm", "-rf", r->dir, NULL}, *out;
	struct child c = {.argv = argv, .capture = CHILD_STDERR, .seconds = 10};
	int status = child_run(&c, &out);

	free(out);
	free(r);
	return status;
}

static char *write_file(struct room *r, const char *name, const char *content)
{
	char *path = text_format("%s/%s", r->dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(content, f);
	fclose(f);
	chmod(path, 0755);
	return path;
}

static void test_kvm(void **state)
{
	struct room *r = *state;
	char *intel = write_file(r, "intel", "vmx : no\nflags\t\t: fpu vme vmx sse\nflags : x\n");
	char *amd = write_file(r, "amd", "model name : vmx\nflags\t\t: fpu svm\n");
	char *none =
		write_file(r, "none", "model name : vmx\nflags\t\t: svm_lock vmxnet fpu xsvm\n");
	char why[TEXT_ERR] = "";

	assert_true(accel_cpu_has_virtualization(intel));
	assert_true(accel_cpu_has_virtualization(amd));
	assert_false(accel_cpu_has_virtualization(none));
	assert_false(accel_cpu_has_virtualization("/nonexistent"));

	assert_false(accel_kvm_usable("/nonexistent/kvm", intel, why));
	assert_non_null(strstr(why, "/nonexistent/kvm: No such file"));
	assert_false(accel_kvm_usable("/dev/null", intel, why));
	assert_non_null(strstr(why, "/dev/null is no KVM"));
	free(intel);
	free(amd);
	free(none);
}

#define FAKE_QEMU(version, devices)                                                           \
	"#!/bin/sh\ncase \"$*\" in\n*-version*) echo 'QEMU emulator version " version "';;\n" \
	"*help*) echo '" devices "';;\nesac\n"

#define VFIO_USER "name \"vfio-user-pci\", bus PCI"

static void expect_qemu(const char *chosen, bool vfio_user, int error, const char *text)
{
	char *path = NULL, err[TEXT_ERR] = "";
	int ret = qemu_find(chosen, vfio_user, &path, err);

	if (ret != error || !strstr(path ? path : err, text))
		fail_msg("%d, %s; expected %d, %s", ret, path ? path : err, error, text);
	free(path);
}

static void test_find_qemu(void **state)
{
	struct room *r = *state;
	char *path = text_dup(getenv("PATH")), *empty = text_format("%s/empty", r->dir);
	char *bin = text_format("%s/bin", r->dir), *cache = text_format("%s/cache", r->dir);
	char *tool_path = text_format("%s:%s", bin, path), *private;
	char *old = write_file(r, "old", FAKE_QEMU("7.2.22 (Debian)", "name \"e1000\"")), *system;
	char *plain = write_file(r, "plain", FAKE_QEMU("10.2.0", "name \"e1000\""));
	char *good = write_file(r, "good", FAKE_QEMU("10.1.0", VFIO_USER));
	char *broken = write_file(r, "broken", "#!/bin/sh\nexit 3\n");

	mkdir(empty, 0755);
	mkdir(bin, 0755);
	setenv("PTNETMAP_CACHE", cache, 1);
	setenv("PATH", empty, 1);
	unsetenv("QEMU_PTNET_QEMU");
	expect_qemu(NULL, true, -ENOENT, "no qemu-system-x86_64 in PATH; install");
	expect_qemu(NULL, false, -ENOENT, "no qemu-system-x86_64 in PATH");
	setenv("PATH", tool_path, 1);

	/* a chosen one, and no other */
	expect_qemu(good, true, 0, "/good");
	expect_qemu(old, false, 0, "/old");
	expect_qemu(old, true, -ENOEXEC, "QEMU 7.2.22, which is too old: vfio-user needs 10.1");
	expect_qemu(plain, true, -ENOEXEC, "QEMU 10.2.0, but built without vfio-user-pci");
	expect_qemu(broken, true, -ENOEXEC, "doesn't work as a QEMU");
	expect_qemu("/nonexistent", true, -ENOENT, "/nonexistent is no program");
	expect_qemu(r->dir, true, -ENOENT, "is no program");
	setenv("QEMU_PTNET_QEMU", old, 1);
	expect_qemu(NULL, true, -ENOEXEC, "trixie-backports");
	expect_qemu(good, true, 0, "/good");
	unsetenv("QEMU_PTNET_QEMU");

	/* the system's if it can, else the private one */
	system = write_file(r, "bin/qemu-system-x86_64", FAKE_QEMU("7.2.22", ""));
	expect_qemu(NULL, true, -ENOENT, "/bin/qemu-system-x86_64 is QEMU 7.2.22");
	expect_qemu(NULL, false, 0, "/bin/qemu-system-x86_64");
	mkdir(cache, 0755);
	private = text_format("%s/qemu", cache);
	mkdir(private, 0755);
	free(private);
	private = text_format("%s/qemu/bin", cache);
	mkdir(private, 0755);
	free(private);
	private =
		write_file(r, "cache/qemu/bin/qemu-system-x86_64", FAKE_QEMU("11.1.3", VFIO_USER));
	expect_qemu(NULL, true, 0, "/cache/qemu/bin/");
	expect_qemu(NULL, false, 0, "/bin/qemu-system-x86_64");
	free(system);
	system = write_file(r, "bin/qemu-system-x86_64", FAKE_QEMU("10.1.0", VFIO_USER));
	setenv("PTNETMAP_CACHE", empty, 1);
	expect_qemu(NULL, true, 0, "/bin/qemu-system-x86_64");

	setenv("PATH", path, 1);
	unsetenv("PTNETMAP_CACHE");
	char *all[] = {
		path, empty, bin, cache, tool_path, private, old, plain, good, broken, system};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		free(all[i]);
}

static int run_shell(
	const char *script, enum child_capture capture, unsigned int seconds, char **out)
{
	char *argv[] = {"sh", "-c", (char *)script, NULL};
	struct child c = {.argv = argv,
		.capture = capture,
		.setenv = "SOME",
		.value = "thing",
		.seconds = seconds};

	return child_run(&c, out);
}

static void test_child(void **state)
{
	struct timespec start, end;
	int fd = dup(STDOUT_FILENO); /* must not reach the child */
	char *out, *script;

	assert_int_equal(run_shell("echo a $SOME; echo b >&2; exit 3", CHILD_STDOUT, 10, &out), 3);
	assert_string_equal(out, "a thing\n");
	free(out);
	assert_int_equal(run_shell("echo a; echo b >&2", CHILD_STDERR, 10, &out), 0);
	assert_string_equal(out, "b\n");
	free(out);
	assert_int_equal(run_shell("kill -9 $$", CHILD_STDOUT, 10, &out), 128 + 9);
	free(out);
	script = text_format("test ! -e /proc/self/fd/%d", fd);
	assert_int_equal(run_shell(script, CHILD_STDOUT, 10, &out), 0);
	free(script);
	free(out);
	close(fd);

	/* what it leaves behind, even with its output open, isn't waited for */
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(run_shell("sleep 60 2>/dev/null & echo up", CHILD_STDOUT, 40, &out), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_string_equal(out, "up\n");
	assert_true(end.tv_sec - start.tv_sec < 30);
	free(out);

	assert_int_equal(run_shell("exec sleep 30", CHILD_STDOUT, 0, &out), -ETIMEDOUT);
	free(out);

	/* far more output than a pipe or the buffer holds */
	assert_int_equal(
		run_shell("head -c 1000000 /dev/zero | tr '\\0' x", CHILD_STDOUT, 20, &out), 0);
	assert_int_equal(strlen(out), CHILD_OUTPUT_MAX);
	free(out);
}

static void test_flags(void **state)
{
	assert_true(scan_is_flag("enable-kvm"));
	assert_true(scan_is_flag("nographic"));
	assert_false(scan_is_flag("netdev"));
	assert_false(scan_is_flag("m"));
	assert_false(scan_is_flag("append"));
}

static void test_example_sockets(void **state)
{
	struct command_sockets sockets[2] = {{0}};
	struct ports ports = {.count = 2};
	char err[TEXT_ERR];

	assert_int_equal(daemon_example_sockets("/a/b/socket", &ports, sockets, err), 0);
	assert_string_equal(sockets[0].mem_path, "/a/b/vm1/mem");
	assert_string_equal(sockets[1].mem_path, sockets[0].mem_path);
	assert_string_equal(sockets[0].net_path, "/a/b/vm1/net0");
	assert_string_equal(sockets[1].net_path, "/a/b/vm1/net1");
	daemon_free_sockets(sockets, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opts),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_accel),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_vm_name),
		cmocka_unit_test(test_shell_quoting),
		cmocka_unit_test(test_json_quoting),
		cmocka_unit_test(test_example_sockets),
		cmocka_unit_test_setup_teardown(test_kvm, setup_room, teardown_room),
		cmocka_unit_test_setup_teardown(test_find_qemu, setup_room, teardown_room),
		cmocka_unit_test(test_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
