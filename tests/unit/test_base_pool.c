/* test_base_pool.c: every task runs exactly once, for any number of threads, also when jobs follow
 * each other without a pause, when threads sleep, and when tasks start tasks. Run under the thread
 * sanitizer by `make sanitize`. */
#include "test_cmocka.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

int omp_get_max_threads(void); /* libgomp's */

struct job {
    size_t n_tasks;
    int n_threads;
    atomic_int *runs; /* [n_tasks] */
    atomic_int wrong;
};

static void count_task(void *ctx, size_t task, int thread)
{
    struct job *j = ctx;
    if (task >= j->n_tasks || thread < 0 || thread >= j->n_threads) {
        atomic_fetch_add(&j->wrong, 1);
        return;
    }
    atomic_fetch_add_explicit(&j->runs[task], 1, memory_order_relaxed);
}

static void run_and_check(struct pool *p, size_t n_tasks)
{
    struct job j = {.n_tasks = n_tasks, .n_threads = pool_threads(p)};
    j.runs = mem_calloc(n_tasks + 1, sizeof(*j.runs));
    pool_run(p, n_tasks, count_task, &j);
    assert_int_equal(atomic_load(&j.wrong), 0);
    for (size_t i = 0; i < n_tasks; i++)
        assert_int_equal(atomic_load(&j.runs[i]), 1);
    mem_free(j.runs);
}

static void test_each_task_once(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 3, 8, 33};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        struct pool *p = pool_new(threads[i]);
        assert_int_equal(pool_threads(p), threads[i]);
        static const size_t tasks[] = {0, 1, 2, 3, 7, 100, 5000};
        for (size_t k = 0; k < ARRAY_LEN(tasks); k++)
            run_and_check(p, tasks[k]);
        pool_free(p);
    }
    run_and_check(NULL, 10);
    assert_int_equal(pool_threads(NULL), 1);
    pool_free(NULL);
}

/* A training step's life: thousands of small jobs, with the memory the last one used reused at
 * once, so that a thread that is late and touches an old job would be seen. */
static void test_jobs_back_to_back(void **state)
{
    (void)state;
    struct pool *p = pool_new(4);
    atomic_int runs[16];
    for (int round = 0; round < 20000; round++) {
        size_t n = 1 + (size_t)round % ARRAY_LEN(runs);
        struct job j = {.n_tasks = n, .n_threads = 4, .runs = runs};
        for (size_t i = 0; i < n; i++)
            atomic_init(&runs[i], 0);
        pool_run(p, n, count_task, &j);
        if (atomic_load(&j.wrong)) fail_msg("round %d: a task of another job", round);
        for (size_t i = 0; i < n; i++)
            if (atomic_load(&runs[i]) != 1)
                fail_msg("round %d: task %zu ran %d times", round, i, atomic_load(&runs[i]));
    }
    pool_free(p);
}

/* Long enough pauses that threads go to sleep and must be woken. */
static void test_sleeping_threads_wake(void **state)
{
    (void)state;
    struct pool *p = pool_new(3);
    for (int round = 0; round < 100; round++) {
        usleep(1000);
        run_and_check(p, 50);
    }
    pool_free(p);
}

static void slow_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    atomic_int *sum = ctx;
    usleep(task == 0 ? 20000 : 100); /* the caller runs dry and must wait asleep */
    atomic_fetch_add(sum, 1);
}

static void test_uneven_tasks(void **state)
{
    (void)state;
    struct pool *p = pool_new(2);
    for (int round = 0; round < 5; round++) {
        atomic_int sum = 0;
        pool_run(p, 20, slow_task, &sum);
        assert_int_equal(atomic_load(&sum), 20);
    }
    pool_free(p);
}

/* Two threads must really work at once: each of two tasks waits until the other has begun. */
static void meet(void *ctx, size_t task, int thread)
{
    (void)task;
    (void)thread;
    atomic_int *arrived = ctx;
    atomic_fetch_add(arrived, 1);
    double end_s = time_now_s() + 20.0;
    while (atomic_load(arrived) < 2 && time_now_s() < end_s)
        sched_yield();
}

static void test_tasks_run_at_the_same_time(void **state)
{
    (void)state;
    struct pool *p = pool_new(2);
    double begin_s = time_now_s();
    for (int round = 0; round < 50; round++) {
        atomic_int arrived = 0;
        pool_run(p, 2, meet, &arrived);
        assert_int_equal(atomic_load(&arrived), 2);
    }
    assert_true(time_now_s() - begin_s < 20.0); /* one task after the other would wait 20 s each */
    pool_free(p);
}

struct nest {
    struct pool *pool;
    atomic_int sum, wrong;
};

struct inner {
    int thread;
    size_t next;
    struct nest *nest;
};

static void inner_task(void *ctx, size_t task, int thread)
{
    struct inner *inner = ctx;
    if (task != inner->next++ || thread != inner->thread) /* here, in order, same scratch */
        atomic_fetch_add(&inner->nest->wrong, 1);
    atomic_fetch_add(&inner->nest->sum, 1);
}

static void outer_task(void *ctx, size_t task, int thread)
{
    (void)task;
    struct nest *nest = ctx;
    struct inner inner = {thread, 0, nest};
    pool_run(nest->pool, 5, inner_task, &inner);
    struct inner plain = {0, 0, nest};
    pool_run(NULL, 5, inner_task, &plain);
}

static void test_nested(void **state)
{
    (void)state;
    struct nest nest = {.pool = pool_new(3)};
    pool_run(nest.pool, 40, outer_task, &nest);
    assert_int_equal(atomic_load(&nest.sum), 400);
    assert_int_equal(atomic_load(&nest.wrong), 0);
    /* and again from a pool of one thread */
    pool_free(nest.pool);
    nest.pool = pool_new(1);
    pool_run(nest.pool, 4, outer_task, &nest);
    assert_int_equal(atomic_load(&nest.sum), 440);
    assert_int_equal(atomic_load(&nest.wrong), 0);
    pool_free(nest.pool);
}

/* What tasks write, the caller reads after pool_run, and the other way round. */
static void double_task(void *ctx, size_t task, int thread)
{
    (void)thread;
    double *x = ctx;
    x[task] = x[task] * 2 + 1;
}

static void test_memory_is_visible(void **state)
{
    (void)state;
    enum { N = 64 };
    double x[N] = {0};
    struct pool *p = pool_new(4);
    for (int round = 0; round < 1000; round++) {
        pool_run(p, N, double_task, x);
        for (int i = 0; i < N; i++) {
            assert_true(x[i] == 1.0);
            x[i] = 0.0;
        }
    }
    pool_free(p);
}

static void no_allocation_task(void *ctx, size_t task, int thread)
{
    (void)ctx;
    (void)task;
    (void)thread;
}

static void test_run_allocates_nothing(void **state)
{
    (void)state;
    struct pool *p = pool_new(2);
    uint64_t n = mem_alloc_count();
    for (int i = 0; i < 100; i++)
        pool_run(p, 10, no_allocation_task, NULL);
    assert_int_equal(mem_alloc_count(), n);
    pool_free(p);
}

static void openmp_task(void *ctx, size_t task, int thread)
{
    (void)task;
    (void)thread;
    if (omp_get_max_threads() != 1) atomic_fetch_add((atomic_int *)ctx, 1);
    usleep(2000); /* so that every thread gets some */
}

/* oneDNN called from a task must not start threads of its own. */
static void test_openmp_stays_single_threaded(void **state)
{
    (void)state;
    atomic_int wrong = 0;
    struct pool *p = pool_new(3);
    pool_run(p, 12, openmp_task, &wrong);
    pool_free(p);
    pool_run(NULL, 1, openmp_task, &wrong);
    assert_int_equal(atomic_load(&wrong), 0);
}

struct second_caller {
    struct pool *pool;
    pool_fn *fn;
    atomic_int *sum;
};

static void *call_from_thread(void *arg)
{
    struct second_caller *c = arg;
    pool_run(c->pool, 20, c->fn, c->sum);
    return NULL;
}

static void endless_task(void *ctx, size_t task, int thread)
{
    (void)task;
    (void)thread;
    atomic_store((atomic_int *)ctx, 1);
    for (;;)
        pause();
}

/* Dies of SIGABRT in the second of two calls that are on the way at once. */
static void call_twice_at_once(void)
{
    atomic_int begun = 0;
    struct second_caller c = {pool_new(2), endless_task, &begun};
    pthread_t thread;
    pthread_create(&thread, NULL, call_from_thread, &c);
    while (!atomic_load(&begun))
        usleep(1000);
    pool_run(c.pool, 20, slow_task, &begun);
}

/* Any thread may be the caller, one at a time; two at once is a programmer's error. */
static void test_callers(void **state)
{
    (void)state;
    atomic_int sum = 0;
    struct second_caller c = {pool_new(2), slow_task, &sum};
    pthread_t thread;
    pthread_create(&thread, NULL, call_from_thread, &c);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&sum), 20);
    pool_free(c.pool);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr)) call_twice_at_once();
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void test_available_cpus(void **state)
{
    (void)state;
    int all = pool_available_cpus();
    assert_in_range(all, 1, sysconf(_SC_NPROCESSORS_CONF));
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    int bound = pool_available_cpus();
    struct pool *p = pool_new(0);
    int threads = pool_threads(p);
    pool_free(p);
    sched_setaffinity(0, sizeof(before), &before);
    assert_int_equal(bound, 1);
    assert_int_equal(threads, 1);
}

static void test_time(void **state)
{
    (void)state;
    double a = time_now_s();
    usleep(2000);
    double b = time_now_s();
    assert_true(b - a >= 0.002 && b - a < 10.0);
    char text[32];
    int year, month, day, hour, minute, second, milli, end = 0;
    time_iso8601(text);
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour,
                            &minute, &second, &milli, &end),
                     7);
    assert_int_equal(strlen(text), 24);
    assert_int_equal(end, 24);
    assert_true(year >= 2024 && month >= 1 && month <= 12 && day >= 1 && day <= 31);
}

static void *burn(void *arg)
{
    double *share = arg, begun_s = time_now_s(), before_s = thread_time().starved_s;
    while (time_now_s() < begun_s + 0.5) {
    }
    *share = (thread_time().starved_s - before_s) / (time_now_s() - begun_s);
    return NULL;
}

/* Two threads that want one CPU for half a second each get half of it; one that sleeps wants none. */
static void test_starved_threads_know_it(void **state)
{
    (void)state;
    cpu_set_t all, one;
    pthread_t threads[2];
    double share[2];
    int cpu = 0;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, burn, &share[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(share[0] + share[1] > 0.6);
    assert_true(share[0] < 1 && share[1] < 1);
    double begun_s = time_now_s(), cpu_s = thread_cpu_s();
    struct thread_time before = thread_time();
    usleep(50000);
    struct thread_time after = thread_time();
    double asleep_s = after.starved_s - before.starved_s + thread_cpu_s() - cpu_s;
    assert_true(asleep_s >= 0 && asleep_s < time_now_s() - begun_s - 0.045);
    assert_true(after.cpu_s >= before.cpu_s && before.cpu_s >= cpu_s);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    struct pool *p = pool_new(2);
    atomic_int runs[8] = {0};
    struct job j = {.n_tasks = 8, .n_threads = 2, .runs = runs};
    for (double end_s = time_now_s() + 20; pool_time(p).cpu_s == 0 && time_now_s() < end_s;)
        pool_run(p, 8, count_task, &j);
    assert_true(pool_time(p).cpu_s > 0 && pool_time(NULL).cpu_s == 0);
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_once),
        cmocka_unit_test(test_jobs_back_to_back),
        cmocka_unit_test(test_sleeping_threads_wake),
        cmocka_unit_test(test_uneven_tasks),
        cmocka_unit_test(test_tasks_run_at_the_same_time),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_memory_is_visible),
        cmocka_unit_test(test_run_allocates_nothing),
        cmocka_unit_test(test_openmp_stays_single_threaded),
        cmocka_unit_test(test_callers),
        cmocka_unit_test(test_available_cpus),
        cmocka_unit_test(test_starved_threads_know_it),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests_name("base_pool", tests, NULL, NULL);
}
