/*
 * nlt_mutex.h - mutexes in memory that processes share.
 *
 * Floor 3 (store); uses pthread.
 */
#ifndef NLT_STORE_MUTEX_H
#define NLT_STORE_MUTEX_H

#include <pthread.h>
#include <stdbool.h>

/*
 * Makes a mutex that processes share and whose next owner is told when the
 * last one died (EOWNERDEAD).  False: this system has none.
 */
static inline bool
nlt_mutex_init_robust(pthread_mutex_t *m)
{
    pthread_mutexattr_t attr;
    bool ok;

    if (pthread_mutexattr_init(&attr) != 0) {
        return false;
    }
    ok = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0
         && pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0
         && pthread_mutex_init(m, &attr) == 0;
    (void) pthread_mutexattr_destroy(&attr);
    return ok;
}

#endif
