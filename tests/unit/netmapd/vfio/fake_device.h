/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_device.h - a device that only records what it is asked, behind a vfio-user connection
 * over a socket pair: the fixture of test_vu_msg.c and test_vu_conn.c.
 *
 * Region 0 can be read and written, 1 can be mapped as well, 2 only read; 7 is configuration.
 * MSI-X has VECTORS vectors, ERR has one.
 *
 * Thread safety: one thread; the state is global.
 */
#ifndef TESTS_FAKE_DEVICE_H
#define TESTS_FAKE_DEVICE_H

#include "testutil.h"
#include "vfio_client.h"
#include "vu_conn.h"

enum { REGION_SIZE = 8192, VECTORS = 20 };

struct fake_device {
	unsigned int reads, writes, irq_sets, irq_actions, maps, unmaps, unmap_alls, resets;
	long reset_us; /* that a reset takes */
	uint32_t index, start, count, bytes;
	uint64_t offset;
	struct vu_dma_map map;
	enum vu_irq_action action;
	uint8_t which[VECTORS];
	bool with_fds, with_which;
	int fd_offset; /* what the descriptor of a map is at: tells which file came */
	int error;     /* what handlers return */
	int region_fd; /* of region 1 */
	uint8_t memory[REGION_SIZE];
};

extern struct fake_device dev;
extern struct vu_conn *conn; /* NULL: dead and freed */
extern struct vfc *client;   /* its other end */
extern int dead_error;       /* what the connection died of */
extern int fds_before;       /* descriptors of this process at setup */

unsigned int calls(void); /* of all handlers that do something */

int setup_raw(void **state); /* nothing said yet */
int setup(void **state);     /* VERSION is done */
int teardown(void **state);  /* no descriptor may be left */

/* The daemon's part: runs the connection as far as it goes. */
void pump(void *arg);

void expect_alive(void); /* and in step */
void expect_dead(int error);

/* Files whose position is 10, 11, …: they can be told from each other. */
void open_files(int *fds, int count);
void close_files(const int *fds, int count);

#endif
