/* cluster_report.c: what the launcher says: lines of the run's events.jsonl, and lines for people.
 *
 * A run that is over is not told of: what is appended to it would be all that is known of its end.
 * Rank 0 writes to the same file. Both append whole lines by one write each, so neither can cut into
 * the other's; every line of the launcher has "by": "launch", by which readers tell them apart:
 *
 *   launch_started     ranks, nodes                 the first line of a launcher
 *   attempt_started    attempt, ranks, nodes
 *   fault_injected     rank, what                   because --inject said so
 *   rank_lost          rank, node, why, operation, waited_by, detect_s, text, action
 *   recovered          attempt, cause, from_step, detect_s, restart_s, first_step_s,
 *                      rollback_s
 *   launch_stopping    why                          the ranks were told to save and to end
 *   launch_ended       code, restarts, text */
#include "cluster/launch/cluster_supervise_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define HELD_MAX ((size_t)1 << 20) /* bytes: so much is told that it is to be read */

int launch_report_open(struct supervisor *s, struct error *e)
{
    s->events_fd = open(s->o->events, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return s->events_fd < 0 ? error_errno(e, "open", s->o->events) : 0;
}

struct json_writer *launch_event_begin(struct supervisor *s, const char *event)
{
    char now[32];
    struct json_writer *w = &s->json;
    str_clear(&s->line);
    jsonw_begin(w, &s->line);
    jsonw_open(w, NULL, '{');
    time_iso8601(now);
    jsonw_string(w, "time", now);
    jsonw_string(w, "event", event);
    jsonw_int(w, "step", MAX(s->last_step, 0));
    jsonw_string(w, "by", "launch");
    return w;
}

static void write_lines(const struct supervisor *s, const struct str *lines)
{
    struct error e;
    if (lines->len > 0 &&
        file_write_fd(s->events_fd, lines->data, lines->len, s->o->events, &e) < 0)
        log_warn("%s", e.text);
}

void launch_release_events(struct supervisor *s)
{
    if (!s->holds) return;
    s->holds = false;
    write_lines(s, &s->held);
    str_clear(&s->held);
}

void launch_event_end(struct supervisor *s)
{
    jsonw_close(&s->json, '}');
    str_append_char(&s->line, '\n');
    if (!s->holds) {
        write_lines(s, &s->line);
        return;
    }
    str_append(&s->held, s->line.data, s->line.len);
    if (s->held.len > HELD_MAX) launch_release_events(s);
}

/* ------------------------------------------------------------------ a rank that is lost */

/* "forward" of "forward", "reading data" of "reading+data". */
static void put_word(struct str *out, const char *word)
{
    for (; *word; word++)
        str_append_char(out, *word == '+' ? ' ' : *word);
}

static void put_waiting(const struct supervisor *s, int rank, struct str *out)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->ranks[i].waits != rank || i == rank) continue;
        if (n++ < 8) str_printf(out, "%s%d", n == 1 ? "" : ", ", i);
    }
    if (n > 8) str_printf(out, " and %d more", n - 8);
}

static const char *verb(enum launch_why why)
{
    static const char *const verbs[] = {
        [LAUNCH_WELL] = "is well",        [LAUNCH_DEATH] = "has died",
        [LAUNCH_FROZEN] = "stands still", [LAUNCH_HANG] = "hangs",
        [LAUNCH_SLOW] = "is too slow",    [LAUNCH_CORRUPT] = "computes wrongly",
        [LAUNCH_FAILED] = "has failed",   [LAUNCH_START] = "did not start"};
    return verbs[why];
}

/* What is done behind a step belongs to it. */
static int64_t step_of(const struct launch_rank *r)
{
    static const char *const behind[] = {"validation", "checkpoint", "copy", "end"};
    for (size_t i = 0; i < ARRAY_LEN(behind); i++)
        if (strcmp(r->word, behind[i]) == 0) return MAX(r->step, 0);
    return r->step + 1;
}

void launch_verdict_text(const struct supervisor *s, const struct launch_verdict *v,
                         struct str *out)
{
    struct str waiting = {0};
    if (v->rank < 0) {
        str_printf(out, "a rank that cannot be named %s", verb(v->why));
        return;
    }
    const struct launch_rank *r = &s->ranks[v->rank];
    str_printf(out, "rank %d%s%s %s", v->rank, r->node[0] ? " on " : "", r->node, verb(v->why));
    if (r->word[0]) {
        str_puts(out, " in '");
        put_word(out, r->word);
        str_printf(out, "' of step %" PRId64, step_of(r));
    }
    if (v->why == LAUNCH_FROZEN) str_printf(out, ": silent for %.1f s", v->after_s);
    if (v->why == LAUNCH_HANG || v->why == LAUNCH_START)
        str_printf(out, ": %.1f s without progress", v->after_s);
    if (v->why == LAUNCH_SLOW)
        str_printf(out, ": %.2f s of its own for each of %d steps", v->after_s, LAUNCH_BUSY);
    if (v->why == LAUNCH_FAILED) str_printf(out, " with exit code %d", r->code);
    put_waiting(s, v->rank, &waiting);
    if (waiting.len > 0) str_printf(out, "; waited for by rank %s", waiting.data);
    str_fini(&waiting);
}

void launch_report_lost(struct supervisor *s, const struct launch_verdict *v, const char *action)
{
    struct str text = {0}, word = {0};
    launch_verdict_text(s, v, &text);
    const struct launch_rank *r = v->rank >= 0 ? &s->ranks[v->rank] : NULL;
    if (r) put_word(&word, r->word);
    struct json_writer *w = launch_event_begin(s, "rank_lost");
    jsonw_int(w, "attempt", s->attempt);
    jsonw_string(w, "why", launch_why_text(v->why));
    if (r) {
        jsonw_int(w, "rank", v->rank);
        jsonw_string(w, "node", r->node);
        jsonw_string(w, "operation", word.len ? word.data : "");
        jsonw_int(w, "steps_done", r->step);
    }
    jsonw_real(w, "detect_s", round(1e3 * (s->lost_s - s->progress_s)) / 1e3);
    jsonw_string(w, "text", text.data);
    jsonw_string(w, "action", action);
    launch_event_end(s);
    log_warn("%s: %s", text.data, action);
    str_fini(&text);
    str_fini(&word);
}
