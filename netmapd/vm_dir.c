/* SPDX-License-Identifier: BSD-2-Clause */
/* The directories of virtual machines' sockets. */
#include "policy.h"
#include "vm.h"
#include "listener.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* DIR of the control socket, its length. */
static int parent_length(const struct daemon *d)
{
	return (int)(strrchr(d->config.socket_path, '/') - d->config.socket_path);
}

/* DIR + /vmN, into vm->dir. */
static int name_dir(struct vm *vm, struct nm_error *err)
{
	const char *socket = vm->daemon->config.socket_path;
	int n = snprintf(vm->dir, sizeof(vm->dir), "%.*s/vm%u", parent_length(vm->daemon), socket,
		vm->number);

	/* Behind it come /mem32 and /net31. */
	if (n < 0 || (size_t)n + sizeof("/net31" LISTENER_TEMP) > sizeof(vm->dir)) {
		return nm_error_set(err, -ENAMETOOLONG,
			"the path of the control socket is too long: %s", socket);
	}
	return 0;
}

/* Open, and this user's alone? Others must not be able to put sockets of theirs there. */
static int open_own_dir(const char *dir, int *fd)
{
	struct stat st;

	*fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	if (fstat(*fd, &st) < 0)
		return -errno;
	return st.st_uid == geteuid() && (st.st_mode & 066) == 0 ? 0 : -EPERM;
}

/* Locked, as long as the descriptor is open, and still there? Else -EWOULDBLOCK. */
static int lock_dir(const char *dir, int fd)
{
	struct stat here, there;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (fstat(fd, &here) < 0 || lstat(dir, &there) < 0 || here.st_ino != there.st_ino ||
		here.st_dev != there.st_dev)
		return -EWOULDBLOCK;
	return 0;
}

/* Sockets NAME0 to NAME<n - 1>, also those that did not listen yet. */
static void remove_sockets(int fd, const char *name, int n)
{
	char path[24];

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s%d", name, i);
		unlinkat(fd, path, 0);
		snprintf(path, sizeof(path), "%s%d" LISTENER_TEMP, name, i);
		unlinkat(fd, path, 0);
	}
}

/* What a killed netmapd left there. */
static void empty_dir(int fd)
{
	unlinkat(fd, "mem", 0);
	unlinkat(fd, "mem" LISTENER_TEMP, 0);
	remove_sockets(fd, "mem", VM_REGIONS_MAX);
	remove_sockets(fd, "net", VM_PORTS_MAX);
}

static int try_dir(struct vm *vm, struct nm_error *err)
{
	int error = name_dir(vm, err);
	bool made;

	if (error)
		return error;
	made = mkdir(vm->dir, 0700) == 0;
	/* All may pass: the sockets look who comes. */
	if (policy_active() && made && chmod(vm->dir, 0711) < 0)
		os_log(OS_LOG_WARN, "%s: users can't get in: %s", vm->dir, strerror(errno));
	error = !made && errno != EEXIST ? -errno : open_own_dir(vm->dir, &vm->dir_fd);
	if (!error)
		error = lock_dir(vm->dir, vm->dir_fd);
	if (!error) {
		empty_dir(vm->dir_fd);
		return 0;
	}
	if (error == -EPERM)
		nm_error_set(
			err, error, "%s exists and is open to other users: remove it", vm->dir);
	else
		nm_error_set(err, error, "can't make %s: %s", vm->dir, strerror(-error));
	if (made)
		(void)rmdir(vm->dir);
	vm->dir[0] = '\0';
	if (vm->dir_fd >= 0)
		close(vm->dir_fd);
	vm->dir_fd = -1;
	return error;
}

/*
 * A directory that a killed netmapd left is used again; one that is locked belongs to another
 * netmapd, whose control socket lies beside ours: then the next number is tried.
 */
int vm_dir_make(struct vm *vm, struct nm_error *err)
{
	int error;

	do {
		vm->number = ++vm->daemon->next_vm;
		error = try_dir(vm, err);
	} while (error == -EWOULDBLOCK);
	return error;
}

void vm_dir_remove(struct vm *vm)
{
	if (vm->dir[0] && rmdir(vm->dir) < 0 && errno != ENOENT)
		os_log(OS_LOG_WARN, "can't remove %s: %s", vm->dir, strerror(errno));
	if (vm->dir_fd >= 0)
		close(vm->dir_fd); /* and with it the lock */
}

static bool is_vm_dir(const char *name)
{
	return strncmp(name, "vm", 2) == 0 && name[2] != '\0' &&
	       name[2 + strspn(name + 2, "0123456789")] == '\0';
}

/* One that is locked is in use, and one that holds other files is not only ours: they stay. */
static void clean_one(const char *dir)
{
	int fd = -1;

	if (open_own_dir(dir, &fd) == 0 && lock_dir(dir, fd) == 0) {
		empty_dir(fd);
		if (rmdir(dir) == 0)
			os_log(OS_LOG_DEBUG, "%s was left by a netmapd that was killed", dir);
	}
	if (fd >= 0)
		close(fd);
}

void vm_dir_clean(const struct daemon *d)
{
	char path[2 * NMD_PATH_MAX + 256];
	int length = parent_length(d);
	const struct dirent *entry;
	DIR *parent;

	snprintf(path, sizeof(path), "%.*s/", length, d->config.socket_path);
	parent = opendir(path);
	if (!parent)
		return;
	while ((entry = readdir(parent))) {
		if (!is_vm_dir(entry->d_name))
			continue;
		snprintf(path, sizeof(path), "%.*s/%s", length, d->config.socket_path,
			entry->d_name);
		clean_one(path);
	}
	closedir(parent);
}
