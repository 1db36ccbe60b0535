// The C library's file operations below a directory, of which some fail, as the environment says. For programs as they are
// built: LD_PRELOAD.
//
// FAILING_BELOW     the directory
// FAILING_CALL      which operation fails: a name in this file, "any", or "space": those that fail on a full disk
// FAILING_AT        which of them, counted from 1; 0 for each
// FAILING_ONWARDS   if it is set, also each that follows
// FAILING_ERRNO     the error; 0 ends the process instead; -1 does half of a write, which is not an error
// FAILING_LOG       a file that gets a line for each operation below the directory
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *below, *wanted;
static unsigned long at, seen;
static int error, onwards, log_file = -1;
static const char *const space[] = {"write", "create", "mkdir", "hard_link", "symlink", "set_length", NULL};

#define HALF -1
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *number = getenv("FAILING_AT"), *code = getenv("FAILING_ERRNO"), *log = getenv("FAILING_LOG");
    wanted = getenv("FAILING_CALL");
    at = number ? strtoul(number, NULL, 10) : 0;
    error = code ? atoi(code) : EIO;
    onwards = getenv("FAILING_ONWARDS") != NULL;
    if (log)
        log_file = REAL(open64)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    below = getenv("FAILING_BELOW");
}

static int is_wanted(const char *call) {
    if (!wanted || !strcmp(wanted, "any") || !strcmp(wanted, call))
        return wanted != NULL;
    for (int i = 0; !strcmp(wanted, "space") && space[i]; i++)
        if (!strcmp(space[i], call))
            return 1;
    return 0;
}

// Whether this operation fails, and sets errno then, or is done by half.
static int fails(const char *call, const char *path) {
    if (!below || !path || strncmp(path, below, strlen(below)))
        return 0;
    int kept = errno;
    if (log_file >= 0) {
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        if (REAL(write)(log_file, line, (size_t)length) < 0)
            abort();
    }
    errno = kept;
    if (!is_wanted(call))
        return 0;
    unsigned long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (at && (onwards ? number < at : number != at))
        return 0;
    if (!error)
        _exit(99);
    errno = error;
    return 1;
}

static int fails_on(const char *call, int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(call, path);
}

int flock(int file, int operation) {
    return fails_on("lock", file) ? -1 : REAL(flock)(file, operation);
}

int fsync(int file) {
    struct stat facts;
    int is_directory = !fstat(file, &facts) && S_ISDIR(facts.st_mode);
    return fails_on(is_directory ? "sync_directory" : "sync", file) ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) {
    return fails_on("sync", file) ? -1 : REAL(fdatasync)(file);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return fails(flags & O_CREAT ? "create" : "open", path) ? -1 : REAL(open64)(path, flags, mode);
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *facts) {
    return fails("stat", path) ? -1 : REAL(statx)(directory, path, flags, mask, facts);
}

DIR *opendir(const char *path) {
    return fails("list", path) ? NULL : REAL(opendir)(path);
}

ssize_t pread64(int file, void *bytes, size_t length, off64_t offset) {
    return fails_on("read", file) ? -1 : REAL(pread64)(file, bytes, length, offset);
}

ssize_t read(int file, void *bytes, size_t length) {
    return fails_on("read", file) ? -1 : REAL(read)(file, bytes, length);
}

ssize_t write(int file, const void *bytes, size_t length) {
    if (!fails_on("write", file))
        return REAL(write)(file, bytes, length);
    return error == HALF ? REAL(write)(file, bytes, (length + 1) / 2) : -1;
}

int mkdir(const char *path, mode_t mode) {
    return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode);
}

int rmdir(const char *path) {
    return fails("rmdir", path) ? -1 : REAL(rmdir)(path);
}

int ftruncate64(int file, off64_t length) {
    return fails_on("set_length", file) ? -1 : REAL(ftruncate64)(file, length);
}

int link(const char *from, const char *path) {
    return fails("hard_link", path) ? -1 : REAL(link)(from, path);
}

int linkat(int from_directory, const char *from, int directory, const char *path, int flags) {
    return fails("hard_link", path) ? -1 : REAL(linkat)(from_directory, from, directory, path, flags);
}

int symlink(const char *target, const char *path) {
    return fails("symlink", path) ? -1 : REAL(symlink)(target, path);
}

int rename(const char *from, const char *path) {
    return fails("rename", path) ? -1 : REAL(rename)(from, path);
}

int unlink(const char *path) {
    return fails("remove", path) ? -1 : REAL(unlink)(path);
}
