/* cluster_supervise.c: starts the ranks, watches them, and starts them again when one is lost.
 *
 * One thread, one loop: lines of ranks, signals and ended children are taken in, then the ranks are
 * judged (cluster_verdict.c). Neither Debian MPI survives a dead rank, so all ranks start again: the
 * old ones are left behind, the node of the lost one is not used any more where another is there, and
 * the new ones go on from the newest state that is good, which they find themselves.
 *
 * A restart that brings no step beyond the furthest so far is without progress; some of them in a row
 * end the run with "do not requeue", because whatever it is will happen again. A signal is handed on:
 * the ranks save and end, and so does the launcher, with "try again".
 *
 * Where the launcher itself stood still for a while (a machine out of breath, a closed lid) it knows
 * nothing of that time, and takes it out of every silence. */
#include "cluster/launch/cluster_supervise_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN_MS      50
#define STALL_S      1.0  /* between two turns of the loop: time that nothing is known of */
#define FAREWELL_S   20.0 /* from the first rank's farewell with an error, or its launcher's end */
#define LAST_SAVE_S  600.0
#define HANG_TIMES   8.0
#define ONE_SIGNAL_S 0.5 /* one that was sent to a process and to its group comes twice */

/* How an attempt ended. */
enum ending { ENDING_NONE, ENDING_DONE, ENDING_STOPPED, ENDING_LOST, ENDING_REFUSED };

/* ------------------------------------------------------------------ what ranks say */

static int welcome(struct supervisor *s, struct launch_link *l, const struct launch_note *n)
{
    bool ours = strcmp(n->key, s->key) == 0 && n->attempt == s->attempt && n->size == s->n &&
                n->rank < s->n;
    if (!ours || s->ranks[n->rank].here) return -1;
    struct launch_rank *r = &s->ranks[n->rank];
    l->rank = n->rank;
    r->here = true;
    r->pid = n->pid;
    r->heard_s = time_now_s();
    memcpy(r->node, n->node, sizeof(r->node));
    snprintf(r->word, sizeof(r->word), "start");
    return 0;
}

static void forget_fault(struct supervisor *s, int rank, const struct launch_note *n)
{
    for (size_t i = 0; i < s->n_faults; i++) {
        const struct cluster_fault *f = &s->faults[i];
        if (f->rank != rank || f->step != n->step ||
            strcmp(launch_fault_word(f->kind), n->word) != 0)
            continue;
        s->faults[i] = s->faults[--s->n_faults];
        break;
    }
    struct json_writer *w = launch_event_begin(s, "fault_injected");
    jsonw_int(w, "rank", rank);
    jsonw_string(w, "what", n->word);
    jsonw_int(w, "at_step", n->step);
    launch_event_end(s);
}

/* The first step of an attempt: what the loss of the one before has cost, by cause. That step itself is
 * in the time of the restart, and where it counts, it is no loss. */
static void report_recovery(struct supervisor *s, double now_s)
{
    if (s->lost.why == LAUNCH_WELL) return;
    struct json_writer *w = launch_event_begin(s, "recovered");
    jsonw_int(w, "attempt", s->attempt);
    jsonw_string(w, "cause", launch_why_text(s->lost.why));
    jsonw_int(w, "from_step", s->resumed);
    jsonw_real(w, "detect_s", round(1e3 * (s->lost_s - s->progress_s)) / 1e3);
    jsonw_real(w, "restart_s", round(1e3 * (now_s - s->lost_s)) / 1e3);
    jsonw_real(w, "first_step_s", round(1e3 * (now_s - s->account.done_s)) / 1e3);
    jsonw_real(w, "rollback_s", round(1e3 * s->account.again_s) / 1e3);
    launch_event_end(s);
    log_info("going on: step %" PRId64 " is done, %.1f s after the loss was found", s->last_step,
             now_s - s->lost_s);
    s->lost = (struct launch_verdict){.why = LAUNCH_WELL, .rank = -1};
    s->account.again_s = 0;
}

/* Ranks end a step together, so whoever tells of one first is believed. */
static void take_step(struct supervisor *s, int64_t step, double now_s)
{
    if (s->resumed < 0) {
        s->resumed = step;
        launch_account_resume(&s->account, step, now_s);
        if (s->attempt == 1) s->progress_s = now_s; /* the time before is that of the start */
        return;
    }
    if (step <= s->resumed || step <= s->last_step) return;
    launch_release_events(s);
    s->last_step = step;
    if (!s->stepped) {
        s->history.started_s = fmax(s->history.started_s, now_s - s->attempt_s);
        report_recovery(s, now_s);
    }
    s->stepped = true;
    s->doubted = s->o->n_nodes;
    s->progress_s = now_s;
    launch_account_step(&s->account, step, now_s);
    if (step > s->best_step) {
        s->best_step = step;
        s->fruitless = 0;
        s->fruitful = true;
    }
}

static int take_note(struct supervisor *s, struct launch_link *l, const struct launch_note *n)
{
    double now_s = time_now_s();
    if (l->rank < 0) {
        if (n->kind != NOTE_HELLO || welcome(s, l, n) < 0) return -1;
        if (s->stopping) launch_tell(s, NOTE_STOP);
        return 0;
    }
    struct launch_rank *r = &s->ranks[l->rank];
    r->heard_s = now_s;
    switch (n->kind) {
    case NOTE_BEAT:
        launch_take_beat(r, n, &s->history, now_s);
        if (n->step >= 0) take_step(s, n->step, now_s);
        return 0;
    case NOTE_FAULT: forget_fault(s, l->rank, n); return 0;
    case NOTE_CORRUPT:
        if (n->rank >= s->n) return -1;
        s->corrupt_rank = n->rank;
        s->corrupt_step = n->step;
        s->good_step = n->good;
        return 0;
    case NOTE_BYE:
        r->bye = true;
        r->code = n->code;
        r->gone_s = launch_came_s(l->fd, false);
        return 0;
    default: return -1;
    }
}

/* Whatever has come on a connection; false: it has ended (*ended_s: when), or says what no rank
 * says. */
static bool read_link(struct supervisor *s, struct launch_link *l, double *ended_s)
{
    struct launch_note n;
    ssize_t more = recv(l->fd, l->lines.data + l->lines.size, sizeof(l->lines.data) - l->lines.size,
                        MSG_DONTWAIT);
    *ended_s = time_now_s();
    if (more < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (more == 0) *ended_s = launch_came_s(l->fd, true);
    if (more <= 0) return false;
    l->lines.size += (size_t)more;
    int rc;
    while ((rc = launch_lines_next(&l->lines, &n)) > 0)
        if (take_note(s, l, &n) < 0) return false;
    return rc == 0;
}

/* Again, where one has ended: another may have ended before it, and have been asked before that. */
static void read_links(struct supervisor *s)
{
    size_t before;
    do {
        before = s->n_links;
        for (size_t i = 0; i < s->n_links; i++) {
            double ended_s;
            if (read_link(s, &s->links[i], &ended_s)) continue;
            int rank = s->links[i].rank;
            if (rank >= 0) {
                s->ranks[rank].gone = true;
                if (!s->ranks[rank].bye) s->ranks[rank].gone_s = ended_s;
            }
            launch_drop(s, i--);
        }
    } while (s->n_links < before);
}

/* ------------------------------------------------------------------ a turn */

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) continue;
        /* The same again: whoever sends it does not want to wait for the ranks. */
        bool again = s->stop_signal == (int)info.ssi_signo;
        if (again && time_now_s() - s->signal_s > ONE_SIGNAL_S) s->stop_now = true;
        if (!again) s->signal_s = time_now_s();
        s->stop_signal = (int)info.ssi_signo;
    }
}

/* Time in which the launcher stood still is nobody's silence. */
static void excuse_stall(struct supervisor *s, double now_s)
{
    double gap_s = now_s - s->loop_s;
    s->loop_s = now_s;
    if (gap_s < STALL_S) return;
    for (int i = 0; i < s->n; i++) {
        s->ranks[i].heard_s += gap_s;
        s->ranks[i].since_s += gap_s;
    }
}

static void wait_for_news(struct supervisor *s, double *alive_s)
{
    struct arena a = {0};
    struct pollfd *p = arena_alloc(&a, (s->n_links + 2) * sizeof(*p));
    p[0] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
    p[1] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    for (size_t i = 0; i < s->n_links; i++)
        p[i + 2] = (struct pollfd){.fd = s->links[i].fd, .events = POLLIN};
    poll(p, s->n_links + 2, TURN_MS);
    arena_fini(&a);
    excuse_stall(s, time_now_s());
    read_links(s);
    launch_accept(s);
    read_signals(s);
    launch_reap(s);
    if (time_now_s() - *alive_s > LAUNCH_ALIVE_S) {
        *alive_s = time_now_s();
        launch_tell(s, NOTE_ALIVE);
    }
}

static void stop_ranks(struct supervisor *s)
{
    if (!s->stop_signal || s->stopping) return;
    s->stopping = true;
    s->attempt_s = time_now_s();
    struct json_writer *w = launch_event_begin(s, "launch_stopping");
    jsonw_string(w, "why", strsignal(s->stop_signal));
    launch_event_end(s);
    launch_tell(s, NOTE_STOP);
}

/* Whether every rank has said farewell; the worst exit code. */
static bool all_left(const struct supervisor *s, int *code)
{
    *code = 0;
    for (int i = 0; i < s->n; i++) {
        if (!s->ranks[i].bye) return false;
        int c = s->ranks[i].code;
        bool worse = c != 0 && (*code == 0 || *code == -ERROR_AGAIN || c == -ERROR_NO_REQUEUE);
        if (worse) *code = c;
    }
    return true;
}

static bool any_said_farewell(const struct supervisor *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->ranks[i].bye) return true;
    return false;
}

static enum ending lose(struct supervisor *s, struct launch_verdict v)
{
    s->lost = v;
    s->lost_s = time_now_s();
    return ENDING_LOST;
}

/* An error that all ranks have agreed on before any of them knew where the run goes on, and none of an
 * earlier attempt got further: what they found will be found again. Ranks that lose one of them, or
 * their machine's memory, do not all say farewell. */
static bool comes_again(const struct supervisor *s)
{
    int code;
    return all_left(s, &code) && code == -ERROR_FAILED && s->resumed < 0 && !s->fruitful;
}

/* All ranks have said how they end. */
static enum ending ending_of(struct supervisor *s, int code)
{
    int rank = 0;
    if (s->corrupt_rank > -2)
        return lose(s, (struct launch_verdict){LAUNCH_CORRUPT, s->corrupt_rank, 0});
    if (code == 0) return ENDING_DONE;
    if (code == -ERROR_AGAIN) return ENDING_STOPPED;
    while (s->ranks[rank].code != code)
        rank++;
    if (code == -ERROR_NO_REQUEUE || code == -ERROR_CONFIG || code == -ERROR_USAGE ||
        comes_again(s)) {
        s->lost = (struct launch_verdict){LAUNCH_FAILED, rank, 0};
        return ENDING_REFUSED;
    }
    return lose(s, (struct launch_verdict){LAUNCH_FAILED, rank, 0});
}

/* After a farewell the other ranks follow, whatever the code: what they said counts, not that their
 * connections end. */
static enum ending judge(struct supervisor *s, double *farewell_s)
{
    double now_s = time_now_s();
    int code;
    if (all_left(s, &code)) return ending_of(s, code);
    if (*farewell_s == 0 && (any_said_farewell(s) || s->child == 0)) *farewell_s = now_s;
    struct launch_verdict v =
        launch_judge(s->ranks, s->n, &s->limits, &s->history, s->stepped, now_s);
    bool ending = *farewell_s > 0;
    if (v.why == LAUNCH_FAILED || (ending && v.why == LAUNCH_DEATH)) {
        if (now_s - *farewell_s < 2 && s->child > 0) return ENDING_NONE; /* the rest is coming */
        if (v.why == LAUNCH_FAILED && s->ranks[v.rank].code != 1)
            return ending_of(s, s->ranks[v.rank].code);
        return lose(s, v);
    }
    if (v.why == LAUNCH_SLOW && v.rank == s->slow_kept) v.why = LAUNCH_WELL;
    if (v.why != LAUNCH_WELL) return lose(s, v);
    if (s->child == 0 && now_s - s->child_s > 2)
        return lose(s, (struct launch_verdict){LAUNCH_START, -1, now_s - s->attempt_s});
    if (ending && now_s - *farewell_s > (s->stopping ? LAST_SAVE_S : FAREWELL_S))
        return lose(s, (struct launch_verdict){LAUNCH_HANG, -1, now_s - *farewell_s});
    return ENDING_NONE;
}

static enum ending watch(struct supervisor *s)
{
    enum ending ending = ENDING_NONE;
    double alive_s = time_now_s(), farewell_s = 0;
    s->loop_s = alive_s;
    while (ending == ENDING_NONE) {
        wait_for_news(s, &alive_s);
        stop_ranks(s);
        ending = s->stop_now ? ENDING_STOPPED : judge(s, &farewell_s);
    }
    return ending;
}

/* ------------------------------------------------------------------ attempts */

/* Nodes that may still be used, as many as are wanted; their number. */
static size_t choose_nodes(const struct supervisor *s, const char **chosen)
{
    size_t n = 0, wanted = s->o->n_nodes - s->o->n_spares;
    for (size_t i = 0; i < s->o->n_nodes && n < wanted; i++)
        if (!s->excluded[i]) chosen[n++] = s->o->nodes[i];
    return n;
}

/* As many ranks as the nodes that are left hold, and the run can have; 0: none. */
static int choose_ranks(const struct supervisor *s, size_t n_nodes)
{
    const struct cluster_supervisor *o = s->o;
    if (o->n_nodes == 0) return o->ranks;
    size_t wanted = o->n_nodes - o->n_spares;
    int ranks = (int)((size_t)o->ranks / wanted * n_nodes);
    if (n_nodes == wanted) return o->ranks;
    while (ranks > 0 && !(o->can_have && o->can_have(o->ctx, ranks)))
        ranks--;
    return ranks;
}

static void report_start(struct supervisor *s, const char *const *nodes, size_t n_nodes)
{
    struct json_writer *w = launch_event_begin(s, "attempt_started");
    jsonw_int(w, "attempt", s->attempt);
    jsonw_int(w, "ranks", s->n);
    jsonw_open(w, "nodes", '[');
    for (size_t i = 0; i < n_nodes; i++)
        jsonw_string(w, NULL, nodes[i]);
    jsonw_close(w, ']');
    launch_event_end(s);
}

/* Ranks are dealt to nodes in blocks, as srun does. */
static void reset_attempt(struct supervisor *s, int ranks, const char *const *nodes, size_t n_nodes)
{
    size_t per_node = n_nodes ? ((size_t)ranks + n_nodes - 1) / n_nodes : 1;
    s->n = ranks;
    s->attempt++;
    s->attempt_s = time_now_s();
    s->ranks = mem_calloc((size_t)ranks, sizeof(*s->ranks));
    s->links = mem_calloc((size_t)ranks + 64, sizeof(*s->links));
    s->n_links = 0;
    for (int i = 0; i < ranks; i++) {
        struct launch_rank *r = &s->ranks[i];
        *r = (struct launch_rank){.since_s = s->attempt_s, .step = -1, .waits = -1};
        if (n_nodes > 0) snprintf(r->node, sizeof(r->node), "%s", nodes[(size_t)i / per_node]);
    }
    s->resumed = -1;
    s->last_step = -1;
    s->stepped = false;
    s->corrupt_rank = -2;
}

static void end_attempt(struct supervisor *s)
{
    launch_remove_shared(s);
    mem_free(s->ranks);
    mem_free(s->links);
    s->ranks = NULL;
    s->links = NULL;
    s->n = 0;
    s->n_links = 0;
}

static int run_attempt(struct supervisor *s, enum ending *ending, struct error *e)
{
    struct arena a = {0};
    const char **nodes = arena_alloc(&a, (s->o->n_nodes + 1) * sizeof(*nodes));
    size_t n_nodes = choose_nodes(s, nodes);
    int ranks = choose_ranks(s, n_nodes), rc = 0;
    if (ranks == 0) {
        rc = error_set_code(e, s->fruitful ? ERROR_AGAIN : ERROR_NO_REQUEUE,
                            "too few nodes are left for the run");
        error_hint(e, "the same command goes on when they are mended");
    }
    if (rc == 0 && s->o->settle) rc = s->o->settle(s->o->ctx, s->attempt + 1, e);
    if (rc == 0) {
        reset_attempt(s, ranks, nodes, n_nodes);
        report_start(s, nodes, n_nodes);
        rc = launch_start(s, nodes, n_nodes, e);
    }
    if (rc == 0) *ending = watch(s);
    arena_fini(&a);
    return rc;
}

/* The node of the lost rank is not used again, but where the rank itself said that it failed. Where a
 * node does not come at the start after a death on another one, it was the one that had gone, and the
 * other is used again. */
static bool exclude(struct supervisor *s)
{
    size_t n_nodes = s->o->n_nodes;
    if (s->lost.why == LAUNCH_FAILED) return false;
    const char *node = s->lost.rank >= 0 ? s->ranks[s->lost.rank].node : "";
    for (size_t i = 0; i < n_nodes; i++) {
        if (s->excluded[i] || strcmp(s->o->nodes[i], node) != 0) continue;
        s->excluded[i] = true;
        if (s->lost.why == LAUNCH_START && s->doubted < n_nodes) s->excluded[s->doubted] = false;
        s->doubted = s->lost.why == LAUNCH_DEATH ? i : n_nodes;
        return true;
    }
    return false;
}

/* What is done about a loss, in words; NULL: nothing can be. */
static const char *decide(struct supervisor *s)
{
    if (s->stopping) return "the run was to end anyway";
    s->restarts++;
    s->fruitless++;
    if (s->fruitless > s->o->restarts) return NULL;
    if (s->lost.why == LAUNCH_SLOW) s->slow_kept = s->lost.rank; /* once more is lived with */
    return exclude(s) ? "starting again without that node" : "starting again";
}

static int give_up(struct supervisor *s, struct error *e)
{
    struct str text = {0};
    launch_verdict_text(s, &s->lost, &text);
    error_set_code(e, ERROR_NO_REQUEUE, "%d restarts without progress; the last: %s",
                   s->o->restarts, text.data);
    str_fini(&text);
    bool came = false;
    for (int i = 0; i < s->n; i++)
        came = came || s->ranks[i].here;
    if (!came && s->o->host)
        return error_hint(e,
                          "no rank has reached this launcher at '%s'; --address says where they "
                          "can",
                          s->o->host);
    return error_hint(e, "what the ranks said is above; colossus why RUN shows every loss");
}

/* An error of the ranks that no restart mends; they have said it. It may name options of the command
 * that they are, which the launcher does not have. */
static int refuse(const struct supervisor *s, struct error *e)
{
    struct arena a = {0};
    struct str line = {0};
    const char **argv, **nodes = arena_alloc(&a, (s->o->n_nodes + 1) * sizeof(*nodes));
    const struct cluster_attempt at = {s->attempt, s->n, nodes, choose_nodes(s, nodes)};
    *e = (struct error){.code = -s->ranks[s->lost.rank].code};
    if (e->code == ERROR_FAILED) {
        error_set(e, "the ranks ended before their first step, for a reason that no restart mends");
        if (s->o->command(s->o->ctx, &at, &a, &argv, NULL) >= 0)
            for (size_t i = 0; argv[i]; i++) {
                if (i > 0) str_append_char(&line, ' ');
                str_put_word(&line, argv[i]);
            }
        error_hint(e,
                   "what they said is above; where it names an option, as --restart, give that to "
                   "them once, and then launch again: %s",
                   line.len > 0 ? line.data : "colossus train");
    }
    str_fini(&line);
    arena_fini(&a);
    return e->code;
}

static int stopped(const struct supervisor *s, struct error *e)
{
    if (s->stop_signal)
        error_set_code(e, ERROR_AGAIN, "stopped by %s", strsignal(s->stop_signal));
    else
        error_set_code(e, ERROR_AGAIN, "the ranks were stopped");
    return error_hint(e, "the same command continues the run");
}

static int supervise(struct supervisor *s, struct error *e)
{
    for (;;) {
        enum ending ending = ENDING_NONE;
        TRY(run_attempt(s, &ending, e));
        int rc = 0;
        bool again = false;
        if (ending == ENDING_LOST) {
            const char *action = decide(s);
            launch_report_lost(s, &s->lost, action ? action : "giving up");
            again = action && !s->stopping;
            if (!action) rc = give_up(s, e);
            if (s->stopping) rc = stopped(s, e);
        }
        if (ending == ENDING_STOPPED) rc = stopped(s, e);
        if (ending == ENDING_REFUSED) rc = refuse(s, e);
        if (s->stop_now) log_warn("told twice to end: the ranks are left before they have saved");
        if (ending == ENDING_LOST || s->stop_now) launch_leave(s);
        for (double end_s = time_now_s() + FAREWELL_S; !again && s->child > 0;) {
            launch_reap(s);
            if (time_now_s() > end_s) launch_leave(s);
            poll(NULL, 0, 10);
        }
        end_attempt(s);
        if (!again) return rc;
    }
}

/* ------------------------------------------------------------------ the whole */

static void report_begin(struct supervisor *s)
{
    struct json_writer *w = launch_event_begin(s, "launch_started");
    jsonw_int(w, "ranks", s->o->ranks);
    jsonw_open(w, "nodes", '[');
    for (size_t i = 0; i < s->o->n_nodes; i++)
        jsonw_string(w, NULL, s->o->nodes[i]);
    jsonw_close(w, ']');
    jsonw_int(w, "spares", (int64_t)s->o->n_spares);
    launch_event_end(s);
}

static void report_end(struct supervisor *s, int rc, const struct error *e)
{
    s->last_step = MAX(s->last_step, s->best_step);
    struct json_writer *w = launch_event_begin(s, "launch_ended");
    jsonw_int(w, "code", rc >= 0 ? 0 : rc == ERROR_FAILED ? 1 : -rc);
    jsonw_int(w, "restarts", s->restarts);
    if (rc < 0) jsonw_string(w, "text", e->text);
    launch_event_end(s);
}

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

static int open_supervisor(struct supervisor *s, sigset_t *before, struct error *e)
{
    sigset_t mine;
    sigemptyset(&mine);
    sigaddset(&mine, SIGCHLD);
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        sigaddset(&mine, stop_signals[i]);
    s->signal_fd = signalfd(-1, &mine, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signal_fd < 0) return error_errno(e, "watch for", "signals");
    sigprocmask(SIG_BLOCK, &mine, before);
    TRY(launch_listen(s, e));
    return launch_report_open(s, e);
}

/* How the run has ended is known, and the exit code is to tell it: a signal that came since the last
 * one was read, or comes now, has nothing left to stop. */
static void close_signals(struct supervisor *s, const sigset_t *before)
{
    if (s->signal_fd < 0) return;
    for (size_t i = 0; i < ARRAY_LEN(stop_signals); i++)
        signal(stop_signals[i], SIG_IGN);
    close(s->signal_fd);
    sigprocmask(SIG_SETMASK, before, NULL);
}

int cluster_supervise(const struct cluster_supervisor *o, struct error *e)
{
    struct supervisor *s = mem_calloc(1, sizeof(*s));
    sigset_t before;
    *s = (struct supervisor){.o = o, .listen_fd = -1, .signal_fd = -1, .events_fd = -1};
    s->limits = (struct launch_limits){.silence_s = o->silence_s,
                                       .hang_s = o->hang_s,
                                       .hang_times = HANG_TIMES,
                                       .start_s = o->start_s,
                                       .slow_times = o->slow_times};
    s->slow_kept = s->lost.rank = -1;
    s->holds = o->is_over;
    s->doubted = o->n_nodes;
    s->progress_s = time_now_s();
    s->excluded = mem_calloc(o->n_nodes + 1, sizeof(*s->excluded));
    s->n_faults = MIN(o->n_faults, (size_t)CLUSTER_FAULTS_MAX);
    memcpy(s->faults, o->faults, s->n_faults * sizeof(*s->faults));
    int rc = open_supervisor(s, &before, e);
    if (rc >= 0) {
        report_begin(s);
        rc = supervise(s, e);
        report_end(s, rc, e);
    }
    for (double end_s = time_now_s() + 5; s->n_old > 0 && time_now_s() < end_s;) {
        launch_reap(s);
        poll(NULL, 0, 10);
    }
    if (s->listen_fd >= 0) close(s->listen_fd);
    if (s->events_fd >= 0) close(s->events_fd);
    close_signals(s, &before);
    str_fini(&s->line);
    str_fini(&s->held);
    mem_free(s->excluded);
    mem_free(s);
    return rc;
}
