/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file: a line "using PID" or "ending PID" of fixed length, then a line per offload. A removed file that somebody has opened
 * before is no claim: after locking it is checked to be still the one at the path.
 */
#include "claim.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deferral.h"
#include "device.h"
#include "log.h"
#include "netlink.h"
#include "twin.h"
#include "waiting.h"

enum { STATE_BYTES = 24, FILE_MAX = STATE_BYTES + CHANGES_MAX * (CHANGE_MAX + 1) };

/* In front of a feature of the other end. */
#define PEER "peer/"

/* In front of a twin's number. */
#define TWIN "twin/"

/* Off while a NIC is in use. GRO of the kernel comes behind the program, or pauses. */
static const char *const unwanted[] = {
	"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-lro", "rx-gro-hw"};

/*
 * Off at the other end of a veth: its stack would hand tags over beside the frame, where AF_XDP doesn't show them, and a frame of a
 * VLAN would come as one without.
 */
static const char *const unwanted_there[] = {
	PEER "tx-vlan-hw-insert", PEER "tx-vlan-stag-hw-insert"};

enum {
	NUM_UNWANTED = sizeof(unwanted) / sizeof(unwanted[0]),
	NUM_UNWANTED_THERE = sizeof(unwanted_there) / sizeof(unwanted_there[0]),
};

/* ---- the file --------------------------------------------------------------------------------- */

static void write_state(struct claim *c, const char *state)
{
	char text[FILE_MAX];
	int n = snprintf(text, sizeof(text), "%-*s\n", STATE_BYTES - 1, state);

	for (uint32_t i = 0; i < c->count; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s\n", c->change[i]);
	if (pwrite(c->fd, text, (size_t)n, 0) != n || ftruncate(c->fd, n) != 0)
		nic_log("%s: can't be written: %s", c->path, strerror(errno));
}

static bool is_twin(const char *change)
{
	return strncmp(change, TWIN, strlen(TWIN)) == 0;
}

static bool is_change(const char *name)
{
	for (int i = 0; i < NUM_UNWANTED; i++)
		if (strcmp(name, unwanted[i]) == 0)
			return true;
	for (int i = 0; i < NUM_UNWANTED_THERE; i++)
		if (strcmp(name, unwanted_there[i]) == 0)
			return true;
	if (strlen(name) >= CHANGE_MAX)
		return false;
	return strcmp(name, CLAIM_FILTER) == 0 || is_twin(name) || deferral_is_note(name);
}

/* What another one has written: its state, and its changes to c. */
static bool read_state(struct claim *c)
{
	char text[FILE_MAX], *line, *rest = text;
	ssize_t n = pread(c->fd, text, sizeof(text) - 1, 0);
	bool ending;

	c->count = 0;
	if (n < STATE_BYTES)
		return false;
	text[n] = '\0';
	ending = strncmp(text, "ending", 6) == 0;
	strsep(&rest, "\n");
	while ((line = strsep(&rest, "\n")) && c->count < CHANGES_MAX)
		if (is_change(line))
			strcpy(c->change[c->count++], line);
	return ending;
}

static int make_path(struct claim *c, const char *dir, uint32_t ifindex, struct nm_error *err)
{
	struct stat ns;

	c->ifindex = ifindex;
	if (stat("/proc/self/ns/net", &ns) < 0)
		return nm_error_set(err, -errno, "/proc/self/ns/net: %s", strerror(errno));
	if (snprintf(c->path, sizeof(c->path), "%s/%llu-%u", dir, (unsigned long long)ns.st_ino,
		    ifindex) >= (int)sizeof(c->path))
		return nm_error_set(err, -ENAMETOOLONG,
			"the path of the state directory is too long: %.100s", dir);
	return 0;
}

/* Opens and locks; -EBUSY: another one has it, and *ending says how. */
static int try_lock(struct claim *c, bool *ending)
{
	struct stat mine, there;
	int error = 0;

	c->fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->fd < 0)
		return -errno;
	if (flock(c->fd, LOCK_EX | LOCK_NB) < 0) {
		*ending = read_state(c);
		error = -EBUSY;
	} else if (fstat(c->fd, &mine) < 0 || stat(c->path, &there) < 0 ||
		   mine.st_ino != there.st_ino) {
		*ending = true; /* it was removed meanwhile */
		error = -EBUSY;
	}
	if (error) {
		close(c->fd);
		c->fd = -1;
		c->count = 0; /* they are the owner's, and in use */
	}
	return error;
}

int claim_dir(const char *dir, struct nm_error *err)
{
	struct stat st;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return nm_error_set(err, -errno,
			"the state directory %.100s can't be made: %s; name another one by --state",
			dir, strerror(errno));
	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
		(st.st_mode & 022))
		return nm_error_set(err, -EPERM,
			"the state directory %.100s must be a directory that only this user can write to",
			dir);
	/* It was made for its owner alone once, where others don't find the socket. */
	if ((st.st_mode & 0777) == 0700 && chmod(dir, 0755) < 0)
		return nm_error_set(err, -errno,
			"the state directory %.100s can't be opened to others: %s", dir,
			strerror(errno));
	return 0;
}

int claim_take(struct claim *c, const char *dir, const struct nic_facts *f, struct nm_error *err)
{
	struct waiting waiting = {
		.ifname = f->ifname, .what = "for another netmapd-nic to give it back"};
	bool ending = false;
	int error = make_path(c, dir, f->ifindex, err);

	c->fd = -1;
	if (error)
		return error;
	while ((error = try_lock(c, &ending)) == -EBUSY &&
		waiting_more(&waiting, ending ? CLAIM_ENDING_MS : CLAIM_USED_MS))
		;
	if (error == -EBUSY)
		return nm_error_set(err, error, "%s: in use by another netmapd", f->ifname);
	if (error)
		return nm_error_set(err, error, "%s: %s: %s", f->ifname, c->path, strerror(-error));
	read_state(c);
	claim_restore(c);
	write_state(c, "using");
	return 0;
}

void claim_ending(struct claim *c)
{
	c->ending = true;
	if (c->fd >= 0)
		write_state(c, "ending");
}

void claim_note(struct claim *c, const char *change)
{
	os_assert(c->count < CHANGES_MAX);
	strcpy(c->change[c->count++], change);
	write_state(c, c->ending ? "ending" : "using");
}

/* What is at i is not there any more. */
static void forget(struct claim *c, uint32_t i)
{
	c->count--;
	memmove(c->change[i], c->change[i + 1], (size_t)(c->count - i) * CHANGE_MAX);
}

void claim_note_twin(struct claim *c, uint32_t ifindex)
{
	char change[CHANGE_MAX];

	snprintf(change, sizeof(change), TWIN "%u", ifindex);
	claim_note(c, change);
}

void claim_forget_twin(struct claim *c)
{
	for (uint32_t i = c->count; i-- > 0;)
		if (is_twin(c->change[i]))
			forget(c, i);
	if (c->fd >= 0)
		write_state(c, c->ending ? "ending" : "using");
}

/* The feature of a change, and in *ifindex whose it is; 0: nobody's any more, or out of reach. */
static const char *feature_of(const char *change, uint32_t *ifindex)
{
	if (strncmp(change, PEER, strlen(PEER)) != 0)
		return change;
	*ifindex = netlink_peer(*ifindex);
	return change + strlen(PEER);
}

/* Of this interface, or its other end. */
static void put_back_feature(uint32_t ifindex, const char *change)
{
	uint32_t whose = ifindex;
	char ifname[IF_NAMESIZE];
	const char *feature;
	int error;

	feature = feature_of(change, &whose);
	if (!whose || !if_indextoname(whose, ifname)) {
		if (feature != change && if_indextoname(ifindex, ifname))
			nic_log("%s: its other end has gone to another network namespace, where %s stays off: switch it on there by ethtool -K",
				ifname, feature);
		return;
	}
	if (strcmp(change, CLAIM_FILTER) == 0)
		error = netlink_filter_off(whose);
	else
		error = device_feature_set(ifname, feature, true);
	if (error && error != -ENODEV && error != -ENOENT)
		nic_log("%s: %s can't be put back: %s; ethtool -k and tc show what there is",
			ifname, change, strerror(-error));
}

/* By its number: a name may be another interface's by now, and one that is gone has nothing to be put back. False: not yet. */
static bool put_back(uint32_t ifindex, const char *change)
{
	char ifname[IF_NAMESIZE];

	if (is_twin(change))
		twin_remove((uint32_t)strtoul(change + strlen(TWIN), NULL, 10));
	else if (deferral_is_note(change))
		return !if_indextoname(ifindex, ifname) ||
		       deferral_put_back(ifindex, ifname, change);
	else
		put_back_feature(ifindex, change);
	return true;
}

void claim_restore(struct claim *c)
{
	if (c->fd < 0)
		return;
	for (uint32_t i = c->count; i-- > 0;)
		if (put_back(c->ifindex, c->change[i]))
			forget(c, i);
	write_state(c, "ending");
}

void claim_drop(struct claim *c)
{
	if (c->fd < 0)
		return;
	if (c->count == 0)
		unlink(c->path);
	close(c->fd);
	c->fd = -1;
}

/* "NAMESPACE-IFINDEX"; 0: it is no claim, or of another namespace. */
static uint32_t claimed(const char *name)
{
	struct stat ns;
	char *end;

	if (stat("/proc/self/ns/net", &ns) < 0 || strtoull(name, &end, 10) != ns.st_ino ||
		*end != '-')
		return 0;
	return (uint32_t)strtoul(end + 1, NULL, 10);
}

static void recover(const char *dir, uint32_t ifindex)
{
	struct claim c;
	struct nm_error err;
	bool ending;

	if (make_path(&c, dir, ifindex, &err) != 0 || try_lock(&c, &ending) != 0)
		return;
	read_state(&c);
	claim_restore(&c);
	claim_drop(&c);
}

void claim_recover(const char *dir)
{
	struct dirent *entry;
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d))) {
		uint32_t ifindex = claimed(entry->d_name);

		if (ifindex)
			recover(dir, ifindex);
	}
	if (d)
		closedir(d);
}

/* ---- offloads --------------------------------------------------------------------------------- */

/* change: a feature of the interface, or of the other end, which is called ifname. */
static int one_off(struct claim *c, const char *ifname, const char *change, struct nm_error *err)
{
	uint32_t ifindex = c->ifindex;
	const char *name = feature_of(change, &ifindex);
	struct device_feature feature;
	int error = device_feature(ifname, name, &feature);

	if (error || !feature.known || !feature.active)
		return 0;
	if (!feature.fixed) {
		if (feature.requested)
			claim_note(c, change);
		error = device_feature_set(ifname, name, false);
		if (!error)
			error = device_feature(ifname, name, &feature);
	}
	if (!feature.active && !error)
		return 0;
	return nm_error_set(err, -EOPNOTSUPP,
		"%s: the offload %s is on and can't be switched off%s%s; as it changes packets, the interface can't be used",
		ifname, name, error ? ": " : "", error ? strerror(-error) : "");
}

static int offloads_off_there(struct claim *c, const struct nic_facts *f, struct nm_error *err)
{
	uint32_t peer = netlink_peer(f->ifindex);
	char ifname[IF_NAMESIZE];
	int error = 0;

	if (!peer || !if_indextoname(peer, ifname)) {
		nic_log("%s: its other end is in another network namespace: what the stack there sends in VLANs comes without its tag, unless ethtool -K has switched txvlan and tx-vlan-stag-hw-insert off there",
			f->ifname);
		return 0;
	}
	for (uint32_t i = 0; i < NUM_UNWANTED_THERE && !error; i++)
		error = one_off(c, ifname, unwanted_there[i], err);
	return error;
}

int offloads_off(struct claim *c, const struct nic_facts *f, struct nm_error *err)
{
	int error = 0;

	for (uint32_t i = 0; i < NUM_UNWANTED && !error; i++)
		error = one_off(c, f->ifname, unwanted[i], err);
	if (!error && strcmp(f->driver, "veth") == 0)
		error = offloads_off_there(c, f, err);
	return error;
}

static void append(char text[NIC_TEXT_MAX], const char *name)
{
	size_t at = strlen(text);

	snprintf(text + at, NIC_TEXT_MAX - at, "%s%s", at ? ", " : "", name);
}

/* of: behind the name in the list. */
static void list_one(const char *ifname, const char *name, const char *of, char off[NIC_TEXT_MAX],
	char fixed[NIC_TEXT_MAX])
{
	struct device_feature feature;
	char text[DEVICE_FEATURE_NAME * 2];

	if (device_feature(ifname, name, &feature) != 0 || !feature.known || !feature.active)
		return;
	snprintf(text, sizeof(text), "%s%s", name, of);
	append(feature.fixed ? fixed : off, text);
}

void offloads_list(const struct nic_facts *f, char off[NIC_TEXT_MAX], char fixed[NIC_TEXT_MAX])
{
	uint32_t other = strcmp(f->driver, "veth") == 0 ? netlink_peer(f->ifindex) : 0;
	char peer[IF_NAMESIZE], of[IF_NAMESIZE + 8];

	off[0] = fixed[0] = '\0';
	for (uint32_t i = 0; i < NUM_UNWANTED; i++)
		list_one(f->ifname, unwanted[i], "", off, fixed);
	if (!other || !if_indextoname(other, peer))
		return;
	snprintf(of, sizeof(of), " of %s", peer);
	for (uint32_t i = 0; i < NUM_UNWANTED_THERE; i++)
		list_one(peer, unwanted_there[i] + strlen(PEER), of, off, fixed);
}
