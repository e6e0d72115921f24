/* Moves the clock of a program, and nothing else: it begins at MOVED_CLOCK_FROM, in milliseconds since 1970,
 * when the program starts, and runs MOVED_CLOCK_SPEED times as fast. Timers and the monotonic clock stay.
 *
 * `cc -shared -fPIC -o clock.so clock.c`, then LD_PRELOAD. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long long SECOND = 1000000000LL;
static long long from, speed, began;

static long long nanoseconds(clockid_t clock)
{
    struct timespec at;
    syscall(SYS_clock_gettime, clock, &at);
    return at.tv_sec * SECOND + at.tv_nsec;
}

__attribute__((constructor)) static void begin(void)
{
    from = atoll(getenv("MOVED_CLOCK_FROM")) * 1000000;
    speed = atoll(getenv("MOVED_CLOCK_SPEED"));
    began = nanoseconds(CLOCK_MONOTONIC);
}

static long long now(void)
{
    return from + (nanoseconds(CLOCK_MONOTONIC) - began) * speed;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return syscall(SYS_clock_gettime, clock, at);
    long long moved = now();
    at->tv_sec = moved / SECOND;
    at->tv_nsec = moved % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    (void)zone;
    long long moved = now();
    at->tv_sec = moved / SECOND;
    at->tv_usec = moved % SECOND / 1000;
    return 0;
}

time_t time(time_t *at)
{
    time_t seconds = now() / SECOND;
    if (at)
        *at = seconds;
    return seconds;
}
