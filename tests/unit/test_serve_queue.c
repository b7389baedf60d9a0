/* Tests of who waits for the engine and whose turn it is: clients share, whatever one of them asks. */
#include "serve/api/serve_engine_internal.h"
#include "serve_fixture.h"
#include "test_cmocka.h"

#include <poll.h>
#include <stdatomic.h>

/* ------------------------------------------------------------------ the queue alone */

static void push(struct job_queue *q, struct engine_job *job, uint64_t client)
{
    *job = (struct engine_job){.n = 1, .client = client};
    assert_true(job_queue_reserve(q, client));
    job_queue_push(q, job);
}

/* The client of the next turn, which is taken. */
static uint64_t turn(struct job_queue *q)
{
    struct engine_job *job = job_queue_first(q);
    assert_non_null(job);
    job_queue_take(q, job);
    return job->client;
}

static bool all_leave(void *ctx, struct engine_job *job)
{
    (void)ctx;
    (void)job;
    return true;
}

/* Whoever has fewest places goes first; with equal ones turns go round; a client's own keep order. */
static void turns(void **unused)
{
    struct job_queue q = {.most = 100};
    struct engine_job a[6], b[2], c[1];
    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        push(&q, &a[i], 7);
    assert_int_equal(turn(&q), 7);
    assert_int_equal(turn(&q), 7);
    push(&q, &b[0], 8);
    push(&q, &b[1], 8);
    assert_int_equal(turn(&q), 8); /* 2 of 7's have places */
    assert_int_equal(turn(&q), 8); /* 2 and 1 */
    push(&q, &c[0], 9);
    assert_int_equal(turn(&q), 9);
    assert_ptr_equal(job_queue_first(&q), &a[2]);
    job_queue_end(&q, &a[0], true);
    job_queue_end(&q, &a[1], true);
    job_queue_end(&q, &b[0], true);
    job_queue_end(&q, &b[1], true); /* nobody of 8 is left: forgotten */
    job_queue_end(&q, &c[0], true);
    assert_int_equal(turn(&q), 7);
    push(&q, &b[0], 8);
    assert_int_equal(turn(&q), 8);
    assert_int_equal(q.waiting, 3);
    job_queue_end(&q, &a[2], true);
    job_queue_end(&q, &b[0], true);
    /* one at a time: turns alternate while both wait */
    push(&q, &b[0], 8);
    push(&q, &b[1], 8);
    uint64_t order[5];
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct engine_job *job = job_queue_first(&q);
        job_queue_take(&q, job);
        order[i] = job->client;
        job_queue_end(&q, job, true);
    }
    assert_int_equal(order[0] + order[1], 15);
    assert_int_equal(order[2] + order[3], 15);
    assert_int_equal(order[4], 7);
    assert_null(job_queue_first(&q));
    assert_null(q.clients);
}

/* One client may have the whole queue, and yet another one finds its part of it. */
static void places(void **unused)
{
    enum { MOST = 8 };
    struct job_queue q = {.most = MOST};
    struct engine_job a[MOST], b[MOST];
    (void)unused;
    for (int i = 0; i < MOST; i++)
        push(&q, &a[i], 1);
    assert_false(job_queue_reserve(&q, 1));
    for (int i = 0; i < MOST / 2; i++)
        push(&q, &b[i], 2);
    assert_false(job_queue_reserve(&q, 2)); /* its share is half */
    assert_false(job_queue_reserve(&q, 1));
    assert_true(job_queue_reserve(&q, 3)); /* a third of 8 is 2 */
    assert_true(job_queue_reserve(&q, 3));
    assert_false(job_queue_reserve(&q, 3));
    assert_true(job_queue_reserve(&q, 4));
    assert_true(job_queue_reserve(&q, 5)); /* twice the queue is all there is */
    assert_false(job_queue_reserve(&q, 6));
    job_queue_unreserve(&q, 5);
    assert_true(job_queue_reserve(&q, 6));
    job_queue_unreserve(&q, 3);
    job_queue_unreserve(&q, 3);
    job_queue_unreserve(&q, 4);
    job_queue_unreserve(&q, 6);
    assert_int_equal(q.waiting, MOST + MOST / 2);
    assert_int_equal(q.places, 0);
    int n = 0;
    for (struct engine_job *job = job_queue_sift(&q, all_leave, NULL), *next; job; job = next) {
        next = job->next;
        job_queue_end(&q, job, false);
        n++;
    }
    assert_int_equal(n, MOST + MOST / 2);
    assert_null(q.clients);
}

/* ------------------------------------------------------------------ beside an engine */

struct told {
    struct engine_job job;
    atomic_int *order; /* how many have begun to write, of all */
    int began;         /* as which one; 0: not yet */
    atomic_bool done;
};

static bool on_token(void *ctx, int choice, const struct engine_token *t)
{
    struct told *x = ctx;
    (void)choice;
    (void)t;
    if (x->began == 0) x->began = 1 + atomic_fetch_add(x->order, 1);
    return true;
}

static void on_end(void *ctx, int choice, enum engine_end why)
{
    (void)ctx;
    (void)choice;
    (void)why;
}

static void on_embedding(void *ctx, const float *mean)
{
    struct told *x = ctx;
    (void)mean;
    x->began = 1 + atomic_fetch_add(x->order, 1);
}

static void on_wait(void *ctx)
{
    (void)ctx;
}

static bool is_gone(void *ctx)
{
    (void)ctx;
    return false;
}

static void on_done(void *ctx)
{
    ((struct told *)ctx)->done = true;
}

/* Asks so many of client 1, then one of client 2; returns as which one the latter was served since it
 * came. */
static int served_as(struct serve_model *m, int many, int sequences, struct engine_job like)
{
    struct error e = {0};
    engine_t *engine;
    atomic_int order = 0;
    int before = 0;
    struct told *told = mem_calloc((size_t)many + 1, sizeof(*told));
    const struct engine_options o = {
        .sequences = sequences, .context = 4096, .queue = many, .pages = 4096, .no_cache = true};
    assert_ok(engine_new(m, &o, &engine, &e), e);
    for (int i = 0; i <= many; i++) {
        told[i].order = &order;
        told[i].job = like;
        struct engine_job *job = &told[i].job;
        job->client = i == many ? 2 : 1;
        job->n = 1;
        job->sampling = (struct serve_sampling){.top_p = 1, .repetition_penalty = 1};
        job->ctx = &told[i];
        job->on_token = on_token;
        job->on_end = on_end;
        job->on_embedding = on_embedding;
        job->on_wait = on_wait;
        job->is_gone = is_gone;
        job->on_done = on_done;
        assert_true(engine_reserve(engine, job->client));
        before = order;
        engine_submit(engine, job);
    }
    for (int i = 0; i <= many; i++)
        for (int tries = 0; !told[i].done; tries++) {
            assert_true(tries < 6000); /* a minute: it stands still */
            poll(NULL, 0, 10);
        }
    int as = told[many].began - before;
    engine_stop(engine);
    engine_free(engine);
    mem_free(told);
    return as;
}

/* A client of many requests does not stand before one of one: neither where places are few, nor where
 * all have one and prompts are long, nor with embeddings. */
static void one_beside_many(void **unused)
{
    enum { LONG = 1200 };
    static uint32_t prompt[LONG];
    struct fixture f = {0};
    struct serve_model m;
    (void)unused;
    for (int i = 0; i < LONG; i++)
        prompt[i] = (uint32_t)(1 + i % 200);
    fixture_make(&f);
    fixture_open(&f, 2, 1, 1, &m);
    m.config.context_length = 4096;
    struct engine_job job = {.prompt = prompt, .n_prompt = 40, .max_tokens = 40};
    int as = served_as(&m, 20, 2, job);
    print_message("few places: served as number %d of 21\n", as);
    assert_true(as <= 5);
    job.n_prompt = LONG;
    job.max_tokens = 4;
    as = served_as(&m, 15, 16, job);
    print_message("long prompts: served as number %d of 16\n", as);
    assert_true(as <= 3);
    job.embed = true;
    job.max_tokens = 0;
    as = served_as(&m, 15, 16, job);
    print_message("embeddings: served as number %d of 16\n", as);
    assert_true(as <= 3);
    serve_model_close(&m);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns),
        cmocka_unit_test(places),
        cmocka_unit_test(one_beside_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
