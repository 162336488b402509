// A disk and a clock that fail when they are told to, for a process that is started with
// LD_PRELOAD. Only files below FAULTS_ROOT are touched.
//
//   FAULTS_SHADOW=DIR   what has been synced is copied there, a new name once its folder has been:
//                       after a kill, DIR is what a machine that lost its power would find
//   FAULTS_POWER=N      power goes when the N-th file has been synced, and the process with it
//   FAULTS_FULL=FILE    while FILE exists, writes to paths with its content in them find no space
//   FAULTS_TEAR=N       the N-th write stops half way, and the process with it
//   FAULTS_CLOCK=S      the wall clock is so many seconds ahead, or behind
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// The path of the root or of something below it, from there on; NULL for another one. A relative path is made
// whole in a place of this thread's, one of two in turn.
static const char *below(const char *path) {
    const char *root = getenv("FAULTS_ROOT");
    size_t length = root ? strlen(root) : 0;
    static __thread char whole[2][8192];
    static __thread int turn;
    if (length && path[0] != '/') {
        char *at = whole[turn ^= 1];
        if (!getcwd(at, 4096)) return NULL;
        snprintf(at + strlen(at), 4096, "/%s", path);
        path = at;
    }
    int is_below = length && strncmp(path, root, length) == 0 && (path[length] == '/' || !path[length]);
    return is_below ? path + length : NULL;
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

// ---------------------------------------------------------------- what was synced
static int shadow_of(const char *inside, char *out) {
    const char *shadow = getenv("FAULTS_SHADOW");
    return shadow && snprintf(out, 4096, "%s%s", shadow, inside) < 4096;
}

static void make_folders(char *path) {
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            mkdir(path, 0777);
            *at = '/';
        }
}

// Names that were changed, and whose folder was not synced since: on the disk they are the old ones.
static struct name { char from[4096], to[4096]; } renamed[16];
static int renamed_count;
static pthread_mutex_t renaming = PTHREAD_MUTEX_INITIALIZER;

// Whether a path is that of an entry of a folder.
static int is_in(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/' && !strchr(path + length + 1, '/');
}

static void bring_names(const char *folder) {
    pthread_mutex_lock(&renaming);
    int left = 0;
    for (int i = 0; i < renamed_count; i++)
        if (is_in(renamed[i].to, folder)) {
            make_folders(renamed[i].to);
            if (REAL(rename)(renamed[i].from, renamed[i].to)) abort();
        } else {
            renamed[left++] = renamed[i];
        }
    renamed_count = left;
    pthread_mutex_unlock(&renaming);
}

static void count_synced(void) {
    static atomic_long synced;
    const char *power = getenv("FAULTS_POWER");
    if (power && atomic_fetch_add(&synced, 1) + 1 == atol(power)) _exit(137);
}

static void copy_synced(int fd) {
    char path[4096], shadow[4096], unfinished[4200];
    struct stat info;
    if (fstat(fd, &info) || !path_of(fd, path)) return;
    const char *inside = below(path);
    if (!inside || !shadow_of(inside, shadow)) return;
    if (S_ISDIR(info.st_mode)) {
        bring_names(shadow);
        count_synced();
        return;
    }
    make_folders(shadow);
    // Opening a file of SQLite a second time, and closing it, would give up its locks.
    int from = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY ? open(path, O_RDONLY) : fd;
    snprintf(unfinished, sizeof unfinished, "%s.%d.copy", shadow, gettid());
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    static __thread char bytes[1 << 16];
    off_t at = 0;
    ssize_t length;
    while (from >= 0 && to >= 0 && (length = pread(from, bytes, sizeof bytes, at)) > 0) {
        if (REAL(write)(to, bytes, length) != length) abort();
        at += length;
    }
    if (from != fd) close(from);
    close(to);
    REAL(rename)(unfinished, shadow);
    count_synced();
}

int fsync(int fd) {
    int result = REAL(fsync)(fd);
    if (result == 0) copy_synced(fd);
    return result;
}

int fdatasync(int fd) {
    int result = REAL(fdatasync)(fd);
    if (result == 0) copy_synced(fd);
    return result;
}

int rename(const char *old, const char *new) {
    int result = REAL(rename)(old, new);
    const char *inside_old = below(old), *inside_new = below(new);
    if (result || !inside_old || !inside_new) return result;
    pthread_mutex_lock(&renaming);
    struct name *name = &renamed[renamed_count];
    if (renamed_count == 16) abort();
    renamed_count += shadow_of(inside_old, name->from) && shadow_of(inside_new, name->to);
    pthread_mutex_unlock(&renaming);
    return result;
}

int unlink(const char *path) {
    int result = REAL(unlink)(path);
    char shadow[4096];
    const char *inside = below(path);
    if (result == 0 && inside && shadow_of(inside, shadow)) REAL(unlink)(shadow);
    return result;
}

// ---------------------------------------------------------------- writes that fail
static atomic_long writes;

// How many of so many bytes are written; −1 when there is no space.
static ssize_t allowed(int fd, size_t count, int *last) {
    *last = 0;
    const char *full = getenv("FAULTS_FULL"), *tear = getenv("FAULTS_TEAR");
    if (!full && !tear) return count;
    char path[4096], wanted[256];
    if (!path_of(fd, path) || !below(path)) return count;
    if (full) {
        int control = open(full, O_RDONLY);
        if (control >= 0) {
            ssize_t length = read(control, wanted, sizeof wanted - 1);
            close(control);
            if (length > 0) {
                wanted[length] = 0;
                if (strstr(path, wanted)) {
                    errno = ENOSPC;
                    return -1;
                }
            }
        }
    }
    if (tear && atomic_fetch_add(&writes, 1) + 1 == atol(tear)) {
        *last = 1;
        return count / 2;
    }
    return count;
}

#define WRITE(name, arguments, call)                       \
    ssize_t name arguments {                               \
        int last;                                          \
        ssize_t part = allowed(fd, count, &last);          \
        if (part < 0) return -1;                           \
        count = part;                                      \
        ssize_t written = REAL(name) call;                 \
        if (last) _exit(137);                              \
        return written;                                    \
    }

WRITE(write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
WRITE(pwrite, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
WRITE(pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))

// ---------------------------------------------------------------- a clock that jumps
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    const char *ahead = getenv("FAULTS_CLOCK");
    if (ahead && clock == CLOCK_REALTIME) now->tv_sec += atol(ahead);
    return result;
}
