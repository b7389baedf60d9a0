/* cluster_watch.c: a rank's side of the launcher: a thread that says where the rank is, and hears
 * what it is to do.
 *
 * The thread is apart from the training, so that a rank that computes for minutes, or waits for
 * another, still sends its line ten times a second: silence means that the process or its node stands
 * still. It takes no lock that the training holds; what it tells are single words of memory.
 *
 * It opens before the rank joins its job, since that can hang, too. The launcher's address, a key and
 * the number of the attempt are in the environment. When the launcher is gone (the connection has
 * ended, or it has been silent for a minute) the rank saves and ends as if it had been told to: the
 * same command, given again, goes on. */
#include "cluster/launch/cluster_launch_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOW_S 0.5 /* of a CPU: what CLUSTER_FAULT_SLOW adds to a step */

struct cluster_watch {
    int fd, rank, size, attempt;
    pthread_t thread;
    pthread_mutex_t send_lock;
    atomic_bool quit, stop;
    _Atomic(const char *) word;
    atomic_uint_fast64_t ticks;
    _Atomic double ticked_s, busy_s;
    atomic_int_fast64_t step;
    _Atomic(cluster_t *) cluster;                    /* NULL: not joined yet */
    struct cluster_fault faults[CLUSTER_FAULTS_MAX]; /* of this rank, not done yet */
    size_t n_faults;
    bool slow, flips;
};

/* ------------------------------------------------------------------ lines */

static int send_note(cluster_watch_t *w, const struct launch_note *n)
{
    char line[LAUNCH_LINE_MAX];
    size_t size = launch_note_print(n, line), sent = 0;
    pthread_mutex_lock(&w->send_lock);
    while (sent < size) {
        ssize_t more = send(w->fd, line + sent, size - sent, MSG_NOSIGNAL);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) break;
        sent += (size_t)more;
    }
    pthread_mutex_unlock(&w->send_lock);
    return sent == size ? 0 : -1;
}

static int send_beat(cluster_watch_t *w)
{
    struct launch_note n = {.kind = NOTE_BEAT, .waits = -1};
    cluster_t *c = atomic_load(&w->cluster);
    n.step = atomic_load(&w->step);
    n.ticks = atomic_load(&w->ticks);
    n.idle_s = time_now_s() - atomic_load(&w->ticked_s);
    n.busy_s = atomic_load(&w->busy_s);
    if (c) n.waits = cluster_waits_for(c);
    snprintf(n.word, sizeof(n.word), "%s", atomic_load(&w->word));
    return send_note(w, &n);
}

/* ------------------------------------------------------------------ the thread */

static void hear(cluster_watch_t *w, struct launch_lines *l, bool *lost)
{
    struct launch_note n;
    ssize_t more = recv(w->fd, l->data + l->size, sizeof(l->data) - l->size, MSG_DONTWAIT);
    if (more < 0 && (errno == EAGAIN || errno == EINTR)) return;
    *lost = more <= 0;
    if (*lost) return;
    l->size += (size_t)more;
    int rc;
    while ((rc = launch_lines_next(l, &n)) > 0) {
        if (n.kind == NOTE_STOP) atomic_store(&w->stop, true);
        /* Left behind: the job goes on elsewhere, and this rank must touch nothing any more. */
        if (n.kind == NOTE_LEAVE) raise(SIGKILL);
    }
    *lost = rc < 0;
}

/* Nobody is there any more who would find out. */
static void leave_if_stuck(const cluster_watch_t *w)
{
    double idle_s = time_now_s() - atomic_load(&w->ticked_s);
    if (idle_s < LAUNCH_STUCK_S + LAUNCH_STUCK_TIMES * atomic_load(&w->busy_s)) return;
    log_error("rank %d: at '%s' for %.0f s, and its launcher is gone: it leaves", w->rank,
              atomic_load(&w->word), idle_s);
    raise(SIGKILL);
}

static void *watch_main(void *arg)
{
    cluster_watch_t *w = arg;
    struct launch_lines lines = {.size = 0};
    double heard_s = time_now_s();
    bool lost = false;
    mem_alloc_count_skip_thread();
    while (!atomic_load(&w->quit)) {
        struct pollfd p = {.fd = w->fd, .events = POLLIN};
        if (!lost && poll(&p, 1, (int)(1e3 * LAUNCH_BEAT_S)) > 0) {
            heard_s = time_now_s();
            hear(w, &lines, &lost);
        }
        if (lost) {
            struct timespec nap = {.tv_nsec = (long)(1e9 * LAUNCH_BEAT_S)};
            nanosleep(&nap, NULL);
        }
        if (!lost) lost = send_beat(w) < 0 || time_now_s() - heard_s > LAUNCH_ALONE_S;
        if (lost) atomic_store(&w->stop, true);
        if (lost) leave_if_stuck(w);
    }
    return NULL;
}

static int start_thread(cluster_watch_t *w, struct error *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the training's */
    int rc = pthread_create(&w->thread, NULL, watch_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) return 0;
    errno = rc;
    return error_errno(e, "start the thread for", "the launcher");
}

/* ------------------------------------------------------------------ opening, closing */

/* "ADDRESS PORT KEY ATTEMPT", in *a. */
struct address {
    char *host, *port, *key;
    int64_t attempt;
};

static int read_address(const char *text, struct arena *a, struct address *out)
{
    char *copy = arena_strdup(a, text), *words[4];
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        words[i] = copy;
        copy += strcspn(copy, " ");
        if ((*copy == ' ') != (i + 1 < ARRAY_LEN(words))) return -1;
        if (*copy) *copy++ = '\0';
    }
    *out = (struct address){words[0], words[1], words[2], 0};
    return parse_int(words[3], &out->attempt) < 0 || strlen(out->key) != 16 ? -1 : 0;
}

static int connect_to(const struct address *at, int *fd, struct error *e)
{
    struct addrinfo want = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(at->host, at->port, &want, &list);
    if (rc != 0)
        return error_set(e, "cannot reach the launcher at '%s': %s", at->host, gai_strerror(rc));
    *fd = -1;
    for (struct addrinfo *i = list; i && *fd < 0; i = i->ai_next) {
        *fd = socket(i->ai_family, i->ai_socktype | SOCK_CLOEXEC, 0);
        if (*fd < 0 || connect(*fd, i->ai_addr, i->ai_addrlen) == 0) continue;
        int reason = errno;
        close(*fd);
        errno = reason;
        *fd = -1;
    }
    freeaddrinfo(list);
    if (*fd < 0) {
        error_set(e, "cannot reach the launcher at '%s', port %s: %s", at->host, at->port,
                  strerror(errno));
        return error_hint(e, "colossus launch --address HOST says where ranks reach it; it hands "
                             "that on in " LAUNCH_VARIABLE);
    }
    int yes = 1;
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return 0;
}

void cluster_node_name(char node[CLUSTER_NODE_MAX])
{
    const char *slurm = getenv("SLURMD_NODENAME");
    char name[256] = "";
    if (!slurm && gethostname(name, sizeof(name) - 1) == 0) slurm = name;
    snprintf(node, CLUSTER_NODE_MAX, "%s", slurm && *slurm ? slurm : "unknown");
    for (char *c = node; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *c))
            *c = '_';
}

/* Those of this rank, of all that the launcher was told and has not seen done. */
static int take_faults(cluster_watch_t *w, struct error *e)
{
    struct cluster_fault all[CLUSTER_FAULTS_MAX];
    const char *list = getenv(LAUNCH_FAULTS_VARIABLE);
    size_t n = 0;
    if (!list) return 0;
    if (cluster_faults_parse(list, all, &n, e) < 0) return error_context(e, LAUNCH_FAULTS_VARIABLE);
    for (size_t i = 0; i < n; i++)
        if (all[i].rank == w->rank) w->faults[w->n_faults++] = all[i];
    return 0;
}

static int open_watch(cluster_watch_t *w, const char *text, struct arena *a, struct error *e)
{
    struct address at;
    struct cluster_launch l;
    struct launch_note hello = {.kind = NOTE_HELLO, .pid = getpid()};
    if (read_address(text, a, &at) < 0)
        return error_set(e, LAUNCH_VARIABLE " is '%s', which is no launcher's address", text);
    cluster_find_launch(&l);
    w->rank = l.rank;
    w->size = l.size;
    TRY(take_faults(w, e));
    TRY(connect_to(&at, &w->fd, e));
    w->attempt = hello.attempt = (int)at.attempt;
    hello.rank = w->rank;
    hello.size = w->size;
    snprintf(hello.key, sizeof(hello.key), "%s", at.key);
    cluster_node_name(hello.node);
    if (send_note(w, &hello) < 0) return error_set(e, "the launcher does not listen any more");
    return start_thread(w, e);
}

int cluster_watch_open(cluster_watch_t **out, struct error *e)
{
    const char *text = getenv(LAUNCH_VARIABLE);
    struct arena a = {0};
    *out = NULL;
    if (!text || !*text) return 0;
    cluster_watch_t *w = mem_calloc(1, sizeof(*w));
    *w = (cluster_watch_t){.fd = -1, .word = "start", .step = -1, .ticked_s = time_now_s()};
    pthread_mutex_init(&w->send_lock, NULL);
    int rc = open_watch(w, text, &a, e);
    arena_fini(&a);
    if (rc == 0) {
        *out = w;
        return 0;
    }
    if (w->fd >= 0) close(w->fd);
    pthread_mutex_destroy(&w->send_lock);
    mem_free(w);
    return rc;
}

void cluster_watch_join(cluster_watch_t *w, cluster_t *c)
{
    if (w) atomic_store(&w->cluster, c);
}

/* Until the launcher has closed its end, too: a connection that is closed with something unread in it
 * takes what was sent last with it. */
static void drain(int fd)
{
    char rest[256];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < 100 && poll(&p, 1, 500) > 0; i++)
        if (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) <= 0) break;
}

void cluster_watch_close(cluster_watch_t *w, int exit_code)
{
    if (!w) return;
    atomic_store(&w->quit, true);
    pthread_join(w->thread, NULL);
    send_beat(w); /* the last step is known before the farewell */
    send_note(w, &(struct launch_note){.kind = NOTE_BYE, .code = exit_code & 255});
    shutdown(w->fd, SHUT_WR);
    drain(w->fd);
    close(w->fd);
    pthread_mutex_destroy(&w->send_lock);
    mem_free(w);
}

/* ------------------------------------------------------------------ the training's side */

int cluster_watch_attempt(const cluster_watch_t *w)
{
    return w ? w->attempt : 0;
}

void cluster_watch_at(cluster_watch_t *w, const char *word)
{
    if (!w) return;
    atomic_store_explicit(&w->word, word, memory_order_relaxed);
    atomic_store_explicit(&w->ticked_s, time_now_s(), memory_order_relaxed);
    atomic_fetch_add_explicit(&w->ticks, 1, memory_order_relaxed);
}

void cluster_watch_step(cluster_watch_t *w, int64_t step, double busy_s)
{
    if (!w) return;
    atomic_store(&w->busy_s, busy_s);
    /* Where it goes on from is told at once: the next step may be done before the next line. */
    if (atomic_exchange(&w->step, step) < 0) send_beat(w);
}

bool cluster_watch_stops(const cluster_watch_t *w)
{
    return w && atomic_load(&w->stop);
}

void cluster_watch_corrupt(cluster_watch_t *w, int rank, int64_t step, int64_t good)
{
    struct launch_note n = {.kind = NOTE_CORRUPT, .rank = rank, .step = step, .good = good};
    if (w) send_note(w, &n);
}

/* ------------------------------------------------------------------ faults */

static void nap(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

static void work(double seconds)
{
    for (double end_s = thread_cpu_s() + seconds; thread_cpu_s() < end_s;) {
    }
}

/* The launcher knows of it before it happens, so that it does not happen again. */
static void do_fault(cluster_watch_t *w, const struct cluster_fault *f)
{
    struct launch_note n = {.kind = NOTE_FAULT, .step = f->step};
    snprintf(n.word, sizeof(n.word), "%s", launch_fault_word(f->kind));
    send_beat(w);
    send_note(w, &n);
    switch (f->kind) {
    case CLUSTER_FAULT_KILL: raise(SIGKILL); break;
    case CLUSTER_FAULT_FREEZE: raise(SIGSTOP); break;
    case CLUSTER_FAULT_HANG:
        for (;;)
            nap(3600);
    case CLUSTER_FAULT_SLOW: w->slow = true; break;
    case CLUSTER_FAULT_FLIP: w->flips = true; break;
    case CLUSTER_FAULTS: break;
    }
}

void cluster_watch_inject(cluster_watch_t *w, int64_t step)
{
    if (!w) return;
    for (size_t i = 0; i < w->n_faults; i++) {
        if (w->faults[i].step != step) continue;
        struct cluster_fault f = w->faults[i];
        w->faults[i--] = w->faults[--w->n_faults];
        do_fault(w, &f);
    }
    if (w->slow) work(SLOW_S);
}

bool cluster_watch_flips(const cluster_watch_t *w)
{
    return w && w->flips;
}
