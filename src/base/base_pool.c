/* base_pool.c: one pool of threads that a training step calls thousands of times.
 *
 * A job is (fn, ctx, n_tasks) and two counters. `tickets` counts down the tasks that nobody has
 * claimed: a thread that takes it from v > 0 to v - 1 owns task n_tasks - v. `unfinished` counts
 * down the tasks that are not done; the caller waits for 0. Owning a task is what makes it safe to
 * read the job's fields: the caller cannot begin another job before that task is done. So a thread
 * that wakes late, for a job that is over, finds tickets at or below 0 and goes back to waiting,
 * or finds the tickets of the next job and helps with that.
 *
 * Between jobs a thread spins for about 50 us, because the next product of a step usually comes
 * sooner than that and waking a sleeping thread costs as much; then it sleeps on a futex. Where
 * there are more threads than CPUs nobody spins, as that would keep a CPU from whoever has work.
 *
 * oneDNN runs on OpenMP. Called from a task it must not start threads of its own, so every thread
 * of the pool, and every thread that calls pool_run, tells OpenMP to stay single threaded. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPIN_S           50e-6
#define POOL_MAX_THREADS 1024

void omp_set_num_threads(int n); /* libgomp's; <omp.h> comes with the compiler only */

struct pool {
    /* The job; written by the caller of pool_run before it publishes tickets. */
    pool_fn *fn;
    void *ctx;
    size_t n_tasks;

    int n_threads; /* with the caller's */
    double spin_s;
    struct worker *workers; /* n_threads - 1 */
    atomic_bool running;    /* inside pool_run: guards against two callers */

    _Alignas(64) _Atomic int64_t tickets;
    _Alignas(64) _Atomic int64_t unfinished; /* its low half is the futex the caller sleeps on */
    atomic_bool caller_sleeps;
    _Alignas(64) _Atomic uint32_t generation; /* the futex the workers sleep on */
    _Atomic int32_t sleepers;
    atomic_bool stop;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;        /* from 1; the caller is 0 */
    _Atomic pid_t id; /* the kernel's; 0: it has not begun */
};

static __thread const struct pool *current_pool; /* the pool whose task this thread is running */
static __thread int current_thread;
static __thread bool openmp_is_quiet;

static void openmp_quieten(void)
{
    if (!openmp_is_quiet) omp_set_num_threads(1);
    openmp_is_quiet = true;
}

/* ------------------------------------------------------------------ waiting */

static void futex_wait(void *word, uint32_t expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(void *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void cpu_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Spins until done(p, value) or for spin_s; true when done. */
static bool spin_until(bool (*done)(struct pool *p, uint32_t value), struct pool *p, uint32_t value)
{
    if (done(p, value)) return true;
    if (p->spin_s <= 0.0) return false;
    double end_s = time_now_s() + p->spin_s;
    do {
        for (int i = 0; i < 32; i++) {
            cpu_pause();
            if (done(p, value)) return true;
        }
    } while (time_now_s() < end_s);
    return false;
}

static bool job_is_done(struct pool *p, uint32_t unused)
{
    (void)unused;
    return atomic_load_explicit(&p->unfinished, memory_order_acquire) == 0;
}

static bool job_is_new(struct pool *p, uint32_t seen)
{
    return atomic_load_explicit(&p->generation, memory_order_acquire) != seen;
}

/* ------------------------------------------------------------------ working */

static void run_here(size_t n_tasks, pool_fn *fn, void *ctx, int thread)
{
    for (size_t task = 0; task < n_tasks; task++)
        fn(ctx, task, thread);
}

/* Claims and runs tasks until none is left. */
static void work(struct pool *p, int thread)
{
    current_pool = p;
    current_thread = thread;
    for (;;) {
        /* Looked at first, so that threads with nothing to do leave the line shared. */
        if (atomic_load_explicit(&p->tickets, memory_order_relaxed) <= 0) break;
        int64_t ticket = atomic_fetch_sub_explicit(&p->tickets, 1, memory_order_acquire);
        if (ticket <= 0) break;
        p->fn(p->ctx, p->n_tasks - (size_t)ticket, thread);
        /* Sequentially consistent, with caller_sleeps: either the caller sees 0 before it sleeps,
         * or this thread sees that it does. */
        if (atomic_fetch_sub(&p->unfinished, 1) == 1 && atomic_load(&p->caller_sleeps))
            futex_wake(&p->unfinished, 1);
    }
    current_pool = NULL;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    openmp_quieten();
    atomic_store(&w->id, gettid());
    uint32_t seen = 0;
    while (!atomic_load(&p->stop)) {
        if (!spin_until(job_is_new, p, seen)) {
            /* Announced before the kernel compares generation with seen, so that a job published
             * in between is noticed by one side or the other. */
            atomic_fetch_add(&p->sleepers, 1);
            futex_wait(&p->generation, seen);
            atomic_fetch_sub(&p->sleepers, 1);
            if (!job_is_new(p, seen)) continue;
        }
        seen = atomic_load_explicit(&p->generation, memory_order_acquire);
        work(p, w->index);
    }
    return NULL;
}

static void wait_until_done(struct pool *p)
{
    if (spin_until(job_is_done, p, 0)) return;
    atomic_store(&p->caller_sleeps, true);
    int64_t left;
    while ((left = atomic_load(&p->unfinished)) != 0)
        futex_wait(&p->unfinished, (uint32_t)left); /* little endian: the low half is first */
    atomic_store(&p->caller_sleeps, false);
}

void pool_run(struct pool *p, size_t n_tasks, pool_fn *fn, void *ctx)
{
    openmp_quieten();
    if (!p || current_pool) {
        CHECK_MSG(!p || current_pool == p, "a task of one pool runs tasks of another");
        /* from inside a task: keep its thread number, scratch is indexed by it */
        run_here(n_tasks, fn, ctx, p ? current_thread : 0);
        return;
    }
    CHECK_MSG(!atomic_exchange(&p->running, true), "two threads call pool_run at once");
    if (p->n_threads == 1 || n_tasks <= 1) {
        current_pool = p;
        current_thread = 0;
        run_here(n_tasks, fn, ctx, 0);
        current_pool = NULL;
    } else {
        CHECK(n_tasks <= INT64_MAX);
        p->fn = fn;
        p->ctx = ctx;
        p->n_tasks = n_tasks;
        atomic_store_explicit(&p->unfinished, (int64_t)n_tasks, memory_order_relaxed);
        atomic_store_explicit(&p->tickets, (int64_t)n_tasks, memory_order_release);
        atomic_fetch_add(&p->generation, 1);
        int sleepers = atomic_load(&p->sleepers);
        if (sleepers > 0) futex_wake(&p->generation, (int)MIN((size_t)sleepers, n_tasks - 1));
        work(p, 0);
        wait_until_done(p);
    }
    atomic_store(&p->running, false);
}

/* ------------------------------------------------------------------ beginning and end */

struct pool *pool_new(int n_threads)
{
    int cpus = pool_available_cpus();
    if (n_threads <= 0) n_threads = cpus;
    n_threads = MIN(n_threads, POOL_MAX_THREADS);
    openmp_quieten();
    struct pool *p = mem_alloc_aligned(sizeof(*p), 64);
    memset(p, 0, sizeof(*p));
    p->n_threads = n_threads;
    p->spin_s = n_threads > cpus ? 0.0 : SPIN_S;
    p->workers = mem_calloc((size_t)n_threads, sizeof(*p->workers));
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &p->workers[i - 1];
        w->pool = p;
        w->index = i;
        int rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc == 0) continue;
        exit_exhausted(
            "fewer threads take less (--threads, or train.threads of a run file); ulimit "
            "-u, ulimit -v or a container set the limit",
            "cannot start thread %d of %d: %s", i + 1, n_threads, strerror(rc));
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->generation, 1);
    futex_wake(&p->generation, INT_MAX);
    for (int i = 1; i < p->n_threads; i++)
        pthread_join(p->workers[i - 1].thread, NULL);
    mem_free(p->workers);
    mem_free(p);
}

int pool_threads(const struct pool *p)
{
    return p ? p->n_threads : 1;
}

/* ------------------------------------------------------------------ CPUs */

/* Of /proc/PID/task/TID/schedstat, "RAN WAITED SLICES", in nanoseconds. */
static struct thread_time time_of(pid_t thread)
{
    char path[64], text[96];
    unsigned long long ran, waited;
    snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return (struct thread_time){0};
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[MAX(n, 0)] = '\0';
    if (sscanf(text, "%llu %llu", &ran, &waited) != 2) return (struct thread_time){0};
    return (struct thread_time){1e-9 * (double)ran, 1e-9 * (double)waited};
}

double thread_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct thread_time thread_time(void)
{
    struct thread_time t = time_of(gettid());
    t.cpu_s = thread_cpu_s();
    return t;
}

struct thread_time pool_time(const struct pool *p)
{
    struct thread_time sum = {0};
    for (int i = 1; p && i < p->n_threads; i++) {
        pid_t id = atomic_load(&p->workers[i - 1].id);
        struct thread_time one = id ? time_of(id) : (struct thread_time){0};
        sum.cpu_s += one.cpu_s;
        sum.starved_s += one.starved_s;
    }
    return sum;
}

static int affinity_cpus(void)
{
    for (int max_cpus = CPU_SETSIZE; max_cpus <= 1 << 20; max_cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(max_cpus);
        if (!set) return 1;
        size_t size = CPU_ALLOC_SIZE(max_cpus);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : -1;
        bool too_small = count < 0 && errno == EINVAL;
        CPU_FREE(set);
        if (!too_small) return MAX(count, 1);
    }
    return 1;
}

int pool_available_cpus(void)
{
    int cpus = affinity_cpus();
    double quota = ceil(cgroup_limits("").cpus); /* half a CPU still runs one thread */
    return quota < cpus ? MAX((int)quota, 1) : cpus;
}

/* ------------------------------------------------------------------ time */

double time_now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

void time_iso8601(char text[32])
{
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, 32 - n, ".%03dZ", (int)(ts.tv_nsec / 1000000));
}
