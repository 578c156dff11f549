/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kexec - starts another kernel from this one, without the firmware in between.
 *
 *	kexec now KERNEL INITRAMFS	at once, as `reboot` would
 *	kexec crash KERNEL INITRAMFS	loads it into the memory of crashkernel=, for when this one panics
 *
 * The new kernel gets this one's command line; one for crashes is told to use a single CPU.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "kexec: %s", path);
	return fd;
}

/* Returns its length with the 0 at its end. */
static unsigned long command_line(char *line, size_t size, const char *more)
{
	FILE *file = fopen("/proc/cmdline", "re");

	if (!file || !fgets(line, (int)size, file))
		err(1, "kexec: /proc/cmdline");
	fclose(file);
	line[strcspn(line, "\n")] = 0;
	if (strlen(line) + strlen(more) >= size)
		errx(1, "kexec: the command line has %zu bytes, there is room for %zu",
			strlen(line) + strlen(more), size - 1);
	strcat(line, more);
	return strlen(line) + 1;
}

int main(int argc, char **argv)
{
	int crash = argc == 4 && strcmp(argv[1], "crash") == 0;
	char line[2048];
	unsigned long length;

	if (!crash && (argc != 4 || strcmp(argv[1], "now") != 0))
		errx(2, "kexec: usage: kexec now|crash KERNEL INITRAMFS");
	length = command_line(line, sizeof(line), crash ? " nr_cpus=1" : "");
	if (syscall(SYS_kexec_file_load, open_file(argv[2]), open_file(argv[3]), length, line,
		    crash ? KEXEC_FILE_ON_CRASH : 0UL) != 0)
		err(1, "kexec: %s can't be loaded", argv[2]);
	if (crash)
		return 0;
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	err(1, "kexec: the kernel that was loaded doesn't start");
}
