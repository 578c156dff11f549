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

/* ---- the platform ------------------------------------------------------------------ */

struct platform platform;

static struct os_mem *give_extmem(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err)
{
	struct os_mem *mem;

	platform.extmems++;
	platform.extmem_addr = addr;
	platform.extmem_bytes = bytes;
	mem = platform.extmem_error ? NULL : os_mem_alloc(bytes, err);
	err->code = platform.extmem_error ? platform.extmem_error : -ENOMEM;
	if (!mem)
		nm_error_set(err, err->code, "no external memory for a test");
	return mem;
}

static int enable_csb(
	void *arg, struct nm_client *who, uint64_t atok, uint64_t ktoa, uint32_t entries)
{
	assert_non_null(who->port);
	platform.csbs++;
	platform.atok = atok;
	platform.ktoa = ktoa;
	platform.entries = entries;
	return platform.csb_error;
}

static int start_kloop(void *arg, struct nm_client *who, const struct nm_kloop_request *request)
{
	assert_non_null(who->port);
	platform.starts++;
	platform.kloop = *request;
	return platform.start_error;
}

static int stop_kloop(void *arg, struct nm_client *who)
{
	assert_non_null(who->port);
	platform.stops++;
	return platform.stop_error;
}

const struct nm_uaccess ua = {
	.read = read_memory,
	.write = write_memory,
	.extmem = give_extmem,
	.csb_enable = enable_csb,
	.kloop_start = start_kloop,
	.kloop_stop = stop_kloop,
};
const struct nm_uaccess bare_ua = {.read = read_memory, .write = write_memory};
struct nmreq_header *const hdr = (void *)memory.bytes;
struct nmreq_register *const reg = (void *)(memory.bytes + BODY);
struct nmreq_port_info_get *const info = (void *)(memory.bytes + BODY);
struct nmreq_vale_list *const list = (void *)(memory.bytes + BODY);
struct nmreq_port_hdr *const port_hdr = (void *)(memory.bytes + BODY);
struct nmreq_pools_info *const pools = (void *)(memory.bytes + BODY);
struct nmreq_vale_attach *const attach = (void *)(memory.bytes + BODY);
struct nmreq_vale_detach *const detach = (void *)(memory.bytes + BODY);
struct nmreq_vale_newif *const newif = (void *)(memory.bytes + BODY);
struct nmreq_vale_polling *const polling = (void *)(memory.bytes + BODY);
struct nmreq_sync_kloop_start *const kloop = (void *)(memory.bytes + BODY);

struct nm_core core;
struct nm_client client;

int request_begin(void **state)
{
	memset(&platform, 0, sizeof(platform));
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
		assert_int_not_equal(who->err.text[0], '\0');
	for (const char *c = who->err.text; *c; c++)
		assert_true(*c >= ' ' && *c <= '~');
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
	if (!strstr(client.err.text, text))
		fail_msg("\"%s\" does not say \"%s\"", client.err.text, text);
}

void *push_option(uint32_t at, uint32_t type)
{
	struct nmreq_option *option = (void *)(memory.bytes + at);

	*option = (struct nmreq_option){
		.nro_next = hdr->nr_options, .nro_reqtype = type, .nro_status = 0x55};
	hdr->nr_options = BASE + at;
	return option;
}
