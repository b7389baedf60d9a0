/* cluster_hang.c: what a rank is at when its job hangs.
 *
 * A thread looks whether messages come and go. Where none did for most of the time that a message may
 * take, it writes down what this rank waits for and where each of its threads is. Every rank of a job
 * that hangs does so, also the one that the others wait for, which knows of nothing; then the limit
 * ends the job.
 *
 * A thread is asked by a signal, whose handler notes the addresses that it would return to, and no
 * more; they are put into words here. */
#include "cluster/cluster_internal.h"

#include <errno.h>
#include <dirent.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_FRAMES 64
#define ANSWER_NS  200000000 /* that a thread is given to answer */
#define SHARE      0.8       /* of the limit, after which the report is written */

/* One thread at a time is asked, in the whole process. */
static struct {
    pthread_mutex_t lock;
    sem_t answered;
    void *frames[MAX_FRAMES];
    volatile int n;
} asked = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int ask_signal(void)
{
    return SIGRTMIN + 5;
}

static void answer(int number)
{
    int before = errno; /* of whatever was interrupted */
    (void)number;
    asked.n = backtrace(asked.frames, MAX_FRAMES);
    sem_post(&asked.answered);
    errno = before;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "libc.so.6 poll+0x4f", or where there is no name the offset within the file. */
static void write_frame(struct str *out, const void *address)
{
    Dl_info d;
    if (!dladdr(address, &d) || !d.dli_fname) {
        str_printf(out, "    %p\n", address);
        return;
    }
    uintptr_t at = (uintptr_t)address;
    if (d.dli_sname)
        str_printf(out, "    %s %s+0x%" PRIxPTR "\n", last_part(d.dli_fname), d.dli_sname,
                   at - (uintptr_t)d.dli_saddr);
    else
        str_printf(out, "    %s 0x%" PRIxPTR "\n", last_part(d.dli_fname),
                   at - (uintptr_t)d.dli_fbase);
}

static void write_thread(struct str *out, pid_t thread)
{
    struct timespec until;
    asked.n = 0;
    str_printf(out, "  thread %d\n", (int)thread);
    if (syscall(SYS_tgkill, getpid(), thread, ask_signal()) != 0) return; /* has ended meanwhile */
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ANSWER_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (sem_timedwait(&asked.answered, &until) != 0) {
        str_printf(out,
                   "    does not answer: it takes no signals, or is in a call that nothing ends\n");
        return;
    }
    for (int i = 2; i < asked.n; i++) /* above the handler, and what the system calls it by */
        write_frame(out, asked.frames[i]);
}

static void write_threads(struct str *out)
{
    DIR *tasks = opendir("/proc/self/task");
    pid_t self = (pid_t)syscall(SYS_gettid);
    struct dirent *entry;
    if (!tasks) return;
    pthread_mutex_lock(&asked.lock);
    signal_catch(ask_signal(), answer, SA_RESTART, NULL);
    sem_init(&asked.answered, 0, 0);
    backtrace(asked.frames, 1); /* what it needs is loaded before a handler calls it */
    while ((entry = readdir(tasks))) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && thread != self) write_thread(out, thread);
    }
    /* One that answers late must still find a handler: it stays. */
    pthread_mutex_unlock(&asked.lock);
    closedir(tasks);
}

static void write_waits(const cluster_t *c, struct str *out)
{
    bool any = false;
    for (int i = 0; i < N_LANES; i++) {
        const struct cluster_wait *w = &c->waits[i];
        if (!w->what) continue;
        any = true;
        str_printf(out, "waits%s for rank %d, in %s of group %s, for %.1f s\n",
                   i == LANE_BACK ? " in the background" : "", w->rank, w->what, w->group,
                   time_now_s() - w->since_s);
    }
    if (!any) str_printf(out, "waits for no other rank\n");
}

/* The file of the report; what is not told yet is in a later one of the same name. */
static int save(const cluster_t *c, const struct str *out, struct error *e)
{
    char *folder = mem_strdup(c->hang.path);
    *strrchr(folder, '/') = '\0';
    int rc = file_make_dirs(folder, e);
    mem_free(folder);
    return rc < 0 ? rc : file_write(c->hang.path, out->data, out->len, e);
}

static void write_head(const cluster_t *c, double quiet_s, struct str *out)
{
    char time[32], host[64] = "?", program[4096];
    gethostname(host, sizeof(host) - 1);
    time_iso8601(time);
    str_printf(out, "rank %d of %d, process %d on %s, %s: no message has come or gone for %.1f s\n",
               c->rank, c->size, (int)getpid(), host, time, quiet_s);
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program));
    if (n > 0)
        str_printf(out, "names of the program's own addresses: addr2line -pfie %.*s ADDRESS...\n",
                   (int)n, program);
}

static void report(cluster_t *c, double quiet_s)
{
    struct error e = {0};
    struct str out = {0};
    write_head(c, quiet_s, &out);
    pthread_mutex_lock(&c->error_lock);
    write_waits(c, &out);
    pthread_mutex_unlock(&c->error_lock);
    int rc = save(c, &out, &e); /* threads that do not answer take their time */
    write_threads(&out);
    if (rc == 0) rc = save(c, &out, &e);
    if (rc < 0)
        log_warn("%s", e.text);
    else
        log_warn("rank %d: no message has come or gone for %.1f s; see %s", c->rank, quiet_s,
                 c->hang.path);
    str_fini(&out);
}

/* Messages that are done, and where a wait for one began. */
static uint64_t progress_of(const cluster_t *c)
{
    return atomic_load(&c->messages) + atomic_load(&c->finished);
}

static void *watch(void *arg)
{
    cluster_t *c = arg;
    struct cluster_hang *w = &c->hang;
    uint64_t seen = progress_of(c);
    double since_s = time_now_s();
    bool reported = false;
    mem_alloc_count_skip_thread();
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct timespec until;
        double nap_s = MIN(1.0, w->limit_s / 10);
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + (int64_t)(nap_s * 1e9);
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        pthread_cond_timedwait(&w->changed, &w->lock, &until);
        uint64_t now = progress_of(c);
        if (now != seen) {
            seen = now;
            since_s = time_now_s();
            reported = false;
        } else if (!reported && time_now_s() - since_s > w->limit_s) {
            reported = true;
            report(c, time_now_s() - since_s);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int cluster_limit_waits(cluster_t *c, double timeout_s, const char *report_path, struct error *e)
{
    struct cluster_hang *w = &c->hang;
    c->timeout_s = timeout_s;
    if (c->size == 1 || timeout_s <= 0 || w->running) return 0;
    CHECK(strchr(report_path, '/'));
    w->path = mem_strdup(report_path);
    w->limit_s = SHARE * timeout_s;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&w->lock, NULL);
    w->running = pthread_create(&w->thread, NULL, watch, c) == 0;
    return w->running ? 0 : error_set(e, "cannot start a thread that looks after hanging ranks");
}

void cluster_hang_end(cluster_t *c)
{
    struct cluster_hang *w = &c->hang;
    if (w->running) {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
    }
    mem_free(w->path);
    *w = (struct cluster_hang){0};
}
