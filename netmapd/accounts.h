/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accounts.h - how much one user, and all users together, can have of what netmapd makes.
 *
 * Each connection belongs to the user at its other end. What is made for it is counted for that user, and stays so until
 * it ends, also when somebody else ends it. Who has reached a bound gets an error that names it, and the option that
 * raises it; others notice nothing.
 *
 *      user = account_get(uid, &err);          for each connection
 *      error = nm_quota_take(account_quota(user), LIMIT_MACHINES, 1, &err);
 *      core->payer = account_quota(user);           while its message is handled: the core counts as well
 *      account_put(user);
 *
 * Bounds are a table (accounts.c) that options change (accounts_set). Those of memory come from the machine: its RAM, the
 * memory.max of netmapd's control group, RLIMIT_AS; memory counts in full when it may be touched, so that netmapd isn't
 * killed for what its clients do afterwards.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_ACCOUNTS_H
#define NETMAPD_ACCOUNTS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "bounds.h"
#include "loop.h"
#include "nm_error.h"
#include "quota.h"

enum { ACCOUNTS_BOUND = 64 }; /* bytes of a bound as text */

struct account;

/* The bounds of this machine; files: that clients can make this process open. Before accounts_set(). */
void accounts_init(uint64_t files);

/*
 * One bound, as a user writes it (bounds.h): NAME=N, of one user, or NAME=N/M, M of all together. -ENOENT or -EINVAL with a text.
 */
int accounts_set(const char *text, struct nm_error *err);
/* The same, by a file or a request, not by an option: `netmapctl save` writes it. */
int accounts_change(const char *text, struct nm_error *err);

/* The same for one user, NAME=N, instead of what accounts_set() says for each; NM_USER_ANY: for each. */
int accounts_set_user(uint32_t uid, const char *text, struct nm_error *err);
/* No user has one of his own any more. */
void accounts_forget_users(void);

/* A bound as accounts_set() would have it, which is the one of `text` ("ports=1" or "ports"). */
void accounts_get(const char *text, char bound[ACCOUNTS_BOUND]);

/* The user's account, made when there is none; it is kept while somebody has it, or it has something. -ENOMEM: NULL. */
struct account *account_get(uid_t uid, struct nm_error *err);
void account_put(struct account *user); /* NULL is allowed */

struct nm_quota *account_quota(struct account *user);
/* Of the control thread's time, for all connections of the user. */
struct loop_budget *account_budget(struct account *user);
uid_t account_uid(const struct account *user);
/* Who pays (nm_port.payer); NM_USER_ANY: nobody. */
uint32_t accounts_payer(const struct nm_quota *quota);

/*
 * For this user, who sees himself alone; NM_USER_ANY: all. [{ "name", "limit" (of each user), "limit_all", "changed" (by
 * accounts_change), "used", "refused" (requests), "users": { UID: used }, "user_limits": { UID: of those who have one of their own } }]
 */
json_t *accounts_json(uint32_t viewer);

#endif
