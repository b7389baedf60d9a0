/* test_train_ranks.c: whole runs of a tiny model on ranks that are threads of this process: which
 * rank keeps what, the same bits for zero 0, 1 and 2 and across a change of ranks, the balancing loss
 * of all ranks, what a step sends as it was planned, and a part that cannot be written. */
#include "test_cluster_threads.h"
#include "test_train_util.h"

#include <dirent.h>

static const char *run_dir(struct fixture *f, const char *name)
{
    return arena_printf(&f->arena, "%s/runs/%s", f->dir, name);
}

/* ------------------------------------------------------------------ parts */

static void build_shares(struct train_shares *s, const struct param_table *t, int optimizer,
                         int rank, int size, struct arena *a)
{
    struct train_config c = {.optimizer = optimizer};
    struct train_ranks r = {.size = size, .dp = size, .tp = 1, .pp = 1, .ep = 1, .data = rank};
    train_shares_build(t, &c, &r, a, s);
}

static void check_shares(const struct param_table *t, int optimizer, int size, struct arena *a)
{
    struct train_shares s = {0};
    size_t dealt = 0, at = 0, least = SIZE_MAX, most = 0;
    for (int r = 0; r < size; r++) {
        build_shares(&s, t, optimizer, r, size, a);
        dealt += s.own;
        least = MIN(least, s.own);
        most = MAX(most, s.own);
    }
    assert_int_equal(dealt, t->total);
    for (size_t i = 0; i < s.n; i++) {
        const struct train_bucket *b = &s.buckets[i];
        assert_int_equal(b->offset, at);
        assert_int_equal(b->bounds[0], 0);
        assert_int_equal(b->bounds[size], b->count);
        at += b->count;
    }
    assert_int_equal(at, t->total);
    /* AdamW: all alike but for cache lines. Muon: but for half the largest matrix at each end. */
    size_t matrix = optimizer == TRAIN_OPTIMIZER_MUON ? 2 * 512 * 64 : 0;
    if (most - least > matrix + 16 * s.n)
        fail_msg("parts of %zu to %zu numbers on %d ranks", least, most, size);
    for (size_t i = 0; i < t->n_rows && optimizer == TRAIN_OPTIMIZER_MUON; i++) {
        const struct param *p = &t->rows[i];
        if (!train_muon_takes(p)) continue;
        size_t n = p->n_dims == 3 ? (size_t)p->shape[0] : 1, one = p->count / n;
        for (size_t k = 0; k < n; k++) {
            size_t own = train_shares_clip(&s, p->offset + k * one, one).count;
            assert_true(own == 0 || own == one);
        }
    }
}

static void test_parts_are_equal_and_whole(void **state)
{
    (void)state;
    struct arena a = {0};
    struct param_table t;
    struct model_config m;
    model_config_defaults(&m);
    m.vocab_size = 301;
    m.n_layers = 3;
    m.d_model = 64;
    m.n_heads = 4;
    m.n_kv_heads = 2;
    m.ffn_hidden = 72;
    m.dense_ffn_hidden = 512;
    m.n_experts = 6;
    m.n_experts_used = 2;
    m.context_length = 16;
    model_config_derive(&m);
    model_params_build(&m, &a, &t);
    static const int sizes[] = {1, 2, 3, 4, 7, 64};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        check_shares(&t, TRAIN_OPTIMIZER_ADAMW, sizes[i], &a);
        check_shares(&t, TRAIN_OPTIMIZER_MUON, sizes[i], &a);
    }
    arena_fini(&a);
}

/* ------------------------------------------------------------------ runs */

struct job { /* one run on many ranks */
    const char *yaml;
    const char *set[16];             /* as struct train_util_run's */
    const struct train_hooks *hooks; /* of rank 0; its ctx is the job's */
    atomic_int failed;
    struct error e; /* rank 0's */
    cluster_t *first;
};

static void train_rank(cluster_t *c, void *ctx)
{
    struct job *j = ctx;
    struct train_run_file file;
    struct error e = {0};
    size_t n = 0;
    while (n < ARRAY_LEN(j->set) && j->set[n])
        n++;
    const struct train_run_text from = {"run.yaml", j->yaml, strlen(j->yaml), j->set, n};
    CHECK(train_config_load(&from, &file, &e) >= 0);
    FILE *nowhere = fopen("/dev/null", "w");
    struct train_options o = {.cluster = c, .out = nowhere, .allow_changes = true};
    if (cluster_rank(c) == 0) {
        j->first = c;
        o.hooks = j->hooks;
    }
    int rc = train_run(&file, &o, &e);
    if (rc < 0) atomic_fetch_add(&j->failed, 1);
    if (cluster_rank(c) == 0) j->e = e;
    fclose(nowhere);
    train_config_free(&file);
}

static void run_job(struct job *j, int ranks)
{
    struct office o = {.dead = -1};
    run_ranks(&o, ranks, 20, train_rank, j);
}

static void must_run(const char *yaml, int ranks, const char *const *set, size_t n)
{
    struct job j = {.yaml = yaml};
    memcpy(j.set, set, n * sizeof(*set));
    run_job(&j, ranks);
    if (atomic_load(&j.failed)) fail_msg("%s", j.e.text);
}

/* Every file of the newest checkpoints of two runs is the same. */
static void assert_same_checkpoints(struct fixture *f, const char *a, const char *b)
{
    int64_t *steps;
    size_t n, files = 0;
    assert_ok(f, ckpt_list(run_dir(f, a), &f->arena, &steps, &n, &f->e));
    assert_true(n > 0);
    const char *dir =
        arena_printf(&f->arena, "%s/checkpoints/step-%08lld", run_dir(f, a), (long long)steps[0]);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *x; (x = readdir(d));) {
        char *one, *two;
        size_t size_one, size_two;
        if (x->d_name[0] == '.') continue;
        train_util_read_newest(f, run_dir(f, a), x->d_name, &one, &size_one);
        train_util_read_newest(f, run_dir(f, b), x->d_name, &two, &size_two);
        if (size_one != size_two || memcmp(one, two, size_one) != 0)
            fail_msg("'%s' of '%s' and '%s' differ", x->d_name, a, b);
        mem_free(one);
        mem_free(two);
        files++;
    }
    closedir(d);
    assert_true(files > 5);
}

static void check_zero(struct fixture *f, const char *yaml, int ranks, const char *a, const char *b)
{
    const char *zero[] = {"cluster.zero=0", "cluster.zero=1", "cluster.zero=2"};
    const char *name[] = {"zero-0", "zero-1", "zero-2"};
    for (int z = 0; z < 3; z++) {
        const char *set[] = {zero[z], arena_printf(&f->arena, "name=%s", name[z]), a, b};
        must_run(yaml, ranks, set, ARRAY_LEN(set));
    }
    assert_same_checkpoints(f, name[0], name[1]);
    assert_same_checkpoints(f, name[0], name[2]);
    assert_ok(f, file_remove_tree(fixture_path(f, "runs"), &f->e));
}

static void test_zero_gives_the_same_bits(void **state)
{
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    check_zero(f, yaml, 2, "optimizer.kind=adamw", "train.precision=fp32");
    check_zero(f, yaml, 2, "optimizer.kind=muon", "train.precision=bf16");
    check_zero(f, yaml, 2, "batch.global_batch=8", "model.tied_embeddings=false");
    check_zero(f, yaml, 3, "batch.global_batch=6", "balance.kind=bias");
}

/* Stopped after 5 of 12 steps on 4 ranks, and gone on with by them: the bits of a run in one piece.
 * Gone on with by 2 ranks, or by one process: the same state at the stop, so nearly the same end. */
static void test_other_ranks_go_on(void **state)
{
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    static const char *const names[] = {"same", "two", "one"};
    static const int ranks[] = {4, 2, 1};
    const char *whole[] = {"name=whole", "cluster.zero=2", "batch.micro_batch=1"};
    must_run(yaml, 4, whole, ARRAY_LEN(whole));
    for (size_t i = 0; i < ARRAY_LEN(ranks); i++) {
        const char *name = arena_printf(&f->arena, "name=%s", names[i]);
        const char *part[] = {name, "cluster.zero=2", "batch.micro_batch=1", "train.max_steps=5"};
        const char *rest[] = {name, "cluster.zero=1", "batch.micro_batch=1"};
        must_run(yaml, 4, part, ARRAY_LEN(part));
        must_run(yaml, ranks[i], rest, ARRAY_LEN(rest));
    }
    assert_same_checkpoints(f, "whole", "same");
    json_t *want = train_util_lines(f, run_dir(f, "whole"), "metrics.jsonl");
    for (size_t i = 1; i < ARRAY_LEN(ranks); i++) {
        json_t *have = train_util_lines(f, run_dir(f, names[i]), "metrics.jsonl");
        assert_int_equal(json_array_size(have), 12);
        for (size_t k = 0; k < 12; k++) {
            double a = json_real_value(json_object_get(json_array_get(want, k), "loss"));
            double b = json_real_value(json_object_get(json_array_get(have, k), "loss"));
            if (!(fabs(a - b) < 2e-3 * a)) fail_msg("step %zu: %g, on other ranks %g", k, a, b);
        }
        json_decref(have);
    }
    json_decref(want);
}

/* The losses of two ranks are those of one process with microbatches of twice as many rows. */
static void test_balancing_is_over_all_ranks(void **state)
{
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    const char *coef = "model.router_aux_coef=1"; /* so that its gradient is seen */
    const char *two[] = {"name=two", "batch.micro_batch=1", "batch.global_batch=4", coef,
                         "balance.kind=aux"};
    const char *one[] = {"name=one", "batch.micro_batch=2", "batch.global_batch=4", coef,
                         "balance.kind=aux"};
    must_run(yaml, 2, two, ARRAY_LEN(two));
    must_run(yaml, 1, one, ARRAY_LEN(one));
    json_t *a = train_util_lines(f, run_dir(f, "two"), "metrics.jsonl");
    json_t *b = train_util_lines(f, run_dir(f, "one"), "metrics.jsonl");
    static const char *const keys[] = {"loss", "aux", "z", "grad_norm"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            double x = json_real_value(json_object_get(json_array_get(a, i), keys[k]));
            double y = json_real_value(json_object_get(json_array_get(b, i), keys[k]));
            if (!(fabs(x - y) < 1e-5 * y))
                fail_msg("step %zu: %s %.9g, on one rank %.9g", i + 1, keys[k], x, y);
        }
    }
    json_decref(a);
    json_decref(b);
}

/* ------------------------------------------------------------------ layouts */

struct layout_case {
    const char *name;
    int ranks, dp;
    const char *set[6];
};

static const struct layout_case layouts[] = {
    {"tp2", 2, 1, {"cluster.tp=2"}},
    {"pp2", 2, 1, {"cluster.pp=2"}},
    {"ep2", 2, 2, {"cluster.ep=2"}},
    {"ep4", 4, 4, {"cluster.ep=4"}},
    {"tp2-pp2", 4, 1, {"cluster.tp=2", "cluster.pp=2"}},
    {"dp4-ep2", 4, 4, {"cluster.ep=2", "cluster.zero=2"}},
    {"dp2-tp2-pp2", 8, 2, {"cluster.tp=2", "cluster.pp=2"}},
    {"dp2-tp2-pp2-ep2", 8, 2, {"cluster.tp=2", "cluster.pp=2", "cluster.ep=2", "cluster.zero=0"}},
};

static void run_layout(struct fixture *f, const char *yaml, const struct layout_case *l,
                       const char *name, const char *const more[6])
{
    const char *set[16] = {arena_printf(&f->arena, "name=%s", name)};
    size_t n = 1;
    for (size_t i = 0; i < ARRAY_LEN(l->set) && l->set[i]; i++)
        set[n++] = l->set[i];
    for (size_t i = 0; i < 6 && more[i]; i++)
        set[n++] = more[i];
    must_run(yaml, l->ranks, set, n);
}

/* The first steps tightly; later a near tie between two experts may have fallen the other way. */
static void compare_losses(struct fixture *f, const char *a, const char *b)
{
    json_t *want = train_util_lines(f, run_dir(f, a), "metrics.jsonl");
    json_t *have = train_util_lines(f, run_dir(f, b), "metrics.jsonl");
    static const char *const keys[] = {"loss", "grad_norm", "aux", "valid_nll"};
    assert_int_equal(json_array_size(want), json_array_size(have));
    for (size_t i = 0; i < json_array_size(want) * ARRAY_LEN(keys); i++) {
        const char *key = keys[i % ARRAY_LEN(keys)];
        const json_t *x = json_object_get(json_array_get(want, i / ARRAY_LEN(keys)), key);
        const json_t *y = json_object_get(json_array_get(have, i / ARRAY_LEN(keys)), key);
        assert_true(!x == !y);
        if (!x || !json_is_real(x)) continue;
        double p = json_real_value(x), q = json_real_value(y);
        double bound = i / ARRAY_LEN(keys) < 3 ? 1e-4 : 2e-2;
        if (!(fabs(p - q) <= bound * fabs(p)))
            fail_msg("'%s' and '%s', line %zu: %s %.9g and %.9g", a, b, i / ARRAY_LEN(keys), key, p,
                     q);
    }
    json_decref(want);
    json_decref(have);
}

/* Twelve steps in any layout are those of one process whose microbatches have the rows of all ranks of
 * dp, but for rounding; twice the same layout, also across a stop, is the same to the last bit. */
static void check_layouts(struct fixture *f, const char *yaml, const char *const more[6])
{
    for (int dp = 1; dp <= 4; dp *= 2) {
        const char *rows = arena_printf(&f->arena, "batch.micro_batch=%d", dp);
        const struct layout_case one = {"one", 1, dp, {rows}};
        run_layout(f, yaml, &one, arena_printf(&f->arena, "one-%d", dp), more);
    }
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        const struct layout_case *l = &layouts[i];
        const char *again = arena_printf(&f->arena, "%s-again", l->name);
        struct layout_case part = *l;
        size_t n = 0;
        while (part.set[n])
            n++;
        struct layout_case all = *l;
        all.set[n] = part.set[n] = "batch.micro_batch=1";
        part.set[n + 1] = "train.max_steps=5";
        run_layout(f, yaml, &all, l->name, more);
        compare_losses(f, arena_printf(&f->arena, "one-%d", l->dp), l->name);
        run_layout(f, yaml, &part, again, more);
        run_layout(f, yaml, &all, again, more);
        assert_same_checkpoints(f, l->name, again);
    }
    assert_ok(f, file_remove_tree(fixture_path(f, "runs"), &f->e));
}

static void test_layouts_are_one_process(void **state)
{
    static const char *const adamw[6] = {"batch.global_batch=8", "balance.kind=aux",
                                         "model.n_kv_heads=2", "train.recompute=selective"};
    static const char *const muon[6] = {"batch.global_batch=8",        "balance.kind=bias",
                                        "model.n_kv_heads=2",          "optimizer.kind=muon",
                                        "model.tied_embeddings=false", "data.document_mask=true"};
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    check_layouts(f, yaml, adamw);
    check_layouts(f, yaml, muon);
}

static struct safetensors_set open_weights(struct fixture *f, const char *name)
{
    int64_t *steps;
    size_t n;
    struct safetensors_set s;
    assert_ok(f, ckpt_list(run_dir(f, name), &f->arena, &steps, &n, &f->e));
    const char *path = arena_printf(&f->arena, "%s/checkpoints/step-%08lld/weights.safetensors",
                                    run_dir(f, name), (long long)steps[0]);
    assert_ok(f, safetensors_set_open(path, &s, &f->e));
    return s;
}

static void compare_weights(struct fixture *f, const struct safetensors_set *x, const char *name)
{
    struct safetensors_set y = open_weights(f, name);
    assert_int_equal(x->n_tensors, y.n_tensors);
    for (size_t i = 0; i < x->n_tensors; i++) {
        const struct safetensors_tensor *p = &x->tensors[i];
        const struct safetensors_tensor *q = safetensors_set_find(&y, p->whole.name);
        assert_non_null(q);
        assert_int_equal(p->whole.bytes, q->whole.bytes);
        if (strstr(p->whole.name, "exp_probs_b")) continue; /* they follow the load */
        size_t n = p->whole.bytes / sizeof(float);
        float *one = mem_alloc(p->whole.bytes), *two = mem_alloc(p->whole.bytes);
        safetensors_tensor_copy(p, 0, n, one);
        safetensors_tensor_copy(q, 0, n, two);
        if (memcmp(one, two, p->whole.bytes) != 0) fail_msg("%s differs", p->whole.name);
        mem_free(one);
        mem_free(two);
    }
    safetensors_set_close(&y);
}

/* A checkpoint of any layout goes on in any other: the next step, at a learning rate of 0, saves the
 * weights as they were. */
static void test_any_layout_reads_any_other(void **state)
{
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    static const char *const kept[6] = {"batch.global_batch=8", "batch.micro_batch=1",
                                        "model.n_kv_heads=2", "optimizer.kind=muon"};
    static const struct layout_case chain[] = {
        {"dp4", 4, 4, {"train.max_steps=3", "cluster.zero=2"}},
        {"tp2-pp2", 4, 1, {"train.max_steps=4", "cluster.tp=2", "cluster.pp=2"}},
        {"one", 1, 1, {"train.max_steps=5"}},
        {"ep4", 4, 4, {"train.max_steps=6", "cluster.ep=4"}},
        {"dp2-tp2-pp2-ep2",
         8,
         2,
         {"train.max_steps=7", "cluster.tp=2", "cluster.pp=2", "cluster.ep=2"}},
        {"dp3", 1, 1, {"train.max_steps=8"}},
    };
    static const char *const still[2] = {"optimizer.lr=0", "optimizer.muon_lr=0"};
    struct safetensors_set first = {0};
    for (size_t i = 0; i < ARRAY_LEN(chain); i++) {
        struct layout_case l = chain[i];
        size_t n = 0;
        while (l.set[n])
            n++;
        for (size_t k = 0; i > 0 && k < ARRAY_LEN(still); k++)
            if (n < ARRAY_LEN(l.set)) l.set[n++] = still[k];
        run_layout(f, yaml, &l, "chain", kept);
        if (i == 0)
            first = open_weights(f, "chain");
        else
            compare_weights(f, &first, "chain");
    }
    safetensors_set_close(&first);
}

/* ------------------------------------------------------------------ what a step sends */

struct meter {
    struct job *job;
    uint64_t at[16]; /* bytes sent when a step's gradients were there, and nothing on its way */
};

static void read_meter(void *ctx, int64_t step, float *gradients, size_t count)
{
    struct meter *m = ctx;
    (void)gradients;
    (void)count;
    m->at[step] = cluster_traffic(m->job->first).bytes;
}

static uint64_t planned_bytes(struct fixture *f, const char *yaml, const char *const set[4])
{
    char *path = fixture_path(f, "plan.json");
    struct train_util_run plan = {.yaml = yaml, .set = {set[0], set[1], set[2], set[3]}};
    json_t *o;
    const json_t *value;
    const char *key;
    uint64_t total = 0;
    plan.options = (struct train_options){.plan_only = true, .json = true};
    plan.options.out = fopen(path, "w");
    assert_ok(f, train_util_try(f, &plan));
    fclose(plan.options.out);
    assert_ok(f, json_load_path(path, 1 << 20, &o, &f->e));
    json_object_foreach(json_object_get(o, "sent_bytes"), key, value)
    {
        total += (uint64_t)json_integer_value(value);
    }
    json_decref(o);
    return total;
}

static void test_steps_send_what_was_planned(void **state)
{
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    static const struct {
        int ranks;
        const char *set[4];
    } cases[] = {{2, {"cluster.zero=0", "cluster.dp=2"}},
                 {2, {"cluster.zero=1", "cluster.dp=2"}},
                 {2, {"cluster.zero=2", "cluster.dp=2"}},
                 {2, {"cluster.zero=1", "cluster.dp=2", "train.precision=bf16"}},
                 {2, {"cluster.tp=2", "model.n_kv_heads=2", "optimizer.kind=muon"}},
                 {2, {"cluster.pp=2", "train.recompute=full"}},
                 {8, {"cluster.dp=2", "cluster.tp=2", "cluster.pp=2", "model.n_kv_heads=2"}}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const *set = cases[i].set;
        struct job j = {.yaml = yaml, .set = {arena_printf(&f->arena, "name=sent-%zu", i)}};
        for (size_t k = 0; k < 4 && set[k]; k++)
            j.set[1 + k] = set[k];
        struct meter m = {.job = &j};
        struct train_hooks hooks = {.ctx = &m, .after_gradients = read_meter};
        j.hooks = &hooks;
        run_job(&j, cases[i].ranks);
        if (atomic_load(&j.failed)) fail_msg("%s", j.e.text);
        /* Between the gradients of steps 2 and 3: no validation, no checkpoint. */
        uint64_t sent = m.at[3] - m.at[2], planned = planned_bytes(f, yaml, set);
        if (sent != planned)
            fail_msg("case %zu: %llu bytes, planned %llu", i, (unsigned long long)sent,
                     (unsigned long long)planned);
    }
}

/* ------------------------------------------------------------------ errors */

/* The folder of checkpoints cannot be written to while step 4 is saved: the run goes on, and saves
 * the next. */
static void close_folder(void *ctx, int64_t step)
{
    const char *dir = ctx;
    char name[600];
    snprintf(name, sizeof(name), "%s/step-00000004.tmp", dir);
    if (step == 4) CHECK(file_write(name, "in the way", 10, NULL) == 0);
}

static void test_a_failed_part_ends_no_run(void **state)
{
    struct fixture *f = *state;
    const char *yaml = train_util_yaml(f, train_util_dataset(f, "data", 1));
    const char *dir = arena_printf(&f->arena, "%s/checkpoints", run_dir(f, "small"));
    struct job j = {.yaml = yaml};
    struct train_hooks hooks = {.ctx = (void *)(uintptr_t)dir, .after_step = close_folder};
    j.hooks = &hooks;
    run_job(&j, 2);
    assert_int_equal(atomic_load(&j.failed), 0);
    int64_t *steps;
    size_t n;
    assert_ok(f, ckpt_list(run_dir(f, "small"), &f->arena, &steps, &n, &f->e));
    assert_true(n >= 1 && steps[0] == 12);
}

static void test_layouts_that_cannot_work(void **state)
{
    (void)state;
    struct error e = {0};
    assert_int_equal(train_layout_ranks("dp=4,zero=1", 0, &e), 4);
    assert_int_equal(train_layout_ranks("dp=4096", 0, &e), 4096);
    assert_true(train_layout_ranks("dp=5000", 0, &e) < 0);
    assert_non_null(strstr(e.text, "is of 5000 ranks, more than 4096"));
    assert_true(train_layout_ranks("dp=1048576,tp=1024,pp=1024", 0, &e) < 0);
    assert_true(train_layout_ranks("", 0, &e) < 0);
    assert_true(train_layout_ranks("dp=4,", 0, &e) < 0);
    assert_true(train_layout_ranks("tp=2,tp=2", 0, &e) < 0);
    assert_non_null(strstr(e.text, "'cluster.tp' twice"));
    assert_int_equal(train_layout_ranks("dp=4,tp=2,pp=2", 0, &e), 16);
    assert_int_equal(train_layout_ranks("ep=2", 0, &e), 2);
    assert_int_equal(train_layout_ranks("tp=2", 8, &e), 8);
    assert_true(train_layout_ranks("tp=2", 3, &e) < 0);
    assert_true(train_layout_ranks("dp=1,tp=2", 8, &e) < 0);
    assert_non_null(strstr(e.text, "is of 2 ranks, and 8 are wanted"));
    assert_true(train_layout_ranks("dp=4,xp=2", 0, &e) < 0);
    assert_non_null(strstr(e.text, "'xp=2' is no part of a layout"));
    assert_true(train_layout_ranks("dp", 0, &e) < 0);
    assert_true(train_layout_ranks("zero=3", 0, &e) < 0);
    assert_non_null(strstr(e.text, "cluster.zero"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_equal_and_whole),
        cmocka_unit_test_setup_teardown(test_zero_gives_the_same_bits, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_other_ranks_go_on, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_balancing_is_over_all_ranks, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_any_layout_reads_any_other, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_layouts_are_one_process, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_steps_send_what_was_planned, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_part_ends_no_run, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test(test_layouts_that_cannot_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
