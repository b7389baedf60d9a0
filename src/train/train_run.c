/* train_run.c: a run from its folder to its last checkpoint.
 *
 *   open      compute, data; --plan and --dry-run end here
 *   folder    whose it is (train_folder.c), the lock, run.yaml
 *   restore   the newest checkpoint that verifies, or the initial weights
 *   loop      step, validation, metrics, line, checkpoint
 *   end       last checkpoint on disk, curves as SVG, summary
 *
 * SIGTERM, SIGHUP or SIGINT: the step in progress is finished, its checkpoint brought to disk, and
 * the run ends with ERROR_AGAIN; the same command goes on from there. A second SIGINT kills at
 * once. A signal during the last validation counts too: the run is not over without its figure, and
 * a run that is continued behind its last step makes up for it. Where nothing at all is left to do,
 * the known figures are printed and nothing is written.
 *
 * A checkpoint is written by another thread, so that it succeeded is known when the next one is
 * submitted or at the end; its event is written then. One that fails is an event and a warning,
 * and the run goes on to the next; only the last one's failure fails the run. */
#include "train/train_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_RANKS = 64 }; /* of more, metrics.jsonl does not tell each one's time */

struct rejected { /* a checkpoint that was passed over, told once the log is open */
    int64_t step;
    const char *why;
    struct rejected *next;
};

struct run {
    struct train_session s;
    const struct train_options *o;
    struct train_run_file *file;
    struct arena arena;
    const char *dir;
    FILE *out; /* lines for people */
    struct train_log log;
    struct train_save save;
    struct train_copy copy; /* where checkpoint.copy_every is set */
    bool from_memory;       /* the state that this process began with was a copy */
    struct str differences;
    struct rejected *rejected;
    const char *aside;      /* where --restart has put the folder of an earlier run; or NULL */
    int64_t resumed_step;   /* -1: begun afresh */
    int64_t saved_step;     /* submitted last; -1: none in this process */
    struct error unsaved;   /* why that could not even begin; code 0: it has */
    int stop;               /* the signal that ends the run, on whichever rank it came; 0: none */
    double began_s, step_s; /* step_s: smoothed, for the time left */
    double last_loss, last_bpb;
    int64_t valid_step;           /* that last_bpb is of; -1: unknown */
    bool complete;                /* an earlier call did all of it */
    struct cluster_health health; /* of many ranks */
    double told_s;                /* when the last step ended */
    struct thread_time threads;   /* their share of the CPU by then, without that in waits */
    double blocked_s;             /* that this rank had waited for others by the last step's end */
    struct train_timeline timeline;
    int bound_cpus;      /* of this rank; 0: it may use all that the launcher gave it */
    double own_s;        /* what the last step took of this rank, without waiting */
    double *rank_busy;   /* [ranks] own_s of all */
    size_t *rank_bounds; /* [ranks + 1] of it */
    uint64_t allocation_mark;
};

static bool leads(const struct run *r)
{
    return train_ranks_lead(&r->s.ranks);
}

/* What this rank alone knows of why the run should end; 0: nothing. */
static int stop_wish(const struct run *r)
{
    int number = train_signal;
    if (number == 0 && cluster_watch_stops(r->o->watch)) number = TRAIN_SIGNAL_LAUNCHER;
    return number;
}

/* A signal may come to any rank, and at any time; all act on it at once, so the ranks agree on it
 * once a step. A process alone can look whenever it likes. */
static bool is_stopping(struct run *r)
{
    if (r->s.ranks.size <= 1) r->stop = stop_wish(r);
    return r->stop != 0;
}

/* Before the first step there is nothing to save. */
static int heed_signal(const struct run *r, struct error *e)
{
    int number = stop_wish(r);
    if (!number) return 0;
    error_set_code(e, ERROR_AGAIN, "stopped by %s before the first step",
                   train_signal_name(number));
    return error_hint(e, "the same command begins, or goes on, where the run was");
}

/* ------------------------------------------------------------------ restore */

static void on_reject(void *ctx, int64_t step, const char *why)
{
    struct run *r = ctx;
    struct rejected *x = arena_alloc(&r->arena, sizeof(*x));
    *x = (struct rejected){step, arena_strdup(&r->arena, why), r->rejected};
    r->rejected = x;
}

/* From the newest checkpoint, or, on a rank that does not lead, from the one of that step. */
static int restore(struct run *r, int64_t step, struct error *e)
{
    struct ckpt_loaded loaded;
    struct ckpt_layout reads;
    train_state_layout(&r->s, true, &reads);
    int rc = leads(r) ? ckpt_load_newest(r->dir, &reads, &loaded, on_reject, r, e)
                      : ckpt_load_step(r->dir, step, &reads, &loaded, e);
    if (rc <= 0) return rc;
    rc = train_state_from_json(&r->s, loaded.state, e);
    json_decref(loaded.state);
    if (rc < 0) return error_context(e, "while resuming '%s'", r->dir);
    if (r->s.reduce.zero == 0) model_weights_changed(r->s.model);
    r->resumed_step = loaded.step;
    train_session_settle_steps(&r->s);
    return 0;
}

static void say_start(struct run *r)
{
    struct train_session *s = &r->s;
    char hex[17];
    if (!leads(r)) return;
    for (struct rejected *x = r->rejected; x; x = x->next)
        train_log_event(&r->log, "checkpoint_rejected", x->step, "why", x->why);
    bool fresh = r->resumed_step < 0;
    struct json_writer *w =
        train_log_event_begin(&r->log, fresh ? "run_started" : "resumed", s->step);
    if (r->from_memory) jsonw_string(w, "from", "memory");
    jsonw_int(w, "total_steps", s->total_steps);
    jsonw_int(w, "tokens", s->tokens);
    jsonw_int(w, "step_tokens", train_config_step_tokens(&s->c));
    jsonw_int(w, "parameters", (int64_t)model_config_total_params(&s->c.model));
    jsonw_int(w, "active_parameters", (int64_t)model_config_active_params(&s->c.model));
    jsonw_int(w, "threads", pool_threads(s->pool));
    jsonw_int(w, "ranks", s->ranks.size);
    if (s->ranks.size > 1) {
        jsonw_int(w, "dp", s->ranks.dp);
        jsonw_int(w, "tp", s->ranks.tp);
        jsonw_int(w, "pp", s->ranks.pp);
        jsonw_int(w, "ep", s->ranks.ep);
        if (r->bound_cpus > 0) jsonw_int(w, "bound_cpus", r->bound_cpus);
        jsonw_int(w, "sent_bytes", (int64_t)train_session_sends(s));
        jsonw_real(w, "link_bytes_per_s", r->health.bytes_per_s);
        jsonw_real(w, "link_latency_s", r->health.latency_s);
    }
    jsonw_string(w, "backend", compute_backend_name(s->compute));
    jsonw_string(w, "precision", s->c.precision == TRAIN_PRECISION_BF16 ? "bf16" : "fp32");
    jsonw_real(w, "flops_per_token", s->flops_per_token);
    if (s->peak_flops > 0) jsonw_real(w, "peak_flops_per_s", s->peak_flops);
    hash_to_hex(dataset_info(s->data.train)->fingerprint, hex);
    jsonw_string(w, "data_fingerprint", hex);
    train_log_event_end(&r->log);
    if (r->differences.len > 0)
        train_log_event(&r->log, "config_changed", s->step, "what", r->differences.data);
    if (r->o->go_back > 0) train_log_event(&r->log, "went_back", s->step, NULL, NULL);
    if (r->aside) {
        train_log_event(&r->log, "restarted", s->step, "aside", r->aside);
        fprintf(r->out, "begun anew; what was there is now '%s'\n", r->aside);
    }
    if (r->from_memory)
        fprintf(r->out, "resumed from copies in memory of step %" PRId64 "\n", s->step);
    else if (!fresh)
        fprintf(r->out, "resumed from the checkpoint of step %" PRId64 "\n", s->step);
    fflush(r->out);
}

/* ------------------------------------------------------------------ checkpoints */

/* Tells how the checkpoint under way ended; rc is what train_save.c returned. */
static int tell_saved(struct run *r, int rc, const struct error *e)
{
    if (rc == 0 || !leads(r)) return rc;
    const char *event = rc < 0 ? "checkpoint_failed" : "checkpoint_saved";
    train_log_event(&r->log, event, r->save.step, "why", rc < 0 ? e->text : NULL);
    if (rc < 0) log_warn("%s", e->text);
    return rc;
}

static int finish_saving(struct run *r, struct error *e)
{
    int rc = tell_saved(r, train_save_finish(&r->save, e), e);
    if (rc >= 0 && r->unsaved.code == 0) return 0;
    if (rc >= 0) *e = r->unsaved;
    return e->code;
}

static void save(struct run *r)
{
    struct error e = {0};
    cluster_watch_at(r->o->watch, "checkpoint");
    finish_saving(r, &e);
    r->saved_step = r->s.step;
    train_log_sync(&r->log); /* the metrics up to this step are on disk before the checkpoint */
    if (r->s.c.check_every > 0) ckpt_writer_guard(r->save.writer, r->s.check.good);
    e = (struct error){0};
    int rc = train_save_begin(&r->save, r->s.step, train_state_to_json(&r->s), &e);
    r->unsaved = rc < 0 ? e : (struct error){0};
    tell_saved(r, rc, &e);
}

/* A copy in memory, for a start after a loss. */
static int copy_state(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    uint64_t before = mem_alloc_count();
    cluster_watch_at(r->o->watch, "copy");
    int rc = train_copy_save(&r->copy, s->step, s->check.good, train_state_to_json(s), e);
    r->allocation_mark += mem_alloc_count() - before;
    return rc;
}

/* What the ranks agree on once a step: a signal that any of them got, and whether a part of the
 * checkpoint under way is still being written. One that is on disk by now gets its event: a later
 * process must know that there was one. */
static int agree(struct run *r, struct error *e)
{
    int64_t values[] = {stop_wish(r), train_save_is_busy(&r->save)};
    struct error saving = {0};
    if (r->s.ranks.size > 1) {
        TRY(group_agree(r->s.ranks.world, values, ARRAY_LEN(values), e));
        r->stop = (int)values[0];
    }
    uint64_t before = mem_alloc_count();
    tell_saved(r, train_save_look(&r->save, values[1] != 0, &saving), &saving);
    r->allocation_mark += mem_alloc_count() - before;
    return 0;
}

/* ------------------------------------------------------------------ loop */

static int validate(struct run *r, struct train_record *rec, struct error *e)
{
    struct train_session *s = &r->s;
    size_t n_loads = (size_t)(s->c.model.n_layers * s->c.model.n_experts);
    struct model_stats stats = {.load = s->valid_load};
    double start_s = time_now_s();
    cluster_watch_at(r->o->watch, "validation");
    if (stats.load) memset(stats.load, 0, n_loads * sizeof(*stats.load));
    static const volatile sig_atomic_t never = 0; /* of many ranks none may leave early */
    bool alone = s->ranks.size == 1;
    int rc = train_data_validate(&s->data, &s->passes, alone ? &train_signal : &never, &stats, e);
    rc = train_ranks_settle(&s->ranks, rc, e);
    if (rc <= 0) return rc;
    TRY(train_ranks_sum_stats(&s->ranks, &stats, n_loads, e));
    train_measure_load(&s->c.model, stats.load, &rec->valid_load);
    rec->valid_nll = stats.nll / stats.tokens;
    rec->valid_bits_per_byte = train_data_valid_bpb(&s->data, &stats);
    rec->valid_s = time_now_s() - start_s;
    r->last_bpb = rec->valid_bits_per_byte;
    r->valid_step = s->step;
    struct json_writer *w = train_log_event_begin(&r->log, "validation", s->step);
    jsonw_real(w, "nll", rec->valid_nll);
    jsonw_real(w, "bits_per_byte", rec->valid_bits_per_byte);
    jsonw_int(w, "tokens", (int64_t)stats.tokens);
    train_log_event_end(&r->log);
    return 0;
}

static int judge(struct run *r, const struct train_record *rec, struct error *e)
{
    const struct train_session *s = &r->s;
    if (rec->verdict == TRAIN_UPDATE_GOOD) return 0;
    struct json_writer *w = train_log_event_begin(&r->log, "step_skipped", rec->step);
    jsonw_string(w, "why", train_verdict_text(rec->verdict));
    jsonw_real(w, "loss", rec->loss);
    jsonw_real(w, "objective", rec->objective);
    jsonw_real(w, "grad_norm", rec->grad_norm);
    train_log_event_end(&r->log);
    if (leads(r))
        log_warn("step %" PRId64 " skipped: %s (loss %g, gradient norm %g)", rec->step,
                 train_verdict_text(rec->verdict), rec->objective, rec->grad_norm);
    if (s->skips_in_row < s->c.max_skips) return 0;
    return error_set_code(e, ERROR_NO_REQUEUE,
                          "%" PRId64 " updates in a row were skipped, last: %s", s->skips_in_row,
                          train_verdict_text(rec->verdict));
}

/* A router that has collapsed trains on, and says nothing by its loss: told after UNBALANCED_STEPS
 * in a row, and again each time that their number has doubled. */
static void watch_balance(struct run *r, const struct train_record *rec)
{
    enum { UNBALANCED_STEPS = 20 };
    int64_t told = UNBALANCED_STEPS;
    while (told < rec->unbalanced)
        told *= 2;
    if (rec->unbalanced != told || !leads(r)) return;
    /* What there is to turn, by balance.kind. */
    static const char *const advice[] = {
        [TRAIN_BALANCE_AUX] = "raise model.router_aux_coef or lower optimizer.lr",
        [TRAIN_BALANCE_BIAS] = "raise balance.bias_rate or lower optimizer.lr",
        [TRAIN_BALANCE_QUANTILE] = "lower optimizer.lr",
        [TRAIN_BALANCE_NONE] = "set balance.kind to quantile, bias or aux",
    };
    const struct model_config *m = &r->s.c.model;
    struct json_writer *w = train_log_event_begin(&r->log, "experts_unbalanced", rec->step);
    jsonw_int(w, "steps", rec->unbalanced);
    jsonw_real(w, "load_max_mean", rec->load.max_mean);
    jsonw_real(w, "load_entropy", rec->load.entropy);
    train_log_event_end(&r->log);
    log_warn("step %" PRId64 ": for %" PRId64 " steps most tokens have gone to few of the %lld "
             "experts (load %.2f of at most %.2f, entropy %.3f): %s",
             rec->step, rec->unbalanced, (long long)m->n_experts, rec->load.max_mean,
             (double)m->n_experts / (double)m->n_experts_used, rec->load.entropy,
             advice[r->s.c.balance]);
}

static bool is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* What every rank took for its own part of the step; of all ranks, for lines that are shown. */
static int share_busy(struct run *r, struct train_record *rec, struct error *e)
{
    size_t n = (size_t)r->s.ranks.size;
    if (n == 1 || n > SHOWN_RANKS) return 0;
    if (!r->rank_busy) {
        r->rank_busy = arena_alloc(&r->arena, n * sizeof(*r->rank_busy));
        r->rank_bounds = arena_alloc(&r->arena, (n + 1) * sizeof(*r->rank_bounds));
        for (size_t i = 0; i <= n; i++)
            r->rank_bounds[i] = i;
    }
    r->rank_busy[r->s.ranks.rank] = r->own_s;
    rec->rank_busy = r->rank_busy;
    rec->n_ranks = (int)n;
    return group_gather(r->s.ranks.world, r->rank_busy, r->rank_bounds, GROUP_F64, e);
}

/* Validation, metrics, line and checkpoint of the step that was just done. Where the validation
 * split cannot be read the step still gets its metrics. */
static int record(struct run *r, struct train_record *rec, struct error *e)
{
    struct train_session *s = &r->s;
    const struct train_config *c = &s->c;
    bool last = s->step == s->total_steps;
    watch_balance(r, rec);
    uint64_t now = mem_alloc_count();
    rec->allocations = now - r->allocation_mark;
    r->last_loss = rec->loss;
    r->step_s = r->step_s > 0 ? 0.9 * r->step_s + 0.1 * rec->step_s : rec->step_s;
    int rc = 0;
    if (s->data.valid && (last || is_due(s->step, c->valid_every))) rc = validate(r, rec, e);
    if (rc >= 0) rc = agree(r, e);
    bool shown = last || s->step == 1 || is_due(s->step, c->log_every) || r->stop ||
                 !isnan(rec->valid_bits_per_byte);
    if (rc >= 0 && shown) rc = share_busy(r, rec, e);
    r->allocation_mark = mem_alloc_count(); /* what validation took is not the step's */
    train_log_metrics(&r->log, rec, shown ? s->stats.load : NULL, c->model.n_layers,
                      c->model.n_experts);
    if (shown)
        train_log_print(&r->log, rec, s->total_steps,
                        (double)(s->total_steps - s->step) * r->step_s);
    if (s->hooks && s->hooks->after_step) s->hooks->after_step(s->hooks->ctx, s->step);
    if (rc >= 0 && (last || is_stopping(r) || is_due(s->step, c->checkpoint_every))) {
        uint64_t before = mem_alloc_count();
        save(r);
        r->allocation_mark += mem_alloc_count() - before;
    }
    if (rc >= 0 && !last && is_due(s->step, c->copy_every)) rc = copy_state(r, e);
    return rc;
}

/* Whether this process has begun with this state, from disk. */
static bool is_on_disk(const struct run *r)
{
    return r->resumed_step == r->s.step && !r->from_memory;
}

/* Data that cannot be read ends the run, but loses nothing: what was done is saved. With ranks that
 * are lost nothing can be saved any more. */
static int stop_without_data(struct run *r, struct error *e)
{
    const struct train_session *s = &r->s;
    struct error saving = {0};
    if (s->step == 0 || (r->o->cluster && cluster_is_lost(r->o->cluster))) return e->code;
    if (r->saved_step != s->step && !is_on_disk(r)) save(r);
    if (finish_saving(r, &saving) < 0) return error_hint(e, "%s", saving.text);
    return error_hint(e,
                      "the state of step %" PRId64 " is saved in '%s': put the data back, and the "
                      "same command continues the run",
                      s->step, r->dir);
}

/* Results of the step in progress were wrong, and perhaps those of steps since the last check: what was
 * saved since then goes, and the same command, or the launcher, goes on from before. */
static int undo(struct run *r, struct error *e)
{
    const struct train_check *c = &r->s.check;
    struct error saving = {0};
    finish_saving(r, &saving);
    struct json_writer *w = train_log_event_begin(&r->log, "corruption_found", r->s.step);
    jsonw_int(w, "at_step", r->s.step + 1);
    if (c->rank >= 0) jsonw_int(w, "rank", c->rank);
    jsonw_int(w, "good_step", c->good);
    train_log_event_end(&r->log);
    train_copy_discard(&r->copy, c->good);
    int rc = leads(r) ? ckpt_writer_discard(r->save.writer, c->good, e) : 0;
    cluster_watch_corrupt(r->o->watch, c->rank, r->s.step + 1, c->good);
    TRY(train_ranks_settle(&r->s.ranks, rc, e));
    error_set_code(e, ERROR_AGAIN,
                   "silent corruption in step %" PRId64 ": %s; what was saved behind step %" PRId64
                   " is deleted",
                   r->s.step + 1,
                   c->rank < 0 ? "two ranks disagree"
                               : arena_printf(&r->arena, "rank %d computes wrongly", c->rank),
                   c->good);
    if (!leads(r)) e->text[0] = '\0';
    return error_hint(e, "the same command goes on from there, better without that machine");
}

#define STARVED_SHARE 0.25 /* of its own time without a CPU: its time does not say how fast it is */

static struct cluster_traffic traffic_of(const struct run *r)
{
    if (r->s.ranks.size > 1) return cluster_traffic(r->o->cluster);
    return (struct cluster_traffic){0};
}

static struct thread_time time_of_threads(const struct run *r, const struct cluster_traffic *t)
{
    struct thread_time now = thread_time(), others = pool_time(r->s.pool);
    now.cpu_s = (now.cpu_s + others.cpu_s - t->blocked_cpu_s) / pool_threads(r->s.pool);
    now.starved_s += others.starved_s + t->starved_s;
    return now;
}

/* From here on time is the first step's: what ranks waited for each other until they were all there is
 * not. */
static void start_clocks(struct run *r)
{
    struct cluster_traffic t = traffic_of(r);
    r->threads = time_of_threads(r, &t);
    r->blocked_s = t.blocked_s;
    r->told_s = time_now_s();
}

/* What a straggler is told by, of the step's own_s seconds. On a machine with other load that is what
 * it had of a CPU, by which a slow one is slow, too, and a healthy one is not. */
static double work_of_step(struct run *r, const struct cluster_traffic *t)
{
    struct thread_time now = time_of_threads(r, t);
    double cpu_s = now.cpu_s - r->threads.cpu_s;
    bool starved = now.starved_s - r->threads.starved_s > STARVED_SHARE * r->own_s;
    r->threads = now;
    return fmax(starved ? fmin(cpu_s, r->own_s) : r->own_s, 0);
}

/* What of the step was this rank's own work tells a straggler from those that wait for it. */
static void tell_step(struct run *r, struct train_record *rec)
{
    bool many = r->s.ranks.size > 1;
    struct cluster_traffic t = traffic_of(r);
    double now_s = time_now_s(), whole_s = now_s - r->told_s;
    rec->wait_s = many ? fmin(t.blocked_s - r->blocked_s, whole_s) : NAN;
    r->own_s = many ? whole_s - rec->wait_s : whole_s;
    cluster_watch_step(r->o->watch, r->s.step, work_of_step(r, &t));
    r->blocked_s = t.blocked_s;
    r->told_s = now_s;
}

static int loop(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    r->allocation_mark = mem_alloc_count();
    start_clocks(r);
    while (s->step < s->total_steps && !is_stopping(r)) {
        struct train_record rec = {0};
        check_set_context("step %" PRId64, s->step + 1);
        cluster_watch_inject(r->o->watch, s->step + 1);
        TRY(train_timeline_begin(&r->timeline, s->step + 1, e));
        if (train_session_step(s, &rec, e) < 0)
            return s->check.found ? undo(r, e) : stop_without_data(r, e);
        uint64_t before = mem_alloc_count();
        train_timeline_end(&r->timeline, s->step);
        r->allocation_mark += mem_alloc_count() - before;
        tell_step(r, &rec);
        int rc = judge(r, &rec, e);
        struct error unread = {0};
        int recorded = record(r, &rec, &unread);
        if (rc < 0) return rc;
        if (recorded < 0) {
            *e = unread;
            return stop_without_data(r, e);
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ end */

static void print_summary(struct run *r)
{
    const struct train_session *s = &r->s;
    char took[32], tokens[32];
    double seconds = time_now_s() - r->began_s;
    if (!leads(r)) return;
    if (r->o->json) {
        json_t *o = json_object();
        json_object_set_new(o, "run", json_string(r->dir));
        json_object_set_new(o, "steps", json_integer(s->step));
        json_object_set_new(o, "tokens", json_integer(s->tokens));
        json_object_set_new(o, "seconds", json_real(seconds));
        json_object_set_new(o, "loss", isnan(r->last_loss) ? json_null() : json_real(r->last_loss));
        json_object_set_new(o, "valid_bits_per_byte",
                            isnan(r->last_bpb) ? json_null() : json_real(r->last_bpb));
        FILE *out = r->o->out ? r->o->out : stdout;
        json_dumpf(o, out, JSON_INDENT(2));
        fputc('\n', out);
        json_decref(o);
        return;
    }
    fprintf(r->out, "done: %" PRId64 " steps, %s tokens, ", s->step,
            format_count(tokens, (double)s->tokens));
    if (r->complete)
        fprintf(r->out, "nothing left to do");
    else
        fprintf(r->out, "%s in this process", format_duration(took, seconds));
    if (!isnan(r->last_bpb)) fprintf(r->out, "; validation %.4f bits per byte", r->last_bpb);
    fprintf(r->out, "\nrun folder: %s (curves: loss.svg, throughput.svg)\n", r->dir);
    fflush(r->out);
}

static bool lacks_validation(const struct run *r)
{
    return r->s.data.valid && r->valid_step != r->s.step;
}

/* The validation that the last step of an earlier process did not get to. */
static int make_up_validation(struct run *r, struct error *e)
{
    struct train_record rec = {.step = r->s.step, .valid_bits_per_byte = NAN};
    TRY(validate(r, &rec, e));
    if (!isnan(rec.valid_bits_per_byte)) train_log_amend(&r->log, &rec);
    return 0;
}

static int finish(struct run *r, struct error *e)
{
    const struct train_session *s = &r->s;
    cluster_watch_at(r->o->watch, "end");
    if (s->step >= s->total_steps && !is_stopping(r) && lacks_validation(r))
        TRY(make_up_validation(r, e));
    bool stopped = s->step < s->total_steps || lacks_validation(r);
    if (stopped) train_log_event(&r->log, "stopping", s->step, "why", train_signal_name(r->stop));
    /* A signal can arrive when the last step has been recorded but not saved. */
    if (s->step > 0 && r->saved_step != s->step && !is_on_disk(r)) save(r);
    if (finish_saving(r, e) < 0) {
        if (error_is_full(e))
            e->code = ERROR_NO_REQUEUE; /* it is as full for whoever tries again */
        return e->code;
    }
    train_copy_remove(&r->copy); /* the disk has all of it */
    if (stopped && s->step == 0) return heed_signal(r, e);
    if (stopped) {
        error_set_code(e, ERROR_AGAIN, "stopped by %s after step %" PRId64 ", state saved in '%s'",
                       train_signal_name(r->stop), s->step, r->dir);
        return error_hint(e, "the same command continues the run");
    }
    struct json_writer *w = train_log_event_begin(&r->log, "run_finished", s->step);
    jsonw_int(w, "tokens", s->tokens);
    jsonw_real(w, "seconds", time_now_s() - r->began_s);
    jsonw_real(w, "valid_bits_per_byte", r->last_bpb);
    train_log_event_end(&r->log);
    struct error plot_error;
    if (leads(r) && train_plot(r->dir, NULL, &plot_error) < 0)
        log_warn("no curves: %s", plot_error.text);
    print_summary(r);
    return 0;
}

/* The newest checkpoint from before the updates that were skipped; -1: none. */
static int64_t last_good_step(struct run *r)
{
    int64_t *steps, streak = r->s.step - r->s.skips_in_row;
    size_t n = 0;
    if (ckpt_list(r->dir, &r->arena, &steps, &n, NULL) < 0) return -1;
    for (size_t i = 0; i < n; i++)
        if (steps[i] <= streak) return steps[i];
    return -1;
}

/* The run ends without having done what it was for: says so in its folder, and in the hint from
 * where it could go on. */
static int give_up(struct run *r, struct error *e)
{
    struct error saving = {0};
    int64_t good = -1;
    finish_saving(r, &saving);
    if (r->s.skips_in_row > 0 && e->code == ERROR_NO_REQUEUE) {
        good = last_good_step(r);
        train_advise(r->file, r->dir, good, e);
    }
    struct json_writer *w = train_log_event_begin(&r->log, "run_failed", r->s.step);
    jsonw_string(w, "why", e->text);
    if (e->hint[0]) jsonw_string(w, "hint", e->hint);
    if (good > 0) jsonw_int(w, "last_good_step", good);
    train_log_event_end(&r->log);
    return e->code;
}

/* ------------------------------------------------------------------ open */

/* Whether an earlier call did everything; what it found out is known again. */
static bool recall(struct run *r)
{
    struct train_session *s = &r->s;
    struct train_history h;
    if (r->resumed_step < 0 || s->step < s->total_steps) return false;
    train_log_history(r->dir, s->step, &h);
    r->last_loss = h.loss;
    r->last_bpb = h.valid_bits_per_byte;
    if (!isnan(h.valid_bits_per_byte)) r->valid_step = s->step;
    return h.finished && !lacks_validation(r);
}

static int preview(struct run *r, struct error *e)
{
    const struct train_options *o = r->o;
    FILE *out = o->out ? o->out : stdout;
    if (o->json) {
        json_t *plan = train_plan_to_json(&r->s);
        json_object_set_new(plan, "run", json_string(r->dir));
        json_dumpf(plan, out, JSON_INDENT(2));
        fputc('\n', out);
        json_decref(plan);
    } else {
        train_plan_describe(&r->s, out);
        train_plan_print(&r->s, out);
    }
    if (!o->dry_run) return 0;
    const char *aside = o->restart ? train_folder_aside(r->dir, &r->arena) : NULL;
    if (aside) {
        if (!o->json) fprintf(out, "would keep '%s' as '%s' and begin anew\n", r->dir, aside);
        return 0;
    }
    int state = train_folder_check(r->dir, &r->s.c, o, &r->differences, e);
    if (state < 0) return state;
    int64_t step = 0;
    int found = state == TRAIN_FOLDER_NEW ? 0 : ckpt_find_good(r->dir, &step, e);
    if (found < 0) return found;
    if (o->go_back > 0) {
        TRY(ckpt_check_step(r->dir, o->go_back, e));
        if (!o->json)
            fprintf(out,
                    "would go back to step %" PRId64 " of '%s', and take later checkpoints away\n",
                    o->go_back, r->dir);
        return 0;
    }
    if (o->json) return 0;
    if (found)
        fprintf(out, "would continue '%s' from step %" PRId64 "\n", r->dir, step);
    else
        fprintf(out, "would begin in '%s'\n", r->dir);
    if (!found && r->s.c.copy_every == 0) train_folder_warn(r->dir);
    return 0;
}

/* --restart: the folder of the earlier run gets another name, unless somebody is at work in it. */
static int put_aside(struct run *r, struct error *e)
{
    const char *aside = train_folder_aside(r->dir, &r->arena);
    if (!aside) return 0;
    TRY(ckpt_check_unlocked(r->dir, e));
    TRY(file_rename(r->dir, aside, e));
    r->aside = aside;
    return 0;
}

static int open_saving(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    train_state_layout(s, false, &s->layout);
    struct ckpt_writer_options w = {.run_dir = r->dir,
                                    .keep_last = s->c.keep_last,
                                    .keep_every = s->c.keep_every,
                                    .pool = s->pool,
                                    .is_sound = train_state_is_sound,
                                    .attempt = cluster_watch_attempt(r->o->watch)};
    return train_save_open(&r->save, &s->ranks, &w, &s->layout, e);
}

/* The folder of the run and the state it goes on from: of the rank that leads. */
static int open_folder(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    if (r->o->restart) TRY(put_aside(r, e));
    TRY(train_folder_check(r->dir, &s->c, r->o, &r->differences, e));
    TRY(train_session_allocate(s, e));
    TRY(heed_signal(r, e));
    TRY(open_saving(r, e)); /* the lock: the folder is ours now */
    return r->o->go_back > 0 ? ckpt_writer_go_back(r->save.writer, r->o->go_back, e) : 0;
}

/* From copies in memory, where they are not older than the newest checkpoint. Of all ranks. */
static int restore_copy(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    int64_t newest = 0, *steps;
    size_t n = 0;
    json_t *state;
    if (s->c.copy_every == 0) return 0;
    train_state_layout(s, true, &s->reads);
    uint64_t number = 0;
    int rc = leads(r) ? train_folder_number(r->dir, &number, e) : 0;
    TRY(train_ranks_settle(&s->ranks, rc, e));
    int64_t shared = (int64_t)number;
    TRY(train_ranks_share_int(&s->ranks, &shared, e));
    const struct train_copied what = {&s->reads, train_copy_slots(&s->c), (uint64_t)shared};
    TRY(train_copy_open(&r->copy, r->dir, &s->ranks, &what, e));
    if (leads(r) && ckpt_list(r->dir, &r->arena, &steps, &n, NULL) >= 0 && n > 0) newest = steps[0];
    TRY(train_ranks_share_int(&s->ranks, &newest, e));
    if (r->o->go_back > 0) train_copy_discard(&r->copy, -1);
    int64_t step = train_copy_restore(&r->copy, MAX(newest, 1), &state, e);
    if (step < 0) return 0;
    rc = train_ranks_settle(&s->ranks, train_state_from_json(s, state, e), e);
    json_decref(state);
    TRY(rc);
    if (s->reduce.zero == 0) model_weights_changed(s->model);
    r->from_memory = true;
    r->resumed_step = step;
    train_session_settle_steps(s);
    return 0;
}

/* The state that the rank that leads goes on from, which is the others', too. */
static int open_state(struct run *r, struct error *e)
{
    if (!leads(r)) return 0;
    if (!r->from_memory) TRY(restore(r, -1, e));
    if (r->resumed_step < 0) train_folder_warn(r->dir);
    r->complete = recall(r);
    return r->complete ? 0 : heed_signal(r, e);
}

/* What the others do meanwhile, and then: the checkpoint that the leader chose is theirs, too. */
static int open_beside(struct run *r, struct error *e)
{
    TRY(train_session_allocate(&r->s, e));
    r->log.silent = true;
    return heed_signal(r, e);
}

static int follow(struct run *r, struct error *e)
{
    int64_t leaders[] = {r->resumed_step, r->complete};
    TRY(train_ranks_share_int(&r->s.ranks, &leaders[0], e));
    TRY(train_ranks_share_int(&r->s.ranks, &leaders[1], e));
    if (leads(r)) return 0;
    r->complete = leaders[1] != 0;
    TRY(open_saving(r, e));
    if (leaders[0] < 0 || r->from_memory) return 0;
    int rc = restore(r, leaders[0], e);
    if (rc < 0)
        error_hint(e, "every rank must see the run folder '%s', on a disk that all share", r->dir);
    return rc;
}

/* The weights that each rank has read are its part of them. */
static int complete_weights(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    if (s->reduce.zero == 0 || r->resumed_step < 0) return 0;
    return train_reduce_gather(&s->reduce, s->model, e);
}

static int begin(struct run *r, struct error *e)
{
    struct train_session *s = &r->s;
    if (!leads(r)) return 0;
    TRY(train_folder_write(r->dir, r->file, &s->c, e));
    TRY(train_log_open(&r->log, r->dir, s->step, r->out, &r->arena, e));
    size_t experts = s->stats.load ? (size_t)(s->c.model.n_layers * s->c.model.n_experts) : 0;
    str_reserve(&r->log.line, 8192 + 8 * experts); /* no step's line needs more */
    if (s->c.peak_seconds > 0 && s->step < s->total_steps)
        s->peak_flops = compute_measure_peak(s->compute, s->c.peak_seconds) * s->ranks.size;
    if (!r->o->json) train_plan_describe(s, r->out);
    say_start(r);
    return 0;
}

static int open_run(struct run *r, struct error *e)
{
    const struct train_ranks *ranks = &r->s.ranks;
    int rc = leads(r) ? open_folder(r, e) : open_beside(r, e);
    TRY(train_ranks_settle(ranks, rc, e));
    TRY(restore_copy(r, e));
    TRY(train_ranks_settle(ranks, open_state(r, e), e));
    if (ranks->size > 1) TRY(train_ranks_settle(ranks, follow(r, e), e));
    if (r->complete) return 0;
    if (r->resumed_step < 0 && *r->s.c.start_from)
        TRY(train_ranks_settle(ranks, train_start(&r->s, e), e));
    train_copy_discard(&r->copy,
                       MAX(r->resumed_step, 0)); /* not of all ranks, or of another future */
    TRY(complete_weights(r, e));
    if (ranks->size > 1) TRY(cluster_examine(r->o->cluster, &r->health, &r->arena, e));
    TRY(train_ranks_settle(ranks, begin(r, e), e));
    rc = train_timeline_open(&r->timeline, ranks, &r->s.c, r->dir, e);
    return train_ranks_settle(ranks, rc, e);
}

static void close_run(struct run *r)
{
    train_save_close(&r->save);
    train_copy_close(&r->copy);
    train_log_close(&r->log);
    train_timeline_close(&r->timeline);
    str_fini(&r->differences);
    arena_fini(&r->arena);
    train_session_close(&r->s);
}

/* Where ranks run, how long they wait for each other, and where they tell what they were at. */
static int settle_ranks(struct run *r, const struct train_ranks *ranks, struct error *e)
{
    if (ranks->size == 1 || r->o->plan_only || r->o->dry_run) return 0;
    if (r->file->config.bind) r->bound_cpus = cluster_bind(ranks->cluster, e);
    if (r->bound_cpus < 0) return r->bound_cpus;
    return cluster_limit_waits(
        ranks->cluster, r->file->config.timeout_s,
        arena_printf(&r->arena, "%s/stacks/rank-%05d.txt", r->dir, ranks->rank), e);
}

static int run_all(struct run *r, struct error *e)
{
    struct train_config c = r->file->config;
    if (c.precision == TRAIN_PRECISION_AUTO) c.precision = train_folder_precision(r->dir);
    struct train_ranks started = train_ranks_of(r->o->cluster);
    started.watch = r->o->watch;
    TRY(train_ranks_settle(&started, settle_ranks(r, &started, e), e));
    const struct train_ranks ranks = r->o->plan_only ? train_ranks_planned(&started, &c) : started;
    TRY(train_ranks_settle(&started, train_session_open(&r->s, &c, &ranks, e), e));
    r->s.hooks = r->o->hooks;
    train_state_layout(&r->s, false, &r->s.layout);
    train_state_layout(&r->s, true, &r->s.reads);
    if (r->o->plan_only || r->o->dry_run) return leads(r) ? preview(r, e) : 0;
    cluster_watch_at(r->o->watch, "restore");
    TRY(open_run(r, e));
    cluster_watch_step(r->o->watch, r->s.step, 0);
    if (r->complete) {
        print_summary(r);
        return 0;
    }
    int rc = loop(r, e);
    if (rc >= 0) rc = finish(r, e);
    return rc < 0 && rc != ERROR_AGAIN ? give_up(r, e) : rc;
}

const char *train_run_dir(const struct train_run_file *f, const char *run_dir, struct arena *a)
{
    return run_dir ? run_dir : file_join(a, f->config.dir, f->config.name);
}

int train_run_check_idle(const char *run_dir, struct error *e)
{
    return ckpt_check_unlocked(run_dir, e);
}

int train_run(struct train_run_file *f, const struct train_options *o, struct error *e)
{
    struct error local = {0};
    e = e ? e : &local;
    struct run r = {.o = o,
                    .file = f,
                    .resumed_step = -1,
                    .save.step = -1,
                    .saved_step = -1,
                    .began_s = time_now_s(),
                    .last_loss = NAN,
                    .last_bpb = NAN,
                    .valid_step = -1};
    r.dir = train_run_dir(f, o->run_dir, &r.arena);
    r.out = o->out && !o->json ? o->out : output_stream(o->json ? STDERR_FILENO : STDOUT_FILENO);
    train_log_init(&r.log);
    struct train_handlers old;
    bool preview_only = o->plan_only || o->dry_run;
    if (!preview_only)
        train_signals_install(&old); /* from here on a signal ends a run in good order */
    int rc = run_all(&r, e);
    if (r.out != o->out) fclose(r.out);
    close_run(&r);
    if (!preview_only) train_signals_restore(&old);
    return rc;
}
