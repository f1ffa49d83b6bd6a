#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Runs before anything else opens a file. A descriptor 0 to 2 that is closed would be given to the next one, for example the
// runtime's epoll, and what is printed would go there. Opened the wrong way round, so that reading and writing still fail.
__attribute__((constructor)) static void occupy_standard_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    }
}

int linux_set_thread_name(const char *name) { return pthread_setname_np(pthread_self(), name); }

void linux_return_freed_memory_early(void) {
    // Fixing both thresholds also turns off glibc's automatic growth of them, which kept 48 MB resident after batch churn.
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
}

static int forget_object(struct dl_phdr_info *object, size_t size, void *context) {
    (void)size;
    (void)context;
    if (object->dlpi_name && strstr(object->dlpi_name, "vdso")) return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        // Never writable ones: their pages are no longer what the file has.
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) continue;
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        uintptr_t begin = (object->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);
        if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void linux_forget_startup_pages(void) { dl_iterate_phdr(forget_object, NULL); }

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

void linux_exit_thread(void) { syscall(SYS_exit, 0); }

void linux_replace_descriptor(int with, int fd) {
    while (dup3(with, fd, O_CLOEXEC) < 0 && (errno == EINTR || errno == EBUSY)) {}
}
