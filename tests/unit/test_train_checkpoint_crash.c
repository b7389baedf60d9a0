/* test_train_checkpoint_crash.c: checkpoints when the process dies or the disk does not obey.
 *
 * fsync, rename and renameat2 are defined here, in front of the C library's: every operation that
 * makes something durable is then seen, in order, and can be made to fail or to be the last thing
 * that the process ever did. Between two such operations nothing changes that a loader can see, so
 * dying at each of them in turn, and at random instants besides, covers the ways to crash. */
#include "test_train_checkpoint_util.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define SEED 77u

/* ------------------------------------------------------------------ the watched operations */

static struct {
    int count;   /* since watch_begin */
    int fail_at; /* this one fails with fail_errno; 0: none */
    int die_at;  /* at this one the process ends, as if killed; 0: none */
    int fail_errno;
    const char *lie; /* the file of this name is damaged once it is said to be on disk */
    bool record;
    char log[64][160];
    int n_log;
} watch;

static void watch_begin(bool record, int fail_at, int fail_errno, int die_at)
{
    memset(&watch, 0, sizeof(watch));
    watch.record = record;
    watch.fail_at = fail_at;
    watch.fail_errno = fail_errno;
    watch.die_at = die_at;
}

/* True where the operation is to fail. Runs on the writing thread only. */
static bool watch_operation(const char *what, const char *path)
{
    watch.count++;
    if (watch.record && watch.n_log < (int)ARRAY_LEN(watch.log)) {
        const char *folder = strstr(path, "/checkpoints");
        snprintf(watch.log[watch.n_log++], sizeof(watch.log[0]), "%s %.140s", what,
                 folder ? folder + 1 : path);
    }
    if (watch.die_at && watch.count == watch.die_at) kill(getpid(), SIGKILL);
    if (watch.fail_at && watch.count == watch.fail_at) {
        errno = watch.fail_errno;
        return true;
    }
    return false;
}

int fsync(int fd)
{
    char link[64], path[512] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n >= 0) path[n] = '\0';
    if (watch_operation("fsync", path)) return -1;
    int rc = (int)syscall(SYS_fsync, fd);
    if (watch.lie && strcmp(file_base_name(path), watch.lie) == 0) flip_bit(path, 20, 5);
    return rc;
}

int rename(const char *from, const char *to)
{
    if (watch_operation("rename", to)) return -1;
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (watch_operation("exchange", to)) return -1;
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

static int log_find(const char *entry)
{
    for (int i = 0; i < watch.n_log; i++)
        if (strcmp(watch.log[i], entry) == 0) return i;
    return -1;
}

/* ------------------------------------------------------------------ order */

/* Files before the folder, the folder before the manifest, the manifest before the name, and the
 * old checkpoint goes after all of that. */
static void test_durable_order(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 1, 0);
    assert_ok(state_save(w, &s, 10, &e), &e);
    watch_begin(true, 0, 0, 0);
    assert_ok(state_save(w, &s, 20, &e), &e);
    static const char *const order[] = {
        "fsync checkpoints/step-00000020.tmp/weights.safetensors",
        "fsync checkpoints/step-00000020.tmp/optim-m.safetensors",
        "rename checkpoints/step-00000020.tmp/config.json",
        "rename checkpoints/step-00000020.tmp/tokenizer.json",
        "fsync checkpoints/step-00000020.tmp",
        "fsync checkpoints/step-00000020.tmp/manifest.json.tmp",
        "rename checkpoints/step-00000020.tmp/manifest.json",
        "rename checkpoints/step-00000020",
        "fsync checkpoints",
        "rename checkpoints/step-00000010.tmp",
    };
    int last = -1;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        int at = log_find(order[i]);
        if (i == 4) /* the last one before the manifest's */
            for (int j = at; j >= 0 && j < log_find(order[5]); j++)
                if (strcmp(watch.log[j], order[i]) == 0) at = j;
        if (at <= last) fail_msg("'%s' is at %d, behind %d", order[i], at, last);
        last = at;
    }
    ckpt_writer_close(w);
    state_fini(&s);
    test_dir_free(dir);
}

/* ------------------------------------------------------------------ failing operations */

/* Every durable operation fails in turn: an error that says why, no .tmp, and what was good stays
 * good; the next save works again. */
static void test_each_operation_fails(void **unused)
{
    (void)unused;
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    int n_failed = 0;
    for (int k = 1;; k++) {
        char *dir = test_dir_new();
        ckpt_writer_t *w = writer_open(dir, &s, 2, 0);
        assert_ok(state_save(w, &s, 10, &e), &e);
        watch_begin(false, k, EIO, 0);
        int rc = state_save(w, &s, 20, &e);
        bool reached = watch.count >= k;
        watch_begin(false, 0, 0, 0);
        if (rc < 0) {
            n_failed++;
            assert_non_null(strstr(e.text, "cannot save the checkpoint of step 20"));
            assert_non_null(strstr(e.text, "input/output error"));
            assert_null(strstr(folder_names(dir), ".tmp"));
            assert_int_equal(ckpt_writer_wait(w, &e), 0); /* said once */
        }
        int64_t loaded = state_load(dir, &s, NULL, &e);
        assert_true(loaded == 20 || (rc < 0 && loaded == 10));
        assert_ok(state_save(w, &s, 30, &e), &e);
        assert_int_equal(state_load(dir, &s, NULL, &e), 30);
        ckpt_writer_close(w);
        test_dir_free(dir);
        if (!reached) break;
    }
    assert_true(n_failed >= 8);
    state_fini(&s);
}

/* An error of the write under way comes with the next submit, which is written all the same. */
static void test_error_comes_with_next_submit(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 0, 0);
    watch_begin(false, 1, ENOSPC, 0);
    state_fill(&s, 10);
    assert_ok(ckpt_writer_submit(w, 10, state_json(10), &e), &e);
    state_fill(&s, 20);
    assert_int_equal(ckpt_writer_submit(w, 20, state_json(20), &e), ERROR_FAILED);
    assert_non_null(strstr(e.text, "step 10"));
    assert_non_null(strstr(e.text, "no space left"));
    assert_true(e.hint[0]);
    assert_ok(ckpt_writer_wait(w, &e), &e);
    assert_int_equal(state_load(dir, &s, NULL, &e), 20);
    ckpt_writer_close(w);
    state_fini(&s);
    test_dir_free(dir);
}

/* A limit on file size makes write fall short and then fail; SIGXFSZ must not end the process. */
static void test_file_size_limit(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    struct rlimit before, limit;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 2, 0);
    assert_ok(state_save(w, &s, 10, &e), &e);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    static const rlim_t sizes[] = {0, 1, 8, 4096, 4 * STATE_BIG};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        limit = (struct rlimit){sizes[i], before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int rc = state_save(w, &s, 20, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(rc, ERROR_FAILED);
        assert_non_null(strstr(e.text, "file too large"));
        assert_string_equal(folder_names(dir), "step-00000010");
        assert_int_equal(state_load(dir, &s, NULL, &e), 10);
    }
    assert_ok(state_save(w, &s, 20, &e), &e);
    assert_int_equal(state_load(dir, &s, NULL, &e), 20);
    ckpt_writer_close(w);
    state_fini(&s);
    test_dir_free(dir);
}

/* A device that says "written" and has something else: found by reading back, before the older
 * checkpoint is deleted. */
static void test_lying_disk(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 1, 0);
    assert_ok(state_save(w, &s, 10, &e), &e);
    static const char *const lies[] = {"weights.safetensors", "optim-m.safetensors",
                                       "manifest.json.tmp"};
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        watch_begin(false, 0, 0, 0);
        watch.lie = lies[i];
        assert_int_equal(state_save(w, &s, 20, &e), ERROR_FAILED);
        assert_non_null(strstr(e.text, "reading back"));
        assert_string_equal(folder_names(dir), "step-00000010");
        assert_int_equal(state_load(dir, &s, NULL, &e), 10);
    }
    watch_begin(false, 0, 0, 0);
    ckpt_writer_close(w);
    state_fini(&s);
    test_dir_free(dir);
}

/* Runs fn in a child process; returns its exit status, or -1 where a signal ended it. */
static int in_child(int (*fn)(const char *dir), const char *dir)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(fn(dir));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

enum { CHILD_OK = 0, CHILD_WRONG = 1, CHILD_SKIP = 77 };

/* A file system of 256 KiB that fills up: 20 checkpoints of 12 kB each, then one is too many. */
static int child_full_disk(const char *dir)
{
    struct error e = {0};
    struct run_state s;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, "size=256k") < 0)
        return CHILD_SKIP;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 0, 0);
    int64_t step = 1;
    while (step < 40 && state_save(w, &s, step, &e) == 0)
        step++;
    bool said = strstr(e.text, "no space left") && e.hint[0];
    bool clean = !strstr(folder_names(dir), ".tmp");
    bool intact = step > 5 && step < 40 && state_load(dir, &s, NULL, &e) == step - 1;
    /* Room again: the run goes on saving. */
    bool again = file_remove_tree(step_path(dir, 1, NULL), &e) == 0 &&
                 file_remove_tree(step_path(dir, 2, NULL), &e) == 0 &&
                 state_save(w, &s, step, &e) == 0 && state_load(dir, &s, NULL, &e) == step;
    ckpt_writer_close(w);
    return said && clean && intact && again ? CHILD_OK : CHILD_WRONG;
}

static void test_disk_full(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    int status = in_child(child_full_disk, dir);
    test_dir_free(dir);
    if (status == CHILD_SKIP) {
        print_message("skipped: no permission to mount a small file system\n");
        skip();
    }
    assert_int_equal(status, CHILD_OK);
}

/* As a user without rights to the folder (root gives its own away first). */
static int child_unwritable(const char *dir)
{
    struct error e = {0};
    struct run_state s;
    ckpt_writer_t *w = NULL;
    state_init(&s);
    if (geteuid() == 0 && setuid(65534) < 0) return CHILD_SKIP;
    struct ckpt_writer_options o = {.run_dir = dir};
    if (ckpt_writer_open(&o, &s.layout, &w, &e) == 0) { /* the folder is there: saving fails */
        bool failed = state_save(w, &s, 20, &e) < 0;
        ckpt_writer_close(w);
        if (!failed) return CHILD_WRONG;
    }
    bool said = strstr(e.text, "permission denied") && strstr(e.text, "checkpoints");
    return said && state_load(dir, &s, NULL, &e) == 10 ? CHILD_OK : CHILD_WRONG;
}

static void test_unwritable_folder(void **unused)
{
    (void)unused;
    char *dir = test_dir_new(), root[256];
    struct error e = {0};
    struct run_state s;
    ckpt_writer_t *w = NULL;
    state_init(&s);
    state_save_all(dir, &s, (const int64_t[]){10}, 1);
    snprintf(root, sizeof(root), "%s/checkpoints", dir);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chmod(root, 0555), 0);
    int status = in_child(child_unwritable, dir);
    assert_int_equal(chmod(root, 0755), 0);
    assert_int_equal(status, CHILD_OK);

    /* A file where the folder should be. */
    assert_ok(file_remove_tree(root, &e), &e);
    assert_ok(file_write(root, "x", 1, &e), &e);
    struct ckpt_writer_options o = {.run_dir = dir};
    assert_true(ckpt_writer_open(&o, &s.layout, &w, &e) < 0);
    assert_non_null(strstr(e.text, "not a directory"));
    assert_int_equal(state_load(dir, &s, NULL, &e), -2);
    state_fini(&s);
    test_dir_free(dir);
}

/* ------------------------------------------------------------------ dying */

static int die_at;

/* Saves 20 over 10 (retention deletes 10) and dies at operation die_at; 20 again, so that the
 * replacement of a folder of the same name is passed through as well. */
static int child_save_and_die(const char *dir)
{
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    ckpt_writer_t *w = writer_open(dir, &s, 1, 0);
    watch_begin(false, 0, 0, die_at);
    if (state_save(w, &s, 20, &e) < 0 || state_save(w, &s, 20, &e) < 0) return CHILD_WRONG;
    return CHILD_OK;
}

static void test_death_at_each_operation(void **unused)
{
    (void)unused;
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    int deaths = 0, fresh = 0;
    for (die_at = 1;; die_at++) {
        char *dir = test_dir_new();
        state_save_all(dir, &s, (const int64_t[]){10}, 1);
        int status = in_child(child_save_and_die, dir);
        assert_true(status == CHILD_OK || status == -1);
        struct skips skips;
        int64_t step = state_load(dir, &s, &skips, &e);
        assert_true(step == 10 || step == 20);
        assert_int_equal(skips.count, 0);
        fresh += step == 20;
        deaths += status == -1;
        ckpt_writer_close(writer_open(dir, &s, 1, 0)); /* sweeps the left-overs */
        assert_null(strstr(folder_names(dir), ".tmp"));
        assert_int_equal(state_load(dir, &s, NULL, &e), step);
        test_dir_free(dir);
        if (status == CHILD_OK) break;
    }
    assert_true(deaths > 20);
    assert_true(fresh > 5 && fresh < deaths);
    state_fini(&s);
}

/* Saves as fast as it can, from one step above the newest, until it is killed; a byte into the
 * pipe for each one that was handed over. */
static int child_save_for_ever(const char *dir, int pipe_fd)
{
    struct error e = {0};
    struct run_state s;
    state_init(&s);
    int64_t step = state_load(dir, &s, NULL, &e);
    if (step < -1) return CHILD_WRONG;
    ckpt_writer_t *w = writer_open(dir, &s, 2, 7);
    for (step++; step < 100000; step++) {
        state_fill(&s, step);
        if (ckpt_writer_submit(w, step, state_json(step), &e) < 0) return CHILD_WRONG;
        if (write(pipe_fd, "", 1) != 1) return CHILD_WRONG;
    }
    return CHILD_WRONG;
}

/* The moment is counted from the child's own progress, not from its birth: on a busy machine a
 * child may get its first turn only after any fixed time. */
static void wait_for_moment(int pipe_fd, uint64_t i)
{
    char byte;
    uint64_t saves = 1 + (uint64_t)(3 * rng_uniform(SEED, 1, i));
    for (uint64_t k = 0; k < saves; k++)
        assert_int_equal(read(pipe_fd, &byte, 1), 1);
    double wait_s = 0.008 * rng_uniform(SEED, 0, i);
    nanosleep(&(struct timespec){0, (long)(wait_s * 1e9)}, NULL);
}

static void test_kill_at_random_moments(void **unused)
{
    (void)unused;
    char *dir = test_dir_new();
    struct error e = {0};
    struct run_state s;
    int64_t newest = -1;
    int interrupted = 0;
    state_init(&s);
    for (uint64_t i = 0; i < 100; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(child_save_for_ever(dir, fds[1]));
        close(fds[1]);
        wait_for_moment(fds[0], i);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        close(fds[0]); /* not before: writing to a closed pipe is another death */
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        struct skips skips;
        int64_t step = state_load(dir, &s, &skips, &e);
        assert_true(step >= newest); /* what was there once never goes */
        assert_int_equal(skips.count, 0);
        newest = step;
        if (step >= 0) interrupted += strstr(folder_names(dir), ".tmp") != NULL;
    }
    print_message("reached step %" PRId64 ", %d of 100 kills during a write\n", newest,
                  interrupted);
    assert_true(newest > 0 && interrupted > 0);
    state_fini(&s);
    test_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durable_order),
        cmocka_unit_test(test_each_operation_fails),
        cmocka_unit_test(test_error_comes_with_next_submit),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_lying_disk),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_unwritable_folder),
        cmocka_unit_test(test_death_at_each_operation),
        cmocka_unit_test(test_kill_at_random_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
