/* test_base_error.c: messages as they grow on the way up, and what a failed CHECK leaves behind. */
#include "test_cmocka.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

static void test_set(void **state)
{
    (void)state;
    struct error e;
    memset(&e, 'x', sizeof(e));
    assert_int_equal(error_set(&e, "cannot count to %d", 3), ERROR_FAILED);
    assert_string_equal(e.text, "cannot count to 3");
    assert_string_equal(e.hint, "");
    assert_int_equal(e.code, ERROR_FAILED);
    assert_int_equal(error_set_code(&e, ERROR_CONFIG, "x"), ERROR_CONFIG);
    assert_int_equal(e.code, ERROR_CONFIG);
    assert_int_equal(error_hint(&e, "try %s", "again"), ERROR_CONFIG);
    assert_string_equal(e.hint, "try again");
}

static void test_null_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, "x"), ERROR_FAILED);
    assert_int_equal(error_set_code(NULL, ERROR_AGAIN, "x"), ERROR_AGAIN);
    assert_int_equal(error_context(NULL, "x"), ERROR_FAILED);
    assert_int_equal(error_hint(NULL, "x"), ERROR_FAILED);
    errno = ENOENT;
    assert_int_equal(error_errno(NULL, "open", "x"), ERROR_FAILED);
}

static void test_context_goes_in_front(void **state)
{
    (void)state;
    struct error e;
    error_set_code(&e, ERROR_NO_REQUEUE, "disk is gone");
    error_hint(&e, "buy one");
    assert_int_equal(error_context(&e, "while saving step %d", 12), ERROR_NO_REQUEUE);
    assert_string_equal(e.text, "while saving step 12: disk is gone");
    assert_string_equal(e.hint, "buy one");
}

/* However long the parts are, the text stays within its size and ends in NUL. */
static void test_too_long(void **state)
{
    (void)state;
    char part[2000];
    memset(part, 'a', sizeof(part) - 1);
    part[sizeof(part) - 1] = '\0';
    struct error e;
    for (size_t n = 0; n < 900; n += 7) {
        error_set(&e, "%.*s", (int)n, part);
        for (int i = 0; i < 5; i++) {
            error_context(&e, "%.*s", (int)(n / 3 + 200 * (size_t)i), part);
            assert_true(strlen(e.text) < sizeof(e.text));
        }
    }
    error_set(&e, "reason");
    error_context(&e, "%s", part);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    error_hint(&e, "%s", part);
    assert_int_equal(strlen(e.hint), sizeof(e.hint) - 1);
}

static void test_errno(void **state)
{
    (void)state;
    struct error e;
    errno = ENOENT;
    assert_int_equal(error_errno(&e, "open", "a/b"), ERROR_FAILED);
    assert_string_equal(e.text, "cannot open 'a/b': no such file or directory");
    assert_int_equal(errno, ENOENT);
    errno = EMFILE;
    error_errno(&e, "open", "x");
    assert_string_equal(e.text, "cannot open 'x': too many open files");
    errno = ENOSPC;
    error_errno(&e, "write", "x");
    assert_contains(e.hint, "free some space");
    error_context(&e, "while saving");
    assert_true(error_is_full(&e));
    error_set(&e, "something else");
    assert_false(error_is_full(&e));
}

static int try_returns(int rc)
{
    TRY(rc);
    return 5;
}

static void test_try(void **state)
{
    (void)state;
    assert_int_equal(try_returns(-3), -3);
    assert_int_equal(try_returns(0), 5);
    assert_int_equal(try_returns(7), 5);
}

/* Runs a failing CHECK in a child and returns what it said; *signal is what it died of. */
static void failing_child(void (*fn)(void), char *text, size_t size, int *died_of)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], text + used, size - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = '\0';
    close(ends[0]);
    int status;
    waitpid(pid, &status, 0);
    *died_of = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void check_plain(void)
{
    CHECK(1 + 1 == 3);
}

static void check_with_words(void)
{
    check_set_context("rank %d, step %d", 3, 120);
    CHECK_MSG(2 > 3, "%d tensors", 7);
}

static void check_very_long(void)
{
    char text[5000];
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    check_set_context("%s", text);
    CHECK_MSG(false, "%s", text);
}

static void test_check(void **state)
{
    (void)state;
    char text[4096];
    int died_of;
    CHECK(true);
    failing_child(check_plain, text, sizeof(text), &died_of);
    assert_int_equal(died_of, SIGABRT);
    assert_contains(text, "test_base_error.c:");
    assert_contains(text, "'1 + 1 == 3' is false\n");
    failing_child(check_with_words, text, sizeof(text), &died_of);
    assert_int_equal(died_of, SIGABRT);
    assert_contains(text, "'2 > 3' is false: 7 tensors (rank 3, step 120)\n");
    failing_child(check_very_long, text, sizeof(text), &died_of);
    assert_int_equal(died_of, SIGABRT);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),      cmocka_unit_test(test_null_is_allowed),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_context_goes_in_front),
        cmocka_unit_test(test_errno),    cmocka_unit_test(test_try),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests_name("base_error", tests, NULL, NULL);
}
