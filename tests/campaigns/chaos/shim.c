/* Faults below every library: loaded with LD_PRELOAD, fails calls of libc on files whose path has a given text in it.

   LITEFERRY_CHAOS_SHIM="KIND:TEXT:COUNTER"
     KIND     open   opening a file to read it fails with EIO
              short  a file that is read ends early
              write  writing to a file fails with ENOSPC
              clock  every look at the clock of the wall jumps by a day, back and forth
     COUNTER  a file of two ints, shared by all processes: how many faults are left, how many were made */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536
#define LENGTH 1000
static char kind, text[256];
static volatile int *counter;
static unsigned char marked[MOST];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
  const char *given = getenv("LITEFERRY_CHAOS_SHIM");
  char path[4096], word[16];
  if (given == NULL || sscanf(given, "%15[^:]:%255[^:]:%4095s", word, text, path) != 3) return;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *mapped = mmap(NULL, 2 * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped == MAP_FAILED) return;
  counter = mapped;
  kind = word[0];
}

static int fires(void) {
  if (counter == NULL || __sync_fetch_and_sub(&counter[0], 1) <= 0) {
    if (counter != NULL) __sync_fetch_and_add(&counter[0], 1);
    return 0;
  }
  __sync_fetch_and_add(&counter[1], 1);
  return 1;
}

static int is_meant(const char *path) { return counter != NULL && path != NULL && strstr(path, text) != NULL; }

/* -1: fails with errno set. 0: goes on; the descriptor is to be marked by `mark`. */
static int before_open(const char *path, int for_writing) {
  if (kind == 'o' && !for_writing && is_meant(path) && fires()) {
    errno = EIO;
    return -1;
  }
  return 0;
}

static int mark(int fd, const char *path, int for_writing) {
  if (fd >= 0 && fd < MOST) marked[fd] = is_meant(path) && ((kind == 's' && !for_writing) || (kind == 'w' && for_writing));
  return fd;
}

static int is_marked(int fd) { return fd >= 0 && fd < MOST && marked[fd]; }

#define OPEN(name)                                                                  \
  int name(const char *path, int flags, ...) {                                      \
    va_list rest;                                                                   \
    va_start(rest, flags);                                                          \
    mode_t mode = va_arg(rest, mode_t);                                             \
    va_end(rest);                                                                   \
    int for_writing = (flags & O_ACCMODE) != O_RDONLY;                              \
    if (before_open(path, for_writing)) return -1;                                  \
    return mark(REAL(name)(path, flags, mode), path, for_writing);                  \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                \
  int name(int folder, const char *path, int flags, ...) {                          \
    va_list rest;                                                                   \
    va_start(rest, flags);                                                          \
    mode_t mode = va_arg(rest, mode_t);                                             \
    va_end(rest);                                                                   \
    int for_writing = (flags & O_ACCMODE) != O_RDONLY;                              \
    if (before_open(path, for_writing)) return -1;                                  \
    return mark(REAL(name)(folder, path, flags, mode), path, for_writing);          \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                 \
  FILE *name(const char *path, const char *mode) {                                  \
    int for_writing = strpbrk(mode, "wa+") != NULL;                                 \
    if (before_open(path, for_writing)) return NULL;                                \
    FILE *file = REAL(name)(path, mode);                                            \
    if (file != NULL) mark(fileno(file), path, for_writing);                        \
    return file;                                                                    \
  }
FOPEN(fopen)
FOPEN(fopen64)

/* How many of `count` bytes a marked file still has at `at`: once the fault is made, it ends after LENGTH bytes. */
static size_t left(int fd, size_t count, off64_t at) {
  if (kind != 's' || !is_marked(fd) || count == 0) return count;
  if (marked[fd] == 1) marked[fd] = fires() ? 2 : 0;
  if (marked[fd] != 2) return count;
  return at >= LENGTH ? 0 : at + (off64_t)count > LENGTH ? (size_t)(LENGTH - at) : count;
}

ssize_t read(int fd, void *buffer, size_t count) { return REAL(read)(fd, buffer, left(fd, count, lseek64(fd, 0, SEEK_CUR))); }
ssize_t pread(int fd, void *b, size_t count, off_t at) { return REAL(pread)(fd, b, left(fd, count, at), at); }
ssize_t pread64(int fd, void *b, size_t count, off64_t at) { return REAL(pread64)(fd, b, left(fd, count, at), at); }
size_t fread(void *b, size_t size, size_t n, FILE *file) { return size ? REAL(fread)(b, size, left(fileno(file), size * n, ftello64(file)) / size, file) : 0; }

static int is_full(int fd) {
  if (kind != 'w' || !is_marked(fd) || !fires()) return 0;
  errno = ENOSPC;
  return 1;
}

ssize_t write(int fd, const void *buffer, size_t count) { return is_full(fd) ? -1 : REAL(write)(fd, buffer, count); }
ssize_t pwrite(int fd, const void *b, size_t count, off_t at) { return is_full(fd) ? -1 : REAL(pwrite)(fd, b, count, at); }
ssize_t pwrite64(int fd, const void *b, size_t count, off64_t at) { return is_full(fd) ? -1 : REAL(pwrite64)(fd, b, count, at); }
size_t fwrite(const void *b, size_t size, size_t n, FILE *file) { return is_full(fileno(file)) ? 0 : REAL(fwrite)(b, size, n, file); }

static time_t jump(void) {
  if (kind != 'c' || counter == NULL) return 0;
  return __sync_fetch_and_add(&counter[1], 1) % 2 ? 86400 : -86400;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = REAL(clock_gettime)(clock, now);
  if (status == 0 && clock == CLOCK_REALTIME) now->tv_sec += jump();
  return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int status = REAL(gettimeofday)(now, zone);
  if (status == 0) now->tv_sec += jump();
  return status;
}

time_t time(time_t *kept) {
  time_t now = REAL(time)(NULL) + jump();
  if (kept != NULL) *kept = now;
  return now;
}
