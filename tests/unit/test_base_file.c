/* test_base_file.c: files, folders, and what is left when a write is cut short. */
#include "test_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct fixture {
    struct arena a;
    char *dir;
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->a);
    f->dir = test_folder(&f->a);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    file_remove_tree(f->dir, NULL);
    arena_fini(&f->a);
    mem_free(f);
    return 0;
}

static void expect_content(const char *path, const char *expected)
{
    struct error e;
    char *data;
    size_t size;
    assert_ok(file_read(path, 1 << 20, &data, &size, &e), e);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(data, expected, size + 1);
    mem_free(data);
}

static void test_write_and_read(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *path = file_join(&f->a, f->dir, "x");
    assert_false(file_exists(path));
    assert_ok(file_write(path, "hello", 5, &e), e);
    assert_true(file_exists(path));
    assert_false(file_is_dir(path));
    assert_true(file_is_dir(f->dir));
    assert_int_equal(file_size(path, &e), 5);
    expect_content(path, "hello");
    assert_ok(file_write(path, "", 0, &e), e);
    expect_content(path, "");
    assert_false(file_exists(arena_printf(&f->a, "%s.tmp", path)));
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *path = file_join(&f->a, f->dir, "x"), *data;
    size_t size;
    file_write(path, "123456", 6, &e);
    assert_ok(file_read(path, 6, &data, &size, &e), e);
    mem_free(data);
    assert_int_equal(file_read(path, 5, &data, &size, &e), ERROR_FAILED);
    assert_contains(e.text, path);
    assert_contains(e.text, "too large");
    assert_contains(e.text, "the limit is 5 B");
    assert_int_equal(file_read("/dev/zero", 100000, &data, &size, &e), ERROR_FAILED);
    assert_contains(e.text, "too large: more than 97.7 KiB");
}

/* A pipe has no size: it is read to its end, in growing memory. */
static void test_read_pipe(void **state)
{
    struct fixture *f = *state;
    struct error e;
    int ends[2];
    char *data;
    size_t size;
    enum { TOTAL = 50000 }; /* less than a pipe holds */
    char *text = arena_alloc(&f->a, TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        text[i] = (char)('a' + i % 26);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, TOTAL), TOTAL);
    close(ends[1]);
    int saved = dup(STDIN_FILENO);
    dup2(ends[0], STDIN_FILENO);
    int rc = file_read("-", 1 << 20, &data, &size, &e);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(ends[0]);
    assert_ok(rc, e);
    assert_int_equal(size, TOTAL);
    assert_memory_equal(data, text, TOTAL);
    assert_int_equal(data[TOTAL], 0);
    mem_free(data);
}

static void test_errors_name_the_path(void **state)
{
    struct fixture *f = *state;
    struct error e;
    struct file_map m;
    char *data, **names, *missing = file_join(&f->a, f->dir, "missing");
    size_t size;
    assert_true(file_size(missing, &e) < 0);
    assert_contains(e.text, missing);
    assert_true(file_size(f->dir, &e) < 0);
    assert_contains(e.text, "folder");
    assert_int_equal(file_read(missing, 10, &data, &size, &e), ERROR_FAILED);
    assert_contains(e.text, "no such file");
    assert_int_equal(file_read(f->dir, 10, &data, &size, &e), ERROR_FAILED);
    assert_contains(e.text, "it is a folder");
    assert_int_equal(file_map_open(&m, missing, &e), ERROR_FAILED);
    assert_int_equal(m.size, 0);
    file_map_close(&m);
    assert_int_equal(file_map_open(&m, f->dir, &e), ERROR_FAILED);
    assert_contains(e.text, "not a regular file");
    assert_int_equal(file_list_dir(missing, &f->a, &names, &size, &e), ERROR_FAILED);
    assert_contains(e.text, missing);
    assert_int_equal(file_rename(missing, f->dir, &e), ERROR_FAILED);
    assert_contains(e.text, missing);
    assert_int_equal(file_sync_dir(missing, &e), ERROR_FAILED);
    assert_int_equal(file_write(file_join(&f->a, missing, "x"), "a", 1, &e), ERROR_FAILED);
    assert_contains(e.text, "missing/x");
    assert_int_equal(file_write(f->dir, "a", 1, &e), ERROR_FAILED);
    assert_contains(e.text, "it is a folder");
    char *long_name = arena_alloc(&f->a, 6000);
    memset(long_name, 'n', 5999);
    assert_int_equal(file_write(long_name, "a", 1, &e), ERROR_FAILED);
    assert_int_equal(file_make_dirs(long_name, &e), ERROR_FAILED);
    assert_int_equal(file_make_dirs("", &e), ERROR_FAILED);
}

/* The disk fills up in the middle of a write (here: the limit on the size of a file): the call
 * fails, the old content is whole, and nothing is left beside it. */
static void test_write_that_does_not_fit(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *path = file_join(&f->a, f->dir, "x");
    assert_ok(file_write(path, "old", 3, &e), e);
    size_t size = 1 << 20;
    char *data = arena_alloc(&f->a, size);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){100000, before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = file_write(path, data, size, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, ERROR_FAILED);
    assert_contains(e.text, "cannot write");
    assert_contains(e.text, "file too large");
    expect_content(path, "old");
    char **names;
    size_t count;
    assert_ok(file_list_dir(f->dir, &f->a, &names, &count, &e), e);
    assert_int_equal(count, 1);
}

static void test_write_full_device(void **state)
{
    (void)state;
    struct error e;
    if (!file_exists("/dev/full")) {
        print_message("skip: no /dev/full\n");
        skip();
    }
    assert_int_equal(file_write("/dev/full", "a", 1, &e), ERROR_FAILED);
    assert_contains(e.text, "no space left");
    assert_contains(e.hint, "free some space");
    assert_ok(file_write("/dev/null", "a", 1, &e), e);
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode)); /* written to, not replaced */
}

static void test_write_keeps_mode_and_link(void **state)
{
    struct fixture *f = *state;
    struct error e;
    struct stat st;
    char *path = file_join(&f->a, f->dir, "x"), *link = file_join(&f->a, f->dir, "link");
    assert_ok(file_write(path, "1", 1, &e), e);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(symlink("x", link), 0);
    assert_ok(file_write(link, "22", 2, &e), e);
    expect_content(path, "22");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_map(void **state)
{
    struct fixture *f = *state;
    struct error e;
    struct file_map m;
    char *path = file_join(&f->a, f->dir, "x");
    file_write(path, "", 0, &e);
    assert_ok(file_map_open(&m, path, &e), e);
    assert_int_equal(m.size, 0);
    assert_string_equal((const char *)m.data, "");
    file_map_close(&m);
    file_write(path, "abc", 3, &e);
    assert_ok(file_map_open(&m, path, &e), e);
    assert_int_equal(m.size, 3);
    assert_memory_equal(m.data, "abc", 3);
    file_map_close(&m);
    assert_int_equal(m.size, 0);
    file_map_close(&m);
}

static void test_folders(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *deep = file_join(&f->a, f->dir, "a/b//c/");
    assert_ok(file_make_dirs(deep, &e), e);
    assert_true(file_is_dir(deep));
    assert_ok(file_make_dirs(deep, &e), e);
    assert_ok(file_write(file_join(&f->a, deep, "z"), "", 0, &e), e);
    assert_ok(file_write(file_join(&f->a, deep, "B"), "", 0, &e), e);
    assert_ok(file_write(file_join(&f->a, deep, ".a"), "", 0, &e), e);
    char **names;
    size_t count;
    assert_ok(file_list_dir(deep, &f->a, &names, &count, &e), e);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], ".a");
    assert_string_equal(names[1], "B");
    assert_string_equal(names[2], "z");
    char *file = file_join(&f->a, deep, "z");
    assert_int_equal(file_make_dirs(file, &e), ERROR_FAILED);
    assert_contains(e.text, "not a directory");
    assert_int_equal(file_make_dirs(file_join(&f->a, file, "y"), &e), ERROR_FAILED);
}

/* What a symbolic link points to is not removed with it. */
static void test_remove_tree(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *keep = file_join(&f->a, f->dir, "keep"), *tree = file_join(&f->a, f->dir, "tree");
    assert_ok(file_remove_tree(tree, &e), e);
    assert_ok(file_make_dirs(file_join(&f->a, tree, "x/y"), &e), e);
    assert_ok(file_make_dirs(keep, &e), e);
    assert_ok(file_write(file_join(&f->a, keep, "file"), "1", 1, &e), e);
    assert_ok(file_write(file_join(&f->a, tree, "x/y/file"), "1", 1, &e), e);
    assert_int_equal(symlink("../keep", file_join(&f->a, tree, "link")), 0);
    assert_int_equal(symlink("nowhere", file_join(&f->a, tree, "dangling")), 0);
    assert_ok(file_remove_tree(tree, &e), e);
    assert_false(file_exists(tree));
    assert_true(file_exists(file_join(&f->a, keep, "file")));
    assert_ok(file_remove_tree(file_join(&f->a, keep, "file"), &e), e);
    assert_false(file_exists(file_join(&f->a, keep, "file")));
}

static void test_rename(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *from = file_join(&f->a, f->dir, "a"), *to_dir = file_join(&f->a, f->dir, "sub");
    char *to = file_join(&f->a, to_dir, "b");
    file_write(from, "1", 1, &e);
    assert_int_equal(file_rename(from, to, &e), ERROR_FAILED);
    assert_contains(e.text, "sub/b");
    assert_ok(file_make_dirs(to_dir, &e), e);
    assert_ok(file_rename(from, to, &e), e);
    assert_false(file_exists(from));
    expect_content(to, "1");
    assert_ok(file_rename(to_dir, file_join(&f->a, f->dir, "moved"), &e), e);
    expect_content(file_join(&f->a, f->dir, "moved/b"), "1");
}

static void test_paths(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(file_join(&f->a, "a", "b"), "a/b");
    assert_string_equal(file_join(&f->a, "a/", "b"), "a/b");
    assert_string_equal(file_join(&f->a, "", "b"), "b");
    assert_string_equal(file_join(&f->a, "/", "b"), "/b");
    assert_string_equal(file_base_name("a/b.c"), "b.c");
    assert_string_equal(file_base_name("b.c"), "b.c");
    assert_string_equal(file_base_name("a/"), "");
}

/* In the current folder and the root folder, where the parent is not in the text. */
static void test_parent_folder(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char here[4096];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(f->dir), 0);
    int rc = file_write("plain", "1", 1, &e);
    int again = file_rename("plain", "./other", &e);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(rc, 0);
    assert_int_equal(again, 0);
    expect_content(file_join(&f->a, f->dir, "other"), "1");
}

static void test_write_fd(void **state)
{
    struct fixture *f = *state;
    struct error e;
    char *path = file_join(&f->a, f->dir, "x");
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    assert_ok(file_write_fd(fd, "abc", 3, path, &e), e);
    assert_ok(file_write_fd(fd, NULL, 0, path, &e), e);
    close(fd);
    expect_content(path, "abc");
    assert_int_equal(file_write_fd(fd, "abc", 3, path, &e), ERROR_FAILED);
    assert_contains(e.text, path);
}

/* A page that is gone reads as zeros, is told, and ends nothing. */
static void test_map_of_a_file_that_changes(void **state)
{
    struct fixture *f = *state;
    struct error e;
    struct file_map m, other;
    char *path = file_join(&f->a, f->dir, "large"), *whole = file_join(&f->a, f->dir, "whole");
    enum { SIZE = 100000 };
    char *data = mem_alloc(SIZE);
    memset(data, 'x', SIZE);
    assert_ok(file_write(path, data, SIZE, &e), e);
    assert_ok(file_write(whole, data, SIZE, &e), e);
    assert_ok(file_map_open(&m, path, &e), e);
    assert_ok(file_map_open(&other, whole, &e), e);
    assert_ok(file_map_check(&m, path, &e), e);
    assert_int_equal(truncate(path, 5000), 0);
    assert_int_equal(m.data[4999], 'x');
    assert_int_equal(m.data[5000], 0); /* of the last page: no signal */
    assert_int_equal(m.data[50000], 0);
    assert_int_equal(m.data[SIZE - 1], 0);
    assert_int_equal(file_map_check(&m, path, &e), ERROR_FAILED);
    assert_non_null(strstr(e.text, "large' was cut off while it was read"));
    file_map_close(&m);
    assert_int_equal(other.data[SIZE - 1], 'x');
    assert_ok(file_map_check(&other, whole, &e), e);

    int fd = open(whole, O_WRONLY);
    assert_int_equal(pwrite(fd, "y", 1, SIZE), 1); /* growing is no harm */
    assert_ok(file_map_check(&other, whole, &e), e);
    file_map_close(&other);
    assert_ok(file_map_open(&other, whole, &e), e);
    assert_int_equal(pwrite(fd, "z", 1, 0), 1);
    struct timespec later[2] = {{1, 0}, {1, 0}};
    assert_int_equal(futimens(fd, later), 0); /* the clock of files is coarse */
    assert_int_equal(file_map_check(&other, whole, &e), ERROR_FAILED);
    assert_non_null(strstr(e.text, "whole' was overwritten while it was read"));
    file_map_close(&other);
    close(fd);
    mem_free(data);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_write_and_read),
        T(test_limit),
        T(test_read_pipe),
        T(test_errors_name_the_path),
        T(test_write_that_does_not_fit),
        T(test_write_full_device),
        T(test_write_keeps_mode_and_link),
        T(test_map),
        T(test_map_of_a_file_that_changes),
        T(test_folders),
        T(test_remove_tree),
        T(test_rename),
        T(test_paths),
        T(test_parent_folder),
        T(test_write_fd),
    };
    return cmocka_run_group_tests_name("base_file", tests, NULL, NULL);
}
