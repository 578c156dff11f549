/* SPDX-License-Identifier: BSD-2-Clause */
/* The client side of the control socket, against servers that do it right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto_client.h"

/* What the server answers to one request. */
struct answer {
	struct nmd_hello hello;
	size_t size;      /* bytes to send; 0: close instead */
	unsigned int fds; /* descriptors to send along */
};

static struct answer good_answer(void)
{
	struct answer a = {.size = sizeof(a.hello)};

	nmd_hdr_init(&a.hello.reply.hdr, NMD_HELLO, sizeof(a.hello));
	a.hello.pid = 4711;
	memset(a.hello.program, 'p', sizeof(a.hello.program));
	return a;
}

static void send_answer(int fd, const struct answer *a)
{
	union {
		char buf[CMSG_SPACE(200 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)&a->hello, a->size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (a->fds) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(a->fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(a->fds * sizeof(int));
		for (unsigned int i = 0; i < a->fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &null, sizeof(int));
	}
	sendmsg(fd, &msg, MSG_NOSIGNAL);
	close(null);
}

/* Sends the answer ahead: what the client asks is looked at afterwards. */
static void prepare(int pair[2], const struct answer *a)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	if (a->size)
		send_answer(pair[1], a);
	else
		shutdown(pair[1], SHUT_WR);
}

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static ssize_t greet(const struct answer *a, size_t room, int *fds, unsigned int *nfds)
{
	_Alignas(8) char reply[sizeof(struct nmd_hello) + 64];
	struct nmd_hdr req, seen;
	int pair[2];
	ssize_t n;

	assert_true(room <= sizeof(reply));
	prepare(pair, a);
	nmd_hdr_init(&req, NMD_HELLO, sizeof(req));
	n = nmd_request(pair[0], &req, reply, room, fds, nfds);
	assert_int_equal(recv(pair[1], &seen, sizeof(seen), MSG_DONTWAIT), sizeof(seen));
	assert_memory_equal(&req, &seen, sizeof(req));
	close(pair[0]);
	close(pair[1]);
	return n;
}

/* Waits for the request, and says why it will not be read. */
static void *turn_away(void *arg)
{
	const int *fd = arg;
	struct answer a = good_answer();
	struct pollfd p = {.fd = *fd, .events = POLLIN};

	a.hello.reply.hdr.status = -EDQUOT;
	poll(&p, 1, -1);
	send_answer(*fd, &a);
	close(*fd);
	return NULL;
}

/* Who is turned away with the request unread hears why all the same. */
static void test_turned_away(void **state)
{
	for (int round = 0; round < 300; round++) {
		struct nmd_hello reply;
		struct nmd_hdr req;
		pthread_t server;
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(pthread_create(&server, NULL, turn_away, &pair[1]), 0);
		nmd_hdr_init(&req, NMD_HELLO, sizeof(req));
		assert_int_equal(nmd_request(pair[0], &req, &reply, sizeof(reply), NULL, NULL),
			sizeof(reply));
		assert_int_equal(reply.reply.hdr.status, -EDQUOT);
		pthread_join(server, NULL);
		close(pair[0]);
	}
}

static void test_request(void **state)
{
	struct answer a = good_answer();
	int fds[NMD_FDS_MAX];
	unsigned int nfds = NMD_FDS_MAX, before = open_fds();

	assert_int_equal(greet(&a, sizeof(a.hello), NULL, NULL), sizeof(a.hello));

	a.fds = 3;
	assert_int_equal(greet(&a, sizeof(a.hello), fds, &nfds), sizeof(a.hello));
	assert_int_equal(nfds, 3);
	for (unsigned int i = 0; i < nfds; i++) {
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		close(fds[i]);
	}
	a.fds = nfds = NMD_FDS_MAX;
	assert_int_equal(greet(&a, sizeof(a.hello), fds, &nfds), sizeof(a.hello));
	assert_int_equal(nfds, NMD_FDS_MAX);
	while (nfds)
		close(fds[--nfds]);

	/* an error is a reply, too: no more than the header and the text */
	a.fds = 0;
	a.size = a.hello.reply.hdr.size = sizeof(struct nmd_reply);
	a.hello.reply.hdr.status = -EBUSY;
	assert_int_equal(greet(&a, sizeof(a.hello), NULL, NULL), sizeof(struct nmd_reply));
	assert_int_equal(open_fds(), before);
}

static void expect(struct answer a, size_t room, int error)
{
	unsigned int nfds = 2, before = open_fds();
	int fds[2];

	assert_int_equal(greet(&a, room, fds, &nfds), error);
	assert_int_equal(nfds, 0);
	assert_int_equal(open_fds(), before);
}

static void test_bad_replies(void **state)
{
	const struct answer good = good_answer();
	struct answer a = good;
	size_t room = sizeof(good.hello);

	a.size = 0;
	expect(a, room, -ECONNRESET);
	for (a = good; a.size > 1; a.size--) /* header and bytes disagree */
		expect((struct answer){a.hello, a.size - 1, 1}, room, -EPROTO);
	a = good;
	a.hello.reply.hdr.magic++;
	expect(a, room, -EPROTO);
	a = good;
	a.hello.reply.hdr.version++;
	expect(a, room, -EPROTONOSUPPORT);
	a = good;
	a.hello.reply.hdr.type = NMD_STATUS;
	expect(a, room, -EPROTO);
	a = good;
	a.hello.reply.hdr.size++;
	expect(a, room, -EPROTO);
	a = good;
	a.hello.reply.hdr.status = 1;
	expect(a, room, -EPROTO);
	expect(good, room - 1, -EMSGSIZE);
	a = good;
	a.fds = 3; /* more than there is room for */
	expect(a, room, -EPROTO);
	a = good;
	a.fds = NMD_FDS_MAX + 1; /* more than any reply has */
	expect(a, room, -EPROTO);
}

static void test_too_large(void **state)
{
	struct nmd_hdr req = {.size = NMD_MSG_MAX + 1};
	struct nmd_hello reply;

	assert_int_equal(nmd_request(-1, &req, &reply, sizeof(reply), NULL, NULL), -EMSGSIZE);
	nmd_hdr_init(&req, NMD_HELLO, sizeof(req));
	assert_int_equal(
		nmd_request(-1, &req, &reply, sizeof(reply.reply) - 1, NULL, NULL), -EMSGSIZE);
}

static void test_call(void **state)
{
	struct answer a = good_answer();
	struct nmd_hello reply;
	struct nm_error err;
	struct nmd_hdr req;
	int pair[2];

	nmd_hdr_init(&req, NMD_HELLO, sizeof(req));
	a.hello.reply.hdr.status = -EBUSY;
	a.size = a.hello.reply.hdr.size = sizeof(struct nmd_reply);
	memset(a.hello.reply.text, 'x', NMD_TEXT_MAX); /* not terminated */
	prepare(pair, &a);
	assert_int_equal(nmd_call(pair[0], &req, &reply, sizeof(reply), &err), -EBUSY);
	assert_int_equal(strspn(err.text, "x"), NMD_TEXT_MAX - 1);
	close(pair[0]);
	close(pair[1]);

	/* success, but too short for what was asked */
	a.hello.reply.hdr.status = 0;
	prepare(pair, &a);
	assert_int_equal(nmd_call(pair[0], &req, &reply, sizeof(reply), &err), -EPROTO);
	close(pair[0]);

	/* nobody there any more */
	close(pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	close(pair[1]);
	assert_int_equal(nmd_call(pair[0], &req, &reply, sizeof(reply), &err), -ECONNRESET);
	assert_string_equal(err.text, "netmapd closed the connection");
	close(pair[0]);
}

/* A server that greets one client. */
struct server {
	char dir[32], path[64];
	int fd;
	struct answer answer;
};

static void *serve(void *arg)
{
	struct server *s = arg;
	char request[NMD_MSG_MAX];
	int fd = accept(s->fd, NULL, NULL);

	if (recv(fd, request, sizeof(request), 0) > 0)
		send_answer(fd, &s->answer);
	close(fd);
	return NULL;
}

static void listen_at(struct server *s, int type)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	unlink(s->path);
	s->fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	strcpy(addr.sun_path, s->path);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(s->fd, 4), 0);
}

static int setup_server(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	*state = s;
	strcpy(s->dir, "/tmp/proto-client-XXXXXX");
	if (!mkdtemp(s->dir))
		return -1;
	snprintf(s->path, sizeof(s->path), "%s/socket", s->dir);
	s->fd = -1;
	return 0;
}

static int teardown_server(void **state)
{
	struct server *s = *state;

	close(s->fd);
	unlink(s->path);
	rmdir(s->dir);
	free(s);
	return 0;
}

static int connect_once(
	struct server *s, struct answer a, struct nmd_hello *hello, struct nm_error *err)
{
	pthread_t thread;
	int fd;

	s->answer = a;
	assert_int_equal(pthread_create(&thread, NULL, serve, s), 0);
	fd = nmd_connect(s->path, hello, err);
	pthread_join(thread, NULL);
	return fd;
}

static void test_connect(void **state)
{
	struct answer other = good_answer();
	struct server *s = *state;
	struct nmd_hello hello;
	struct nm_error err;
	unsigned int before;
	int fd;

	listen_at(s, SOCK_SEQPACKET);
	before = open_fds();
	fd = connect_once(s, good_answer(), &hello, &err);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(hello.pid, 4711);
	assert_int_equal(strlen(hello.program), sizeof(hello.program) - 1);
	close(fd);

	other.hello.reply.hdr.version++;
	assert_int_equal(connect_once(s, other, NULL, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "another version"));
	assert_non_null(strstr(err.text, s->path));
	assert_int_equal(open_fds(), before);
}

static void test_no_server(void **state)
{
	struct server *s = *state;
	struct nm_error err;
	char longer[NMD_PATH_MAX + 1];

	assert_int_equal(nmd_connect(s->path, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.text, "not running"));
	assert_non_null(strstr(err.text, s->path));

	listen_at(s, SOCK_SEQPACKET);
	close(s->fd); /* the file stays: a server that died */
	assert_int_equal(nmd_connect(s->path, NULL, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, s->path));

	listen_at(s, SOCK_STREAM);
	assert_int_equal(nmd_connect(s->path, NULL, &err), -EPROTOTYPE);
	assert_non_null(strstr(err.text, "not netmapd's"));

	memset(longer, 'x', NMD_PATH_MAX);
	longer[NMD_PATH_MAX] = '\0';
	assert_int_equal(nmd_connect(longer, NULL, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "108 bytes, at most 107"));
}

static void expect_path(const char *given, const char *want)
{
	struct nm_error err;
	char path[NMD_PATH_MAX];

	assert_int_equal(nmd_socket_path(given, path, &err), 0);
	assert_string_equal(path, want);
}

static void test_socket_path(void **state)
{
	uid_t user = geteuid();

	setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	setenv("NETMAPD_SOCKET", "/n/s", 1);
	expect_path("/a/b", "/a/b");
	expect_path(NULL, "/n/s");
	unsetenv("NETMAPD_SOCKET");
	if (user == 0) {
		expect_path(NULL, NMD_SYSTEM_SOCKET);
		assert_int_equal(seteuid(65534), 0);
	}
	expect_path(NULL, "/run/user/1/netmapd/socket");
	unsetenv("XDG_RUNTIME_DIR");
	expect_path(NULL, NMD_SYSTEM_SOCKET);
	assert_int_equal(seteuid(user), 0);
}

/* A closed directory: root passes it, so this needs another user. */
static void test_no_permission(void **state)
{
	struct server *s = *state;
	uid_t user = geteuid();
	struct nm_error err;

	listen_at(s, SOCK_SEQPACKET);
	if (user == 0)
		assert_int_equal(seteuid(65534), 0);
	else
		assert_int_equal(chmod(s->dir, 0), 0);
	assert_int_equal(nmd_connect(s->path, NULL, &err), -EACCES);
	assert_non_null(strstr(err.text, "no permission"));
	assert_int_equal(seteuid(user), 0);
	assert_int_equal(chmod(s->dir, 0700), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_turned_away),
		cmocka_unit_test(test_bad_replies),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_call),
		cmocka_unit_test_setup_teardown(test_connect, setup_server, teardown_server),
		cmocka_unit_test_setup_teardown(test_no_server, setup_server, teardown_server),
		cmocka_unit_test(test_socket_path),
		cmocka_unit_test_setup_teardown(test_no_permission, setup_server, teardown_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
