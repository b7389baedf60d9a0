/* base_file.c: files as the rest of the program needs them.
 *
 * Reading has a limit that the caller states, so that a wrong path (a device, a dump) is an error
 * and not an hour of swapping. Writing a whole file either leaves the old content or the new one,
 * also when the power goes: the data is written beside it and synced before the rename, and the
 * folder is synced after it (rename alone orders neither on ext4 or XFS).
 *
 * A page of a mapped file that is no longer there (the file was cut off, its disk failed) is a
 * SIGBUS, which would end the program without a word. So the signal puts pages of zeros in its place
 * and notes it, and file_map_check tells whoever has read them. What lies open for hours, a dataset,
 * is not mapped but read (text_shard_dataset.c). */
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_MAX_DEPTH 128

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder that holds path; in copy, or constant. */
static const char *parent_of(const char *path, char copy[PATH_MAX])
{
    snprintf(copy, PATH_MAX, "%s", path);
    return dirname(copy);
}

/* Of what is not there yet, the folder and the name in it decide. */
bool file_is_same(const char *a, const char *b)
{
    char dir_a[PATH_MAX], dir_b[PATH_MAX];
    struct stat x, y;
    if (strcmp(a, b) == 0) return true;
    bool there_a = stat(a, &x) == 0, there_b = stat(b, &y) == 0;
    if (there_a != there_b) return false;
    if (!there_a && strcmp(file_base_name(a), file_base_name(b)) != 0) return false;
    if (!there_a && (strlen(a) >= PATH_MAX || strlen(b) >= PATH_MAX)) return false;
    if (!there_a && (stat(parent_of(a, dir_a), &x) != 0 || stat(parent_of(b, dir_b), &y) != 0))
        return false;
    return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int64_t file_size(const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st) < 0) return error_errno(e, "open", path);
    if (S_ISDIR(st.st_mode)) return error_set(e, "'%s' is a folder, not a file", path);
    return (int64_t)st.st_size;
}

/* As error_errno, where no call has set errno. */
static int fail_with(int number, const char *what, const char *path, struct error *e)
{
    errno = number;
    return error_errno(e, what, path);
}

/* ------------------------------------------------------------------ reading */

static int file_too_large(const char *path, size_t size, size_t max_size, struct error *e)
{
    char has[32], limit[32];
    return error_set(e, "'%s' is too large: %s%s, the limit is %s", path,
                     size > max_size + 1 ? "" : "more than ",
                     format_bytes(has, (double)(size > max_size + 1 ? size : max_size)),
                     format_bytes(limit, (double)max_size));
}

/* Reads fd to its end into memory that doubles, starting from what fstat says, which is 0 for what
 * has no size of its own (pipes, /proc). */
static int read_to_end(int fd, const char *path, size_t max_size, char **data, size_t *size,
                       struct error *e)
{
    struct stat st = {0};
    if (fstat(fd, &st) < 0) return error_errno(e, "read", path);
    if (S_ISDIR(st.st_mode)) {
        error_set(e, "cannot read '%s': it is a folder", path);
        return error_hint(e, "name a file");
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max_size)
        return file_too_large(path, (size_t)st.st_size, max_size, e);
    size_t cap = MIN((size_t)MAX(st.st_size, 4096), max_size) + 1, used = 0;
    char *buffer = mem_try_alloc(cap + 1);
    while (buffer) {
        ssize_t n = read(fd, buffer + used, cap - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            mem_free(buffer);
            return error_errno(e, "read", path);
        }
        used += (size_t)n;
        if (n == 0 || used > max_size) break;
        if (used == cap) {
            cap = MIN(cap * 2, max_size + 1);
            char *larger = mem_try_realloc(buffer, cap + 1);
            if (!larger) mem_free(buffer);
            buffer = larger;
        }
    }
    if (!buffer)
        return error_set(e, "not enough memory to read '%s' (%zu bytes so far)", path, used);
    if (used > max_size) {
        mem_free(buffer);
        return file_too_large(path, used, max_size, e);
    }
    buffer[used] = '\0';
    *data = buffer;
    *size = used;
    return 0;
}

int file_read(const char *path, size_t max_size, char **data, size_t *size, struct error *e)
{
    max_size = MIN(max_size, (size_t)SSIZE_MAX - 2);
    if (strcmp(path, "-") == 0)
        return read_to_end(STDIN_FILENO, "standard input", max_size, data, size, e);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_errno(e, "open", path);
    int rc = read_to_end(fd, path, max_size, data, size, e);
    close(fd);
    return rc;
}

/* ------------------------------------------------------------------ maps */

bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed_s == b->changed_s && a->changed_ns == b->changed_ns;
}

int file_stamp_of(int fd, const char *path, struct file_stamp *stamp, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0) return error_errno(e, "read", path);
    *stamp = (struct file_stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec,
                                 st.st_mtim.tv_nsec};
    return 0;
}

/* What the handler of SIGBUS looks through; a place is taken while a file is mapped. */
struct mapped_file {
    atomic_bool taken;
    _Atomic uintptr_t start, end; /* start 0: nothing is mapped yet */
    atomic_bool lost;             /* a page was not there */
    int fd;
    struct file_stamp stamp; /* when it was mapped */
};
/* Three files of each of 5000 ranks; of those that are never used no page is touched. */
enum { MAX_MAPPED_FILES = 1 << 14 };
static struct mapped_file mapped_files[MAX_MAPPED_FILES];

/* mmap is not on the list of what a handler may call, but it is a bare system call. A SIGBUS that
 * is not ours comes again when the handler returns, and ends the program. */
static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t at = (uintptr_t)info->si_addr;
    uintptr_t page = at / (uintptr_t)sysconf(_SC_PAGESIZE) * (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < MAX_MAPPED_FILES; i++) {
        struct mapped_file *f = &mapped_files[i];
        uintptr_t start = atomic_load(&f->start), end = atomic_load(&f->end);
        if (start == 0 || at < start || at >= end) continue;
        atomic_store(&f->lost, true);
        void *zeros = mmap((void *)page, end - page, PROT_READ,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (zeros != MAP_FAILED) return;
    }
    signal(number, SIG_DFL);
}

/* At each map, as a library may have set its own handler since. */
static void catch_bus_errors(void)
{
    struct sigaction a = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&a.sa_mask);
    sigaction(SIGBUS, &a, NULL);
}

static struct mapped_file *take_place(void)
{
    catch_bus_errors();
    for (int i = 0; i < MAX_MAPPED_FILES; i++)
        if (!atomic_exchange(&mapped_files[i].taken, true)) return &mapped_files[i];
    return NULL;
}

/* Regular files only: the size of anything else is not known, or changes. */
static int map_file(int fd, const char *path, struct file_map *m, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0) return error_errno(e, "read", path);
    if (!S_ISREG(st.st_mode))
        return error_set(e, "cannot map '%s': it is not a regular file", path);
    if (st.st_size == 0) return 0;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return error_errno(e, "map", path);
    struct mapped_file *f = take_place();
    if (!f) {
        munmap(p, (size_t)st.st_size);
        return error_set(e, "cannot map '%s': %d files are mapped already", path, MAX_MAPPED_FILES);
    }
    f->fd = fd;
    (void)file_stamp_of(fd, path, &f->stamp, NULL);
    f->stamp.size = st.st_size;
    atomic_store(&f->lost, false);
    atomic_store(&f->end, (uintptr_t)p + (size_t)st.st_size);
    atomic_store(&f->start, (uintptr_t)p);
    *m = (struct file_map){p, (size_t)st.st_size, f};
    return 0;
}

int file_map_open(struct file_map *m, const char *path, struct error *e)
{
    *m = (struct file_map){(const uint8_t *)"", 0, NULL};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_errno(e, "open", path);
    int rc = map_file(fd, path, m, e);
    if (!m->file) close(fd);
    return rc;
}

int file_map_check(const struct file_map *m, const char *path, struct error *e)
{
    struct mapped_file *f = m->file;
    struct file_stamp now = {0};
    if (!f) return 0;
    TRY(file_stamp_of(f->fd, path, &now, e));
    const char *what = NULL;
    if (now.size < f->stamp.size)
        what = "was cut off";
    else if (atomic_load(&f->lost))
        what = "could not be read whole";
    else if (now.size == f->stamp.size && !file_stamp_equal(&now, &f->stamp))
        what = "was overwritten";
    if (!what) return 0;
    error_set(e, "'%s' %s while it was read", path, what);
    return error_hint(e, "run the command again when the file is whole");
}

void file_map_close(struct file_map *m)
{
    struct mapped_file *f = m->file;
    if (f) {
        munmap((void *)(uintptr_t)m->data, m->size);
        atomic_store(&f->start, 0);
        close(f->fd);
        atomic_store(&f->taken, false);
    }
    *m = (struct file_map){(const uint8_t *)"", 0, NULL};
}

/* ------------------------------------------------------------------ writing */

int file_write_fd(int fd, const void *data, size_t size, const char *path, struct error *e)
{
    const char *p = data;
    while (size) {
        ssize_t n = write(fd, p, MIN(size, (size_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(e, "write", path);
        if (n == 0) return fail_with(EIO, "write", path, e);
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int file_sync_dir(const char *path, struct error *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_errno(e, "open", path);
    /* Some network file systems have no fsync of folders and say EINVAL: nothing to wait for. */
    int rc = fsync(fd) < 0 && errno != EINVAL ? error_errno(e, "sync", path) : 0;
    close(fd);
    return rc;
}

/* Writes tmp, which is to become path: the file that an error names. */
static int write_synced(const char *tmp, const char *path, mode_t mode, const void *data,
                        size_t size, struct error *e)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0) return error_errno(e, "create", path);
    int rc = file_write_fd(fd, data, size, path, e);
    if (rc == 0 && fsync(fd) < 0) rc = error_errno(e, "sync", path);
    if (close(fd) < 0 && rc == 0) rc = error_errno(e, "close", path);
    return rc;
}

/* A pipe, a terminal or /dev/null is written to, never replaced by a file. */
static int write_special(const char *path, const void *data, size_t size, struct error *e)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return error_errno(e, "open", path);
    int rc = file_write_fd(fd, data, size, path, e);
    close(fd);
    return rc;
}

int file_write(const char *path, const void *data, size_t size, struct error *e)
{
    char real[PATH_MAX], tmp[PATH_MAX + 8], dir[PATH_MAX];
    struct stat st;
    mode_t mode = 0666;
    if (!*path) return error_set(e, "cannot write a file whose name is empty");
    /* Behind a symbolic link the file it names is replaced, not the link. */
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && realpath(path, real)) path = real;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            error_set(e, "cannot write '%s': it is a folder", path);
            return error_hint(e, "name a file");
        }
        if (!S_ISREG(st.st_mode)) return write_special(path, data, size, e);
        mode = st.st_mode & 07777;
    }
    if (strlen(path) >= PATH_MAX) return fail_with(ENAMETOOLONG, "write", path, e);
    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    int rc = write_synced(tmp, path, mode, data, size, e);
    if (rc == 0 && rename(tmp, path) < 0) rc = error_errno(e, "rename to", path);
    if (rc < 0) {
        unlink(tmp);
        return rc;
    }
    return file_sync_dir(parent_of(path, dir), e);
}

/* A rename is on disk when both folders are: one lost the name, the other has it. */
int file_rename(const char *from, const char *to, struct error *e)
{
    char from_dir[PATH_MAX], to_dir[PATH_MAX];
    if (rename(from, to) < 0) {
        error_errno(e, "rename", from);
        return error_context(e, "moving it to '%s'", to);
    }
    const char *left = parent_of(from, from_dir), *entered = parent_of(to, to_dir);
    TRY(file_sync_dir(entered, e));
    return strcmp(left, entered) == 0 ? 0 : file_sync_dir(left, e);
}

/* ------------------------------------------------------------------ folders */

int file_make_dirs(const char *path, struct error *e)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(part))
        return fail_with(n ? ENAMETOOLONG : ENOENT, "make the folder", path, e);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        part[i] = '\0';
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            return error_errno(e, "make the folder", part);
        part[i] = i < n ? '/' : '\0';
    }
    return file_is_dir(path) ? 0 : fail_with(ENOTDIR, "make the folder", path, e);
}

/* The entries of every folder that lead to itself and up. */
static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes name in the folder parent_fd, and what is below it. Symbolic links are removed, never
 * followed, also when one takes a folder's place meanwhile (O_NOFOLLOW). */
static int remove_at(int parent_fd, const char *name, const char *root, int depth, struct error *e)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return error_errno(e, "remove", root);
    if (depth > TREE_MAX_DEPTH)
        return error_set(e, "cannot remove '%s': more than %d folders deep", root, TREE_MAX_DEPTH);
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0) close(fd);
        return error_errno(e, "remove", root);
    }
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (entry = readdir(dir)))
        if (!is_dot(entry->d_name)) rc = remove_at(dirfd(dir), entry->d_name, root, depth + 1, e);
    closedir(dir);
    if (rc == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0) rc = error_errno(e, "remove", root);
    return rc;
}

int file_remove_tree(const char *path, struct error *e)
{
    return remove_at(AT_FDCWD, path, path, 0, e);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int file_list_dir(const char *path, struct arena *a, char ***names, size_t *count, struct error *e)
{
    DIR *dir = opendir(path);
    if (!dir) return error_errno(e, "open", path);
    char **list = NULL;
    size_t n = 0, cap = 0;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(dir)); errno = 0) {
        if (is_dot(entry->d_name)) continue;
        if (n == cap) {
            cap = MAX(cap * 2, 16);
            list = mem_realloc(list, cap * sizeof(*list));
        }
        list[n++] = arena_strdup(a, entry->d_name);
    }
    int rc = errno ? error_errno(e, "read", path) : 0;
    closedir(dir);
    if (n) qsort(list, n, sizeof(*list), compare_names);
    *names = arena_alloc(a, (n + 1) * sizeof(**names));
    if (n) memcpy(*names, list, n * sizeof(**names));
    mem_free(list);
    *count = n;
    return rc;
}

/* ------------------------------------------------------------------ paths */

char *file_join(struct arena *a, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    if (n == 0) return arena_strdup(a, name);
    return arena_printf(a, dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

const char *file_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *file_config_dir(struct arena *a)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && *config) return file_join(a, config, "colossus");
    return file_join(a, home && *home ? home : ".", ".config/colossus");
}
