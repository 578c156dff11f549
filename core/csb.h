/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * csb.h - the communication status block, from both sides.
 *
 * Two arrays of 64-byte entries in memory that both sides map, one entry per ring:
 *
 *      struct nm_csb_atok   written by the application side (a guest, a local application)
 *          head, cur            ring positions
 *          appl_need_kick       "wake me when hwtail moves"
 *          sync_flags           of the last sync
 *      struct nm_csb_ktoa   written by the kernel side (the host, netmapd)
 *          hwcur, hwtail        how far it is
 *          kern_need_kick       "kick me when head moves"
 *
 *      application side                        kernel side
 *        store cur                               load head   (acquire)
 *        store head   (release: A)  -------->    load cur        so head is never newer than cur
 *
 *        load hwtail  (acquire)     <--------    store hwcur
 *        load hwcur                              store hwtail (release: B)
 *
 * Going to sleep, either side (C pairs with D, one full barrier each, so that at
 * least one of the two sees what the other stored):
 *
 *        need_kick = 1                           store its index
 *        full barrier (C)                        full barrier (D)
 *        look at the other's index once more     look at need_kick, notify if set
 *
 * The kernel side is hostile ground for no side but itself: whatever it loads is
 * checked by nm_ring_sync(). The application side checks hwcur and hwtail against
 * the ring size, so that a broken host can't make it run out of its rings.
 *
 * Thread safety: one thread at a time per ring and side.
 */
#ifndef CORE_CSB_H
#define CORE_CSB_H

#include "os.h"
#include "ring.h"
#include <net/netmap.h>

/* ---- kernel side ---------------------------------------------------------------------- */

static inline void nm_csb_kern_load(const struct nm_csb_atok *atok, uint32_t *head, uint32_t *cur)
{
	*head = OS_LOAD_ACQUIRE(&atok->head); /* pairs with A */
	*cur = OS_LOAD(&atok->cur);
}

static inline void nm_csb_kern_store(struct nm_csb_ktoa *ktoa, uint32_t hwcur, uint32_t hwtail)
{
	OS_STORE_RELEASE(&ktoa->hwcur, hwcur);   /* slots before it, as the CSB promises */
	OS_STORE_RELEASE(&ktoa->hwtail, hwtail); /* B */
}

/* ---- application side ----------------------------------------------------------------- */

/* Private state of one ring as the application side sees it. */
struct nm_csb_appl {
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	uint32_t num_slots;
	uint32_t head, cur;     /* as last stored */
	uint32_t hwcur, hwtail; /* as last loaded and found in range */
};

/* Takes over the state that the kernel side has written into both entries. -EINVAL when an index
 * is out of range. */
static inline int nm_csb_appl_init(struct nm_csb_appl *a, struct nm_csb_atok *atok,
	struct nm_csb_ktoa *ktoa, uint32_t num_slots)
{
	a->atok = atok;
	a->ktoa = ktoa;
	a->num_slots = num_slots;
	a->head = OS_LOAD(&atok->head);
	a->cur = OS_LOAD(&atok->cur);
	a->hwtail = OS_LOAD_ACQUIRE(&ktoa->hwtail); /* pairs with B */
	a->hwcur = OS_LOAD(&ktoa->hwcur);
	if (a->head >= num_slots || a->cur >= num_slots || a->hwtail >= num_slots ||
		a->hwcur >= num_slots)
		return -EINVAL;
	return 0;
}

/* Loads hwtail and hwcur. False, and nothing changed, when the other side stored an invalid
 * index. */
static inline bool nm_csb_appl_load(struct nm_csb_appl *a)
{
	uint32_t hwtail = OS_LOAD_ACQUIRE(&a->ktoa->hwtail); /* pairs with B */
	uint32_t hwcur = OS_LOAD(&a->ktoa->hwcur);

	if (unlikely(hwtail >= a->num_slots || hwcur >= a->num_slots))
		return false;
	a->hwtail = hwtail;
	a->hwcur = hwcur;
	return true;
}

/*
 * Publishes head and cur. True when the kernel side is to be kicked. The caller has checked
 * that the move is legal.
 */
static inline bool nm_csb_appl_publish(struct nm_csb_appl *a, uint32_t head, uint32_t cur)
{
	bool moved = head != a->head;

	a->head = head;
	a->cur = cur;
	OS_STORE_RELEASE(&a->atok->cur, cur);   /* slots before it, as the CSB promises */
	OS_STORE_RELEASE(&a->atok->head, head); /* A */
	if (!moved)
		return false;
	os_mb(); /* D: head is out before kern_need_kick is looked at */
	return OS_LOAD(&a->ktoa->kern_need_kick) != 0;
}

/* The application is awake: no interrupts. */
static inline void nm_csb_appl_awake(struct nm_csb_appl *a)
{
	OS_STORE(&a->atok->appl_need_kick, 0);
}

/*
 * The application is about to sleep until hwtail moves. True: it has moved already, don't
 * sleep (interrupts are off again).
 */
static inline bool nm_csb_appl_sleep(struct nm_csb_appl *a)
{
	uint32_t old = a->hwtail;

	OS_STORE(&a->atok->appl_need_kick, 1);
	os_mb(); /* C */
	if (!nm_csb_appl_load(a) || a->hwtail == old)
		return false;
	nm_csb_appl_awake(a);
	return true;
}

enum { NM_CSB_LOOKS = 4 };

enum nm_csb_wait {
	NM_CSB_SLEEPS, /* the other side will signal */
	NM_CSB_ENOUGH, /* no need to: interrupts are off */
	NM_CSB_AGAIN,  /* neither: interrupts are off, and whoever asks comes again in a while */
};

/*
 * As nm_csb_appl_sleep(), unless hwtail has moved as far as is wanted, which `enough` says each time that it has moved. For
 * those who must not stay for long: the other side, which says how far, is not asked more often than NM_CSB_LOOKS times,
 * as it could move hwtail to and fro for ever.
 */
static inline enum nm_csb_wait nm_csb_appl_wait(
	struct nm_csb_appl *a, bool (*enough)(void *arg), void *arg)
{
	for (int looks = 0; looks < NM_CSB_LOOKS; looks++) {
		if (!nm_csb_appl_sleep(a))
			return NM_CSB_SLEEPS;
		if (enough(arg))
			return NM_CSB_ENOUGH;
	}
	return NM_CSB_AGAIN;
}

#endif
