/* SPDX-License-Identifier: BSD-2-Clause */
#include "request.h"

#include <stdio.h>

struct memory memory;

static bool reachable(uint64_t addr, size_t bytes)
{
	if (++memory.calls == memory.fail_at)
		return false;
	return addr >= BASE && addr - BASE <= MEMORY && bytes <= MEMORY - (addr - BASE);
}

static int read_memory(void *arg, uint64_t addr, void *dst, size_t bytes)
{
	if (!reachable(addr, bytes))
		return -EFAULT;
	memcpy(dst, memory.bytes + (addr - BASE), bytes);
	return 0;
}

static int write_memory(void *arg, uint64_t addr, const void *src, size_t bytes)
{
	if (!reachable(addr, bytes))
		return -EFAULT;
	memcpy(memory.bytes + (addr - BASE), src, bytes);
	return 0;
}

const struct nm_uaccess ua = {.read = read_memory, .write = write_memory};
struct nmreq_header *const hdr = (void *)memory.bytes;
struct nmreq_register *const reg = (void *)(memory.bytes + BODY);
struct nmreq_port_info_get *const info = (void *)(memory.bytes + BODY);
struct nmreq_vale_list *const list = (void *)(memory.bytes + BODY);
struct nmreq_port_hdr *const port_hdr = (void *)(memory.bytes + BODY);
struct nmreq_pools_info *const pools = (void *)(memory.bytes + BODY);

struct nm_core core;
struct nm_client client;

int request_begin(void **state)
{
	nm_core_init(&core);
	nm_client_init(&client, &core);
	return 0;
}

int request_end(void **state)
{
	nm_client_unbind(&client);
	core_check_empty(&core);
	nm_core_destroy(&core);
	return 0;
}

void prepare(uint16_t type, const char *name)
{
	memset(&memory, 0, sizeof(memory));
	*hdr = (struct nmreq_header){
		.nr_version = NETMAP_API, .nr_reqtype = type, .nr_body = BASE + BODY};
	snprintf(hdr->nr_name, sizeof(hdr->nr_name), "%s", name);
}

int ask_as(struct nm_client *who)
{
	int error = nm_control(who, &ua, BASE);

	assert_true(error <= 0);
	if (error) /* one line of text for each error, none for success */
		assert_int_not_equal(who->err[0], '\0');
	assert_null(strchr(who->err, '\n'));
	return error;
}

int ask(void)
{
	return ask_as(&client);
}

void prepare_register(const char *name)
{
	prepare(NETMAP_REQ_REGISTER, name);
	reg->nr_mode = NR_REG_ALL_NIC;
	reg->nr_tx_slots = reg->nr_rx_slots = 16;
}

void check_err_says(const char *text)
{
	if (!strstr(client.err, text))
		fail_msg("\"%s\" does not say \"%s\"", client.err, text);
}
