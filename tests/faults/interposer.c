/* Lets chosen calls on files below a directory fail.
 *
 * FAULT_BELOW     only files whose path begins so
 * FAULT_ON        "write" (write, pwrite, writev) or "sync" (fsync, fdatasync)
 * FAULT_AFTER     how many such calls succeed before
 * FAULT_COUNT     how many fail then; 0: all
 * FAULT_ERRNO     the number of the error
 * FAULT_ARMED     a file: nothing fails, and nothing is counted, before it is there
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static int is_below(int file) {
    const char *below = getenv("FAULT_BELOW");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!below || length < 0) return 0;
    path[length] = 0;
    return strncmp(path, below, strlen(below)) == 0;
}

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

/* Whether this call is to fail; sets errno then. */
static int fails(const char *kind, int file) {
    int before = errno;
    const char *on = getenv("FAULT_ON"), *armed = getenv("FAULT_ARMED");
    if (!on || strcmp(on, kind) != 0 || !is_below(file) || (armed && access(armed, F_OK) != 0)) {
        errno = before;
        return 0;
    }
    long call = atomic_fetch_add(&calls, 1), after = number("FAULT_AFTER"), count = number("FAULT_COUNT");
    errno = before;
    if (call < after || (count > 0 && call >= after + count)) return 0;
    errno = (int)number("FAULT_ERRNO");
    return 1;
}

#define REAL(type, name, ...)                                   \
    static type (*real)(__VA_ARGS__);                           \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return fails("write", file) ? -1 : real(file, bytes, length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t place) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return fails("write", file) ? -1 : real(file, bytes, length, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return fails("write", file) ? -1 : real(file, parts, count);
}

int fsync(int file) {
    REAL(int, "fsync", int);
    return fails("sync", file) ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(int, "fdatasync", int);
    return fails("sync", file) ? -1 : real(file);
}
