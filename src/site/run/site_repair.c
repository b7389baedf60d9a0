/* site_repair.c: what is broken, until it works again.
 *
 * A failure of hardware opens a ticket: triage by machine, then, for a share of them, hands: a crew
 * with a part, after that the turnaround that holds no crew; tests at the end, which can fail. Crews
 * are fewer by night; whoever has begun ends his work. A ticket of a false alarm is triage only. */
#include "site/run/site_run_internal.h"

enum stage {
    STAGE_TRIAGE,
    STAGE_CREW,
    STAGE_PART,
    STAGE_HANDS,
    STAGE_TURNAROUND,
    STAGE_TESTS,
    STAGE_LIFE /* repaired as new, and at work again */
};
enum { DRAW_ESCALATES, DRAW_HANDS, DRAW_TURNAROUND, DRAW_PART, DRAW_TESTS, DRAW_LIFE, DRAW_FAILS };
enum { DRAWS = 8 }; /* of one ticket */
enum { NIGHT_FROM = 20, NIGHT_TO = 6 };

static double draw(const struct site_sim *x, const struct site_ticket *t, int which)
{
    return rng_uniform(x->st->seed, (uint64_t)SITE_OF_REPAIR << 56,
                       DRAWS * t->number + (uint64_t)which) +
           0x1p-54;
}

static double time_of(const struct site_sim *x, double mean, double u)
{
    switch (x->s->repair.law) {
    case SITE_TIME_EXPONENTIAL: return -mean * log(u);
    case SITE_TIME_TWO_POINT: return u < 0.5 ? 0.0 : 2.0 * mean;
    default: return mean;
    }
}

static int crews_at(const struct site_repair *r, int hour)
{
    if (r->crews == 0) return INT32_MAX;
    bool night = hour >= NIGHT_FROM || hour < NIGHT_TO;
    return (int)(night && r->night_crews > 0 ? r->night_crews : r->crews);
}

void site_repair_account(struct site_sim *x)
{
    struct site_state *st = x->st;
    double dt = site_seconds(st->now - st->repair_since);
    st->repair_since = st->now;
    st->r.in_repair_s += st->in_repair * dt;
    st->r.hands_s += st->busy_crews * dt;
    size_t bin = (size_t)fmin(st->in_repair, (double)ARRAY_LEN(st->histogram) - 1.0);
    st->histogram[bin] += dt;
}

void site_repair_init(struct site_sim *x)
{
    struct site_state *st = x->st;
    const struct site_repair *r = &x->s->repair;
    st->first_free = st->wait_first = st->wait_last = st->part_first = st->part_last = -1;
    st->crews = crews_at(r, 0);
    st->parts = r->parts;
    if (r->crews > 0 && r->night_crews > 0) site_push(x, NIGHT_TO * SITE_HOUR, SITE_K_SHIFT, 0, 0);
}

static int new_ticket(struct site_sim *x)
{
    struct site_state *st = x->st;
    if (st->first_free < 0) {
        size_t more = x->n_tickets ? 2 * x->n_tickets : 1024;
        x->tickets = mem_realloc(x->tickets, more * sizeof(*x->tickets));
        for (size_t i = more; i-- > x->n_tickets;) {
            x->tickets[i] = (struct site_ticket){.next = st->first_free};
            st->first_free = (int32_t)i;
        }
        x->n_tickets = more;
    }
    int i = st->first_free;
    st->first_free = x->tickets[i].next;
    return i;
}

static void put_last(struct site_sim *x, int32_t *first, int32_t *last, int ticket)
{
    x->tickets[ticket].next = -1;
    if (*last >= 0)
        x->tickets[*last].next = ticket;
    else
        *first = ticket;
    *last = ticket;
}

static int take_first(struct site_sim *x, int32_t *first, int32_t *last)
{
    int i = *first;
    *first = x->tickets[i].next;
    if (*first < 0) *last = -1;
    return i;
}

static void enter(struct site_sim *x, int i, enum stage stage, double seconds)
{
    x->tickets[i].stage = stage;
    site_push_in(x, seconds, SITE_K_TICKET, (uint32_t)i, 0);
}

/* Crews that are free take who waits longest. */
static void assign(struct site_sim *x)
{
    struct site_state *st = x->st;
    while (st->wait_first >= 0 && st->busy_crews < st->crews) {
        int i = take_first(x, &st->wait_first, &st->wait_last);
        struct site_ticket *t = &x->tickets[i];
        double waited = site_seconds(st->now - t->waits_since);
        if (waited > 0.0) st->r.waits++;
        st->r.wait_s += waited;
        st->busy_crews++;
        st->r.by_hand++;
        enter(x, i, STAGE_HANDS, time_of(x, x->s->repair.hands_s, draw(x, t, DRAW_HANDS)));
    }
}

static void want_crew(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    x->tickets[i].stage = STAGE_CREW;
    x->tickets[i].waits_since = st->now;
    put_last(x, &st->wait_first, &st->wait_last, i);
    assign(x);
}

static void want_part(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    const struct site_repair *r = &x->s->repair;
    const struct site_ticket *t = &x->tickets[i];
    if (draw(x, t, DRAW_PART) >= r->needs_part) {
        want_crew(x, i);
        return;
    }
    st->r.parts_used++;
    if (r->parts == 0) {
        want_crew(x, i);
        return;
    }
    site_push_in(x, r->part_lead_s, SITE_K_PART, 0, 0);
    if (st->parts > 0) {
        st->parts--;
        want_crew(x, i);
        return;
    }
    x->tickets[i].stage = STAGE_PART;
    put_last(x, &st->part_first, &st->part_last, i);
}

void site_repair_part(struct site_sim *x)
{
    struct site_state *st = x->st;
    site_repair_account(x);
    if (st->part_first >= 0)
        want_crew(x, take_first(x, &st->part_first, &st->part_last));
    else
        st->parts++;
}

void site_repair_shift(struct site_sim *x)
{
    struct site_state *st = x->st;
    site_us day = st->now % SITE_DAY;
    bool morning = day < 12 * SITE_HOUR;
    site_repair_account(x);
    st->crews = crews_at(&x->s->repair, (int)(day / SITE_HOUR));
    site_push(x,
              st->now + (morning ? NIGHT_FROM - NIGHT_TO : 24 - NIGHT_FROM + NIGHT_TO) * SITE_HOUR,
              SITE_K_SHIFT, 0, 0);
    assign(x);
}

void site_repair_open(struct site_sim *x, int cohort, const struct site_broken *what)
{
    struct site_state *st = x->st;
    site_repair_account(x);
    int i = new_ticket(x);
    x->tickets[i] = (struct site_ticket){.next = -1,
                                         .cohort = cohort,
                                         .pool = st->cohorts[cohort].pool,
                                         .accelerators = what->accelerators,
                                         .with_it = what->with_it,
                                         .number = st->tickets++,
                                         .lemon = what->lemon,
                                         .alarm = what->alarm};
    st->in_repair++;
    st->r.in_repair_most = fmax(st->r.in_repair_most, st->in_repair);
    enter(x, i, STAGE_TRIAGE, x->s->repair.triage_s);
}

static void release(struct site_sim *x, int i)
{
    x->tickets[i].next = x->st->first_free;
    x->st->first_free = i;
}

/* A unit that is new again: true where it may fail within the scenario. */
static bool live_again(struct site_sim *x, int i)
{
    struct site_ticket *t = &x->tickets[i];
    if (!x->s->failures.as_new || t->alarm) return false;
    t->stage = STAGE_LIFE;
    t->waits_since = x->st->now;
    return site_fleet_live_on(x, i, draw(x, t, DRAW_LIFE));
}

void site_repair_life(struct site_sim *x, int i)
{
    const double u[SITE_LIFE_DRAWS] = {draw(x, &x->tickets[i], DRAW_FAILS),
                                       draw(x, &x->tickets[i], DRAW_FAILS + 1)};
    bool lives = site_fleet_life(x, i, u);
    struct site_ticket *t = &x->tickets[i];
    t->number = x->st->tickets++; /* luck of its own */
    if (!lives || !site_fleet_live_on(x, i, draw(x, t, DRAW_LIFE))) release(x, i);
}

static void close_ticket(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    struct site_ticket *t = &x->tickets[i];
    struct site_cohort *c = &st->cohorts[t->cohort];
    st->in_repair--;
    st->r.repairs++;
    site_fleet_account(x);
    double back = t->accelerators + t->with_it;
    c->out = fmax(c->out - back, 0.0);
    st->pools[t->pool].out = fmax(st->pools[t->pool].out - back, 0.0);
    if (!live_again(x, i)) release(x, i);
    st->schedule_again = st->power_changed = true;
}

static void tested(struct site_sim *x, int i)
{
    struct site_ticket *t = &x->tickets[i];
    bool again = draw(x, t, DRAW_TESTS) < x->s->repair.readmit_fails;
    if (!again || t->alarm) {
        close_ticket(x, i);
        return;
    }
    t->number = x->st->tickets++; /* luck of its own */
    want_part(x, i);
}

void site_repair_ticket(struct site_sim *x, int i)
{
    struct site_state *st = x->st;
    const struct site_repair *r = &x->s->repair;
    struct site_ticket *t = &x->tickets[i];
    site_repair_account(x);
    switch ((enum stage)t->stage) {
    case STAGE_TRIAGE:
        if (!t->alarm && draw(x, t, DRAW_ESCALATES) < r->escalates)
            want_part(x, i);
        else
            enter(x, i, STAGE_TESTS, r->readmit_s);
        break;
    case STAGE_HANDS:
        st->busy_crews--;
        enter(x, i, STAGE_TURNAROUND, time_of(x, r->turnaround_s, draw(x, t, DRAW_TURNAROUND)));
        assign(x);
        break;
    case STAGE_TURNAROUND: enter(x, i, STAGE_TESTS, r->readmit_s); break;
    case STAGE_TESTS: tested(x, i); break;
    case STAGE_CREW:
    case STAGE_LIFE:
    case STAGE_PART: CHECK_MSG(false, "a ticket that waits has no end of its own"); break;
    }
}
