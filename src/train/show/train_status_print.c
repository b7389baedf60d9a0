/* train_status_print.c: what became of a run, for people and as JSON. */
#include "train/train.h"

#include <inttypes.h>
#include <math.h>

static const char *real_text(char text[32], int digits, double x)
{
    snprintf(text, 32, "%.*f", digits, x);
    return isnan(x) ? "N/A" : text;
}

/* ------------------------------------------------------------------ status */

static void print_progress(const struct train_status *s, FILE *out)
{
    char tokens[32], rate[32], loss[32];
    fprintf(out, "%-11s", "progress");
    if (s->step < 0) {
        fprintf(out, "no step yet\n");
        return;
    }
    fprintf(out, "step %" PRId64, s->step);
    if (s->total_steps > 0) fprintf(out, " of %" PRId64, s->total_steps);
    fprintf(out, ", %s tokens, loss %s", format_count(tokens, (double)MAX(s->tokens, 0)),
            real_text(loss, 4, s->loss));
    if (!isnan(s->valid_bits_per_byte))
        fprintf(out, ", validation %.4f bits per byte", s->valid_bits_per_byte);
    if (!isnan(s->tokens_per_s)) fprintf(out, ", %s tok/s", format_count(rate, s->tokens_per_s));
    if (train_status_is_silent(s))
        fprintf(out, "; no step for %s", format_duration(rate, s->silent_s));
    fputc('\n', out);
}

static void print_lost(const struct train_status *s, FILE *out)
{
    char text[32];
    bool first = true;
    fprintf(out, "%-11s", "lost");
    for (int i = 0; i < TRAIN_LOST_CAUSES; i++) {
        if (s->lost_s[i] < 0.05) continue;
        fprintf(out, "%s%s %s", first ? "" : ", ", train_cause_names[i],
                format_duration(text, s->lost_s[i]));
        first = false;
    }
    fprintf(out, "%s\n", first ? "nothing" : "");
}

void train_status_print(const struct train_status *s, FILE *out)
{
    char text[32];
    fprintf(out, "%-11s%s: %s\n", "run", s->dir, train_state_names[s->state]);
    if (s->end_text && s->state == TRAIN_STATE_FAILED)
        fprintf(out, "%-11s%s\n", "because", s->end_text);
    print_progress(s, out);
    fprintf(out, "%-11s", "checkpoint");
    if (s->checkpoint_step < 0)
        fprintf(out, "none\n");
    else
        fprintf(out, "of step %" PRId64 ", %s %s\n", s->checkpoint_step,
                format_duration(text, s->checkpoint_age_s),
                s->state == TRAIN_STATE_RUNNING ? "old" : "before the end");
    if (s->ranks > 0)
        fprintf(out, "%-11s%" PRId64 "; %zu lost, %" PRId64 " restarts that went on\n", "ranks",
                s->ranks, s->n_incidents, s->restarts);
    double goodput = train_status_goodput(s);
    if (isnan(goodput)) return;
    fprintf(out, "%-11s%.1f %% of %s\n", "goodput", 100 * goodput,
            format_duration(text, s->total_s));
    print_lost(s, out);
}

static void put_real(struct json_writer *w, const char *key, double x)
{
    if (!isnan(x)) jsonw_real(w, key, x);
}

static void put_int(struct json_writer *w, const char *key, int64_t x)
{
    if (x >= 0) jsonw_int(w, key, x);
}

/* Milliseconds are enough. */
static double rounded(double x)
{
    return isnan(x) ? x : round(1e3 * x) / 1e3;
}

void train_status_json(const struct train_status *s, struct json_writer *w)
{
    jsonw_string(w, "run", s->dir);
    jsonw_string(w, "state", train_state_names[s->state]);
    put_int(w, "step", s->step);
    put_int(w, "total_steps", s->total_steps);
    put_int(w, "tokens", s->tokens);
    put_int(w, "ranks", s->ranks);
    put_real(w, "loss", s->loss);
    put_real(w, "valid_bits_per_byte", s->valid_bits_per_byte);
    put_real(w, "tokens_per_s", s->tokens_per_s);
    put_real(w, "step_s", s->step_s);
    put_real(w, "silent_s", rounded(s->silent_s));
    put_real(w, "mfu", s->mfu);
    put_int(w, "checkpoint_step", s->checkpoint_step);
    put_real(w, "checkpoint_age_s", rounded(s->checkpoint_age_s));
    jsonw_int(w, "launches", s->launches);
    jsonw_int(w, "ranks_lost", (int64_t)s->n_incidents);
    jsonw_int(w, "restarts", s->restarts);
    jsonw_int(w, "skipped_steps", s->skipped);
    put_real(w, "goodput", train_status_goodput(s));
    jsonw_real(w, "total_s", rounded(s->total_s));
    jsonw_real(w, "productive_s", rounded(s->productive_s));
    jsonw_open(w, "lost_s", '{');
    for (int i = 0; i < TRAIN_LOST_CAUSES; i++)
        jsonw_real(w, train_cause_names[i], rounded(s->lost_s[i]));
    jsonw_close(w, '}');
    if (s->end_text) jsonw_string(w, "end", s->end_text);
}

/* ------------------------------------------------------------------ why */

static void print_incident(const struct train_incident *i, FILE *out)
{
    char detect[32], restart[32], back[32];
    fprintf(out, "%.19s  %s\n", i->time ? i->time : "?", i->text ? i->text : "a rank was lost");
    fprintf(out, "%21s%s", "", i->action ? i->action : "nothing was done");
    if (!isnan(i->restart_s))
        fprintf(out, ": found after %s s, a step done %s s later, %s s of work done again",
                real_text(detect, 1, i->detect_s), real_text(restart, 1, i->restart_s),
                real_text(back, 1, i->rollback_s));
    fputc('\n', out);
}

void train_why_print(const struct train_status *s, FILE *out)
{
    fprintf(out, "%s: %s", s->dir, train_state_names[s->state]);
    if (s->step >= 0) fprintf(out, " at step %" PRId64, s->step);
    fputc('\n', out);
    for (size_t i = 0; i < s->n_incidents; i++)
        print_incident(&s->incidents[i], out);
    if (s->n_incidents == 0) fprintf(out, "no rank was lost\n");
    if (s->end_text && s->state != TRAIN_STATE_RUNNING)
        fprintf(out, "the last word: %s\n", s->end_text);
}

void train_why_json(const struct train_status *s, struct json_writer *w)
{
    jsonw_string(w, "run", s->dir);
    jsonw_string(w, "state", train_state_names[s->state]);
    put_int(w, "step", s->step);
    jsonw_open(w, "lost", '[');
    for (size_t k = 0; k < s->n_incidents; k++) {
        const struct train_incident *i = &s->incidents[k];
        jsonw_open(w, NULL, '{');
        if (i->time) jsonw_string(w, "time", i->time);
        if (i->why) jsonw_string(w, "why", i->why);
        put_int(w, "rank", i->rank);
        if (i->node) jsonw_string(w, "node", i->node);
        if (i->operation) jsonw_string(w, "operation", i->operation);
        put_int(w, "steps_done", i->step);
        put_int(w, "attempt", i->attempt);
        if (i->text) jsonw_string(w, "text", i->text);
        if (i->action) jsonw_string(w, "action", i->action);
        put_real(w, "detect_s", i->detect_s);
        put_real(w, "restart_s", i->restart_s);
        put_real(w, "rollback_s", i->rollback_s);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    if (s->end_text) jsonw_string(w, "end", s->end_text);
}
