/* SPDX-License-Identifier: BSD-2-Clause */
#include "crew.h"

static int add_thread(struct crew *crew)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attr, crew->run, NULL);
	pthread_attr_destroy(&attr);
	if (!error) {
		crew->threads++;
		crew->starting++;
	}
	return -error;
}

int crew_start(struct crew *crew)
{
	crew->stop = false;
	return add_thread(crew);
}

void crew_call(struct crew *crew)
{
	if (crew->starting > 0)
		return;
	if (crew->idle > 0)
		pthread_cond_signal(&crew->work);
	else if (crew->threads < crew->most)
		(void)add_thread(crew);
}

void crew_serve(struct crew *crew, struct os_mutex *lock, bool (*serve)(void))
{
	crew->starting--;
	while (true) {
		if (serve())
			continue;
		if (crew->idle > 0 || crew->stop)
			break;
		crew->idle++;
		pthread_cond_wait(&crew->work, &lock->l);
		crew->idle--;
	}
	crew->threads--;
}

void crew_stop(struct crew *crew)
{
	crew->stop = true;
	pthread_cond_broadcast(&crew->work);
}
