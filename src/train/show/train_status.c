/* train_status.c: what became of a run, from the two .jsonl files of its folder.
 *
 * The time of a run, from its first line on, is divided among the steps that count and what brought no
 * step. A step that was done again counts once: metrics.jsonl has one line for it. Losses that a
 * launcher has seen say themselves what they cost, in the event `recovered`; the start of each
 * launcher lasts from its first line to the first of its rank 0, where no rank is lost before; between
 * the last line of one and the first of the next nobody was at work. What is left is `other`. */
#include "train/show/train_show_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

const char *const train_state_names[] = {"new",     "running", "finished",
                                         "stopped", "failed",  "ended without a word"};
const char *const train_cause_names[] = {"death",  "frozen", "hang",  "straggler",  "corrupt",
                                         "failed", "start",  "queue", "validation", "other"};

/* The words of the launcher's events. */
static const struct {
    const char *why;
    enum train_cause cause;
} causes[] = {{"death", TRAIN_LOST_DEATH},     {"frozen", TRAIN_LOST_FROZEN},
              {"hang", TRAIN_LOST_HANG},       {"slow", TRAIN_LOST_STRAGGLER},
              {"corrupt", TRAIN_LOST_CORRUPT}, {"failed", TRAIN_LOST_FAILED},
              {"no start", TRAIN_LOST_FAILED}};

enum { SHOWN_EVENTS = 12, INCIDENTS_MAX = 1 << 16 };

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *text_of(const json_t *o, const char *key, struct arena *a)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? arena_plain(a, text) : NULL;
}

/* ------------------------------------------------------------------ reading lines */

/* What is gathered while events are read. */
struct reading {
    struct train_status *s;
    struct arena *a;
    double first, last;  /* seconds since 1970 of the first and the newest line */
    const double *steps; /* [n_steps] times of the lines of metrics.jsonl, in order */
    size_t n_steps;
    double launched;   /* of a launcher whose rank 0 has said nothing yet; 0: none */
    double checkpoint; /* when the newest was saved */
    char last_event[32];
    const char **lines; /* ring of SHOWN_EVENTS */
    size_t n_lines;
};

/* Room for one element more of an array that grows by doubling. */
static double *make_room(const double *array, size_t n)
{
    void *old = (void *)(uintptr_t)array;
    if ((n & (n - 1)) != 0) return old;
    return mem_realloc(old, MAX(n * 2, (size_t)64) * sizeof(double));
}

static void take_loss(struct train_status *s)
{
    double *all = make_room(s->losses, s->n_losses);
    all[s->n_losses++] = s->loss;
    s->losses = all;
}

static void take_busy(struct reading *r, const json_t *list)
{
    struct train_status *s = r->s;
    size_t n = MIN(json_array_size(list), (size_t)1024);
    if (n == 0) return;
    double *busy = arena_alloc(r->a, n * sizeof(*busy));
    for (size_t i = 0; i < n; i++)
        busy[i] = json_number_value(json_array_get(list, i));
    s->rank_busy_s = busy;
    s->n_rank_busy = n;
}

static void take_step(void *ctx, const json_t *o)
{
    struct reading *r = ctx;
    struct train_status *s = r->s;
    double t = train_line_seconds(json_string_value(json_object_get(o, "time")));
    double step_s = train_line_real(o, "step_s"), valid_s = train_line_real(o, "valid_s");
    s->step = train_line_int(o, "step");
    s->tokens = train_line_int(o, "tokens");
    s->loss = train_line_real(o, "loss");
    s->tokens_per_s = train_line_real(o, "tokens_per_s");
    s->mfu = train_line_real(o, "mfu");
    s->load_max_mean = train_line_real(o, "load_max_mean");
    s->load_entropy = train_line_real(o, "load_entropy");
    s->grad_norm = train_line_real(o, "grad_norm");
    s->lr = train_line_real(o, isnan(train_line_real(o, "muon_lr")) ? "lr" : "muon_lr");
    double wait_s = train_line_real(o, "wait_s");
    s->wait_share = step_s > 0 && !isnan(wait_s) ? fmin(wait_s / step_s, 1) : NAN;
    take_busy(r, json_object_get(o, "rank_busy_s"));
    take_loss(s);
    s->step_s = step_s;
    if (!isnan(train_line_real(o, "valid_bits_per_byte")))
        s->valid_bits_per_byte = train_line_real(o, "valid_bits_per_byte");
    if (!isnan(train_line_real(o, "valid_nll"))) s->valid_nats = train_line_real(o, "valid_nll");
    s->skipped += json_object_get(o, "skipped") != NULL;
    if (!isnan(step_s)) s->productive_s += step_s;
    if (!isnan(valid_s)) s->lost_s[TRAIN_LOST_VALIDATION] += valid_s;
    if (isnan(t)) return;
    if (r->first == 0 || t - step_s < r->first) r->first = t - (isnan(step_s) ? 0 : step_s);
    r->last = fmax(r->last, t);
    double *steps = make_room(r->steps, r->n_steps);
    steps[r->n_steps++] = t;
    r->steps = steps;
}

/* The newest line of a step before that time; 0: none. */
static double last_step_before(const struct reading *r, double t)
{
    size_t low = 0, high = r->n_steps;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (r->steps[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? r->steps[low - 1] : 0;
}

/* ------------------------------------------------------------------ events */

static enum train_cause cause_of(const char *why)
{
    for (size_t i = 0; why && i < ARRAY_LEN(causes); i++)
        if (strcmp(causes[i].why, why) == 0) return causes[i].cause;
    return TRAIN_LOST_OTHER;
}

static void take_incident(struct reading *r, const json_t *o)
{
    struct train_status *s = r->s;
    if (s->n_incidents == INCIDENTS_MAX) return;
    if ((s->n_incidents & (s->n_incidents - 1)) == 0) {
        struct train_incident *more =
            arena_alloc(r->a, MAX(2 * s->n_incidents, (size_t)16) * sizeof(*more));
        if (s->n_incidents) memcpy(more, s->incidents, s->n_incidents * sizeof(*more));
        s->incidents = more;
    }
    s->incidents[s->n_incidents++] =
        (struct train_incident){.time = text_of(o, "time", r->a),
                                .why = text_of(o, "why", r->a),
                                .cause = cause_of(json_string_value(json_object_get(o, "why"))),
                                .node = text_of(o, "node", r->a),
                                .operation = text_of(o, "operation", r->a),
                                .text = text_of(o, "text", r->a),
                                .action = text_of(o, "action", r->a),
                                .rank = train_line_int(o, "rank"),
                                .attempt = train_line_int(o, "attempt"),
                                .step = train_line_int(o, "steps_done"),
                                .detect_s = train_line_real(o, "detect_s"),
                                .lost_s = train_line_real(o, "detect_s"),
                                .restart_s = NAN,
                                .rollback_s = NAN};
}

static void take_recovery(struct reading *r, const json_t *o)
{
    struct train_status *s = r->s;
    enum train_cause cause = cause_of(json_string_value(json_object_get(o, "cause")));
    double parts[] = {train_line_real(o, "detect_s"), train_line_real(o, "restart_s"),
                      train_line_real(o, "rollback_s"),
                      -train_line_real(o, "first_step_s")}; /* in restart_s, and no loss */
    double lost_s = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        lost_s += isnan(parts[i]) ? 0 : parts[i];
    if (s->n_incidents > 0) {
        struct train_incident *i = &s->incidents[s->n_incidents - 1];
        i->detect_s = parts[0];
        i->restart_s = parts[1];
        i->rollback_s = parts[2];
        i->lost_s = lost_s;
    }
    s->restarts++;
    if (cause != TRAIN_LOST_OTHER) s->lost_s[cause] += lost_s; /* which is what is left */
}

/* A line for people, where there is something to tell. */
static void show_event(struct reading *r, const json_t *o, const char *event)
{
    static const char *const quiet[] = {"validation", "attempt_started"};
    const char *time = json_string_value(json_object_get(o, "time"));
    const char *text = json_string_value(json_object_get(o, "text"));
    const char *why = json_string_value(json_object_get(o, "why"));
    for (size_t i = 0; i < ARRAY_LEN(quiet); i++)
        if (strcmp(event, quiet[i]) == 0) return;
    if (!time || strlen(time) < 19) return;
    int64_t step = train_line_int(o, "step");
    const char *at = step >= 0 ? arena_printf(r->a, "step %" PRId64 " ", step) : "";
    const char *said = text && *text ? text : why && *why ? why : NULL;
    const char *line = arena_printf(r->a, "%.8s %s%s%s%s", time + 11, at, event, said ? ": " : "",
                                    said ? said : "");
    r->lines[r->n_lines++ % SHOWN_EVENTS] = arena_plain(r->a, line);
}

static void begin_launch(struct reading *r, double t)
{
    double before = fmax(r->last, last_step_before(r, t));
    if (r->s->launches++ > 0 && before > 0) r->s->lost_s[TRAIN_LOST_QUEUE] += fmax(t - before, 0);
    r->launched = t;
}

static void take_event(void *ctx, const json_t *o)
{
    struct reading *r = ctx;
    struct train_status *s = r->s;
    const char *event = json_string_value(json_object_get(o, "event"));
    double t = train_line_seconds(json_string_value(json_object_get(o, "time")));
    if (!event || isnan(t)) return;
    bool begins = strcmp(event, "run_started") == 0 || strcmp(event, "resumed") == 0;
    if (strcmp(event, "launch_started") == 0) begin_launch(r, t);
    if (r->first == 0 || t < r->first) r->first = t;
    r->last = fmax(r->last, t);
    if (begins && r->launched > 0) s->lost_s[TRAIN_LOST_START] += t - r->launched;
    if (begins) {
        r->launched = 0;
        s->total_steps = train_line_int(o, "total_steps");
        s->ranks = train_line_int(o, "ranks");
    }
    if (strcmp(event, "rank_lost") == 0) {
        take_incident(r, o);
        r->launched = 0; /* a start that failed is what the loss has cost */
    }
    if (strcmp(event, "recovered") == 0) take_recovery(r, o);
    if (strcmp(event, "checkpoint_saved") == 0) {
        s->checkpoint_step = train_line_int(o, "step");
        r->checkpoint = t;
    }
    if (strcmp(event, "corruption_found") == 0 &&
        s->checkpoint_step > train_line_int(o, "good_step"))
        s->checkpoint_step = train_line_int(o, "good_step");
    const char *text = json_string_value(json_object_get(o, "text"));
    const char *why = json_string_value(json_object_get(o, "why"));
    if (begins || strcmp(event, "launch_started") == 0 || strcmp(event, "run_finished") == 0)
        s->end_text = NULL; /* what stopped it before is past */
    if (strcmp(event, "launch_ended") == 0 || strcmp(event, "run_failed") == 0) {
        const char *said = text && *text ? text : why && *why ? why : NULL;
        if (said) s->end_text = arena_plain(r->a, said);
        if (!s->end_text && train_line_int(o, "code") > 0)
            s->end_text = arena_printf(
                r->a, "the ranks ended with exit code %" PRId64 "; why stands in their output",
                train_line_int(o, "code"));
    }
    /* The launcher tells of a recovery when it is sure, which may be behind the run's end. */
    bool settles = strcmp(event, "recovered") != 0;
    if (strcmp(event, "launch_ended") == 0)
        settles = train_line_int(o, "code") > 0 && train_line_int(o, "code") != 75;
    if (settles) snprintf(r->last_event, sizeof(r->last_event), "%s", event);
    show_event(r, o, event);
}

/* ------------------------------------------------------------------ the whole */

/* Whether a process holds the lock of a launcher, or the one of a run's checkpoints. */
static bool is_locked(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return locked;
}

static enum train_state find_state(const struct reading *r, const char *dir)
{
    if (is_locked(file_join(r->a, dir, "launch.lock")) ||
        is_locked(file_join(r->a, dir, "checkpoints")))
        return TRAIN_STATE_RUNNING;
    if (!r->last_event[0]) return TRAIN_STATE_NEW;
    if (strcmp(r->last_event, "run_finished") == 0) return TRAIN_STATE_FINISHED;
    if (strcmp(r->last_event, "run_failed") == 0 || strcmp(r->last_event, "launch_ended") == 0)
        return TRAIN_STATE_FAILED;
    for (size_t i = 0; i < MIN(r->n_lines, (size_t)SHOWN_EVENTS); i++)
        if (strstr(r->lines[(r->n_lines - 1 - i) % SHOWN_EVENTS], " stopping")) /* and saved */
            return i <= 2 ? TRAIN_STATE_STOPPED : TRAIN_STATE_BROKEN;
    return TRAIN_STATE_BROKEN;
}

/* Time is told as it went by; steps of a run that is at work may have ended just now. */
static void settle_times(struct reading *r)
{
    struct train_status *s = r->s;
    double end = s->state == TRAIN_STATE_RUNNING ? fmax(now_seconds(), r->last) : r->last;
    double known = s->productive_s;
    s->total_s = r->first > 0 ? end - r->first : 0;
    s->last_s = end;
    if (s->checkpoint_step >= 0) s->checkpoint_age_s = fmax(end - r->checkpoint, 0);
    for (int i = 0; i < TRAIN_LOST_OTHER; i++)
        known += s->lost_s[i];
    s->lost_s[TRAIN_LOST_OTHER] = fmax(s->total_s - known, 0);
}

int train_status_read(const char *dir, struct arena *a, struct train_status *s, struct error *e)
{
    *s = (struct train_status){.dir = arena_strdup(a, dir),
                               .step = -1,
                               .total_steps = -1,
                               .tokens = -1,
                               .ranks = -1,
                               .checkpoint_step = -1,
                               .loss = NAN,
                               .valid_bits_per_byte = NAN,
                               .valid_nats = NAN,
                               .tokens_per_s = NAN,
                               .mfu = NAN,
                               .step_s = NAN,
                               .load_max_mean = NAN,
                               .load_entropy = NAN,
                               .grad_norm = NAN,
                               .lr = NAN,
                               .wait_share = NAN,
                               .silent_s = NAN,
                               .checkpoint_age_s = NAN};
    struct reading r = {.s = s, .a = a};
    r.lines = arena_alloc(a, SHOWN_EVENTS * sizeof(*r.lines));
    const char *events = file_join(a, dir, "events.jsonl");
    if (!file_is_dir(dir) || !file_exists(events)) {
        error_set(e, "'%s' is not the folder of a run: it has no events.jsonl", dir);
        return error_hint(e, "name a run folder, as colossus train and launch make: runs/NAME");
    }
    train_lines_read(file_join(a, dir, "metrics.jsonl"), &r, take_step);
    double last_step = r.last;
    r.last = 0;
    train_lines_read(events, &r, take_event);
    r.last = fmax(r.last, last_step);
    s->state = find_state(&r, dir);
    if (last_step > 0 && s->state == TRAIN_STATE_RUNNING)
        s->silent_s = fmax(now_seconds() - last_step, 0);
    settle_times(&r);
    s->n_events = MIN(r.n_lines, (size_t)SHOWN_EVENTS);
    const char **shown = arena_alloc(a, SHOWN_EVENTS * sizeof(*shown));
    for (size_t i = 0; i < s->n_events; i++)
        shown[i] = r.lines[(r.n_lines - s->n_events + i) % SHOWN_EVENTS];
    s->events = shown;
    mem_free((void *)(uintptr_t)r.steps);
    return 0;
}

void train_status_free(struct train_status *s)
{
    mem_free((void *)(uintptr_t)s->losses);
    s->losses = NULL;
    s->n_losses = 0;
}

bool train_status_is_silent(const struct train_status *s)
{
    enum { LEAST_S = 10, STEPS = 5 };
    return s->silent_s > LEAST_S && !(s->silent_s < STEPS * s->step_s);
}

double train_status_goodput(const struct train_status *s)
{
    return s->total_s > 0 ? fmin(s->productive_s / s->total_s, 1) : NAN;
}
