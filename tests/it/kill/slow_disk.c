/* Preloaded into the server: every write at a place of a file takes as long as on a slow disk. The
 * log of the store is written by nothing else. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off_t offset) {
    const char *millis = getenv("SLOW_DISK_MILLIS");
    struct timespec pause = {0, millis ? atol(millis) * 1000000L : 0};
    nanosleep(&pause, NULL);
    return syscall(SYS_pwrite64, descriptor, bytes, size, offset);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
    return pwrite64(descriptor, bytes, size, offset);
}
