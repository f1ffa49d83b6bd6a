#pragma once
// Linux calls that Swift's Glibc module does not show. Feature-test macros stay in the .c file:
// _GNU_SOURCE in a header changes fd_set and clashes with SwiftGlibc in debug builds.
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>

/// Names the calling thread (at most 15 bytes), as `top -H` and a debugger show it.
int linux_set_thread_name(const char *name);

/// Tells glibc to give memory back to the system soon: batches are allocated and dropped all the time.
void linux_return_freed_memory_early(void);

/// Lets go of the pages of code and constants that are mapped but may not be needed any more, those of the start above all.
/// They are read-only and backed by their files: what is needed comes back with a minor fault.
void linux_forget_startup_pages(void);

/// Waits until `fd1` (for `events1`), `fd2` or `fd3` (for input) is ready, or the time has passed. A negative fd is
/// ignored; a negative time means for ever. Returns a bit set: 1, 2, 4 for the descriptors, 0 for the time-out.
int linux_wait(int fd1, short events1, int fd2, int fd3, int64_t nanoseconds);

/// Adds one to an eventfd; wakes whoever waits for it.
void linux_eventfd_signal(int fd);

/// Resets an eventfd to zero.
void linux_eventfd_clear(int fd);

/// Makes `fd` refer to what `with` refers to, and closes what it referred to before; closed on exec.
void linux_replace_descriptor(int with, int fd);

/// Ends the calling thread alone, at once: for failpoints.
void linux_exit_thread(void);
