#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

int linux_set_thread_name(const char *name) { return pthread_setname_np(pthread_self(), name); }

void linux_return_freed_memory_early(void) {
    // Fixing both thresholds also turns off glibc's automatic growth of them, which kept 48 MB resident after batch churn.
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

int linux_wait(int fd1, short events1, int fd2, int fd3, int64_t nanoseconds) {
    struct pollfd fds[3] = {{fd1, events1, 0}, {fd2, POLLIN, 0}, {fd3, POLLIN, 0}};
    struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    // A signal ends the wait early; callers look at their state and wait again.
    if (ppoll(fds, 3, nanoseconds < 0 ? NULL : &timeout, NULL) <= 0) return 0;
    return (fds[0].revents ? 1 : 0) | (fds[1].revents ? 2 : 0) | (fds[2].revents ? 4 : 0);
}

void linux_eventfd_signal(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

void linux_eventfd_clear(int fd) {
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {}
}
