/* test_base_log.c: lines of many threads stay whole, levels hold, progress says how far it is. */
#include "test_cmocka.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

/* Runs fn in a child with standard error in a pipe; returns what it said, for mem_free. */
static char *stderr_of(void (*fn)(void), const char *level)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (level)
            setenv("COLOSSUS_LOG", level, 1);
        else
            unsetenv("COLOSSUS_LOG");
        fn();
        _exit(0);
    }
    close(ends[1]);
    struct str s = {0};
    char buffer[4096];
    ssize_t n;
    str_puts(&s, "");
    while ((n = read(ends[0], buffer, sizeof(buffer))) > 0)
        str_append(&s, buffer, (size_t)n);
    close(ends[0]);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return s.data;
}

static void say_all(void)
{
    log_debug("d %d", 1);
    log_info("i %d", 2);
    log_warn("w %d", 3);
    log_error("e %d", 4);
}

static void say_all_from_error(void)
{
    setenv("COLOSSUS_LOG", "error", 1);
    say_all();
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void test_levels(void **state)
{
    (void)state;
    static const struct {
        const char *level;
        size_t lines;
    } cases[] = {{NULL, 3}, {"debug", 4}, {"info", 3}, {"warn", 2}, {"error", 1}, {"nonsense", 3}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = stderr_of(say_all, cases[i].level);
        assert_int_equal(count_lines(text), cases[i].lines);
        assert_contains(text, " error: e 4\n");
        mem_free(text);
    }
    char *text = stderr_of(say_all, "debug");
    assert_contains(text, " debug: d 1\n");
    assert_contains(text, " warning: w 3\n");
    assert_int_equal(strspn(text, "0123456789:"), 8); /* "03:04:05 " */
    mem_free(text);
    text = stderr_of(say_all_from_error, "debug");
    assert_int_equal(count_lines(text), 1);
    mem_free(text);
}

static void say_odd_things(void)
{
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_info("one\ntwo\rthree");
    log_info("%s", text);
    uint64_t n = mem_alloc_count();
    log_info("no allocation %d", 1);
    if (mem_alloc_count() != n) _exit(1);
}

static void test_one_line_each(void **state)
{
    (void)state;
    char *text = stderr_of(say_odd_things, NULL);
    assert_int_equal(count_lines(text), 3);
    assert_contains(text, " one two three\n");
    assert_contains(text, "xxx\n");
    mem_free(text);
}

static void *say_many(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("thread %d says number %d of two hundred", *(int *)arg, i);
    return NULL;
}

static void say_from_threads(void)
{
    pthread_t threads[4];
    int numbers[4] = {0, 1, 2, 3};
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, say_many, &numbers[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void test_threads_do_not_mix(void **state)
{
    (void)state;
    char *text = stderr_of(say_from_threads, NULL);
    int next[4] = {0};
    assert_int_equal(count_lines(text), 800);
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        int thread, number, end = 0;
        if (sscanf(line + 9, "thread %1d says number %3d of two hundred%n", &thread, &number,
                   &end) != 2 ||
            line[9 + end] != '\n')
            fail_msg("a mixed line: %.80s", line);
        assert_int_equal(number, next[thread]++);
    }
    mem_free(text);
}

static void make_progress(void)
{
    struct progress p;
    progress_init(&p, "tokenize", "B", 2.8e9);
    for (int i = 0; i < 100; i++)
        progress_update(&p, 1e7 * i); /* too soon to say anything */
    p.last_print_s -= 11.0;
    p.start_s -= 11.0;
    progress_update(&p, 1.4e9);
    progress_update(&p, 1.5e9);
    progress_fini(&p, 2.8e9);
    progress_init(&p, "read", "lines", 0);
    p.last_print_s -= 11.0;
    p.start_s -= 11.0;
    progress_update(&p, 22000);
}

static void test_progress_in_a_log(void **state)
{
    (void)state;
    char *text = stderr_of(make_progress, NULL);
    assert_int_equal(count_lines(text), 3);
    assert_contains(text, " tokenize  50 %  1.40 GB of 2.80 GB  ");
    assert_contains(text, "B/s  ");
    assert_contains(text, " s left\n");
    assert_contains(text, " tokenize  2.80 GB in ");
    assert_contains(text, " read  22.0 klines  ");
    assert_null(strchr(text, '\r'));
    mem_free(text);
}

static void make_progress_on_a_terminal(void)
{
    struct progress p;
    progress_init(&p, "tokenize", "B", 100);
    p.terminal = true;
    p.last_print_s -= 1.0;
    progress_update(&p, 50);
    log_info("a line between");
    p.last_print_s -= 1.0;
    progress_update(&p, 60);
    progress_fini(&p, 100);
}

/* On a terminal the bar is drawn over itself, and wiped for a line. */
static void test_progress_on_a_terminal(void **state)
{
    (void)state;
    char *text = stderr_of(make_progress_on_a_terminal, NULL);
    assert_int_equal(count_lines(text), 2);
    assert_int_equal(text[0], '\r');
    assert_contains(text, "\rtokenize  50 %  50 B of 100 B");
    assert_contains(text, "\033[K\r\033[K"); /* end of the bar, then wiped for the line */
    assert_contains(text, "a line between\n\rtokenize  60 %");
    mem_free(text);
}

/* Whoever reads stops reading: nobody waits for long, and what was left out is counted. */
static void test_a_reader_that_stops(void **state)
{
    (void)state;
    int ends[2], again[2];
    char text[4096 + 1], go = 0;
    memset(text, 'x', 4096);
    assert_int_equal(pipe(ends) | pipe(again), 0);
    assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    assert_int_equal(write(ends[1], text, 4096), 4096);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        for (int i = 0; i < 100; i++)
            log_info("nobody reads number %d", i);
        if (read(again[0], &go, 1) != 1) _exit(1);
        log_info("somebody reads");
        _exit(0);
    }
    close(ends[1]);
    sleep(3); /* longer than it has patience */
    assert_int_equal(read(ends[0], text, 4096), 4096);
    assert_int_equal(write(again[1], &go, 1), 1);
    struct str s = {0};
    ssize_t n;
    while ((n = read(ends[0], text, sizeof(text))) > 0)
        str_append(&s, text, (size_t)n);
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(count_lines(s.data), 2);
    assert_contains(s.data, "(100 lines were left out, as nobody read them)\n");
    assert_contains(s.data, " somebody reads\n");
    str_fini(&s);
    close(ends[0]);
    close(again[0]);
    close(again[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_one_line_each),
        cmocka_unit_test(test_a_reader_that_stops),
        cmocka_unit_test(test_threads_do_not_mix),
        cmocka_unit_test(test_progress_in_a_log),
        cmocka_unit_test(test_progress_on_a_terminal),
    };
    return cmocka_run_group_tests_name("base_log", tests, NULL, NULL);
}
