/* test_plan_search.c: the search finds what trying everything finds, for any number of threads'
 * worth of luck: the same list, front and counts. The brute force here knows only plan_layout_check
 * and plan_step, and shares no line with the search. */
#include "test_cmocka.h"
#include "test_published_models.h"

#include "plan/search/plan_search_internal.h"

#include <math.h>
#include <string.h>

static struct machine_accelerator h100 = {
    .name = "h100",
    .title = "H100",
    .peak_flops = {[MACHINE_BF16] = {.mid = 989e12}, [MACHINE_FP8] = {.mid = 1979e12}},
    .ceiling_flops = {[MACHINE_BF16] = {.mid = 794e12}, [MACHINE_FP8] = {.mid = 1403e12}},
    .hbm_bytes = {.mid = 80e9},
    .hbm_bytes_per_s = {.mid = 3.35e12},
    .scaleup_bytes_per_s = {.mid = 450e9},
    .scaleup_domain = 8,
    .node_size = 8,
    .nic_bytes_per_s = {.mid = 50e9},
    .power_cap_w = {.mid = 700},
    .price_usd = {.mid = 30e3},
};
static struct machine_accelerator a100 = {
    .name = "a100",
    .title = "A100",
    .peak_flops = {[MACHINE_BF16] = {.mid = 312e12}},
    .ceiling_flops = {[MACHINE_BF16] = {.mid = 271e12}},
    .hbm_bytes = {.mid = 80e9},
    .hbm_bytes_per_s = {.mid = 2e12},
    .scaleup_bytes_per_s = {.mid = 300e9},
    .scaleup_domain = 8,
    .node_size = 8,
    .nic_bytes_per_s = {.mid = 25e9},
    .power_cap_w = {.mid = 400},
};

static const struct model_config llama_8b = {.name = "Llama 3 8B",
                                             .n_layers = 32,
                                             .d_model = 4096,
                                             .n_heads = 32,
                                             .n_kv_heads = 8,
                                             .head_dim = 128,
                                             .vocab_size = 128256,
                                             .ffn_hidden = 14336,
                                             .glu = true};
static const struct model_config small_moe = {.name = "small MoE",
                                              .n_layers = 10, /* divides no pipeline of 4 */
                                              .d_model = 4096,
                                              .n_heads = 32,
                                              .n_kv_heads = 4,
                                              .head_dim = 128,
                                              .vocab_size = 131072,
                                              .glu = true,
                                              .n_experts = 8,
                                              .n_experts_used = 2,
                                              .ffn_hidden = 14336};
static const struct model_config llama_405b = {LLAMA_3_405B};

static struct machine_cluster cluster_of(const struct machine_accelerator *a, int64_t count)
{
    return (struct machine_cluster){.pools = {{a, count}}, .n_pools = 1, .fabric_tiers = 2};
}

/* ------------------------------------------------------------------ brute force */

struct brute {
    struct plan_candidate *all; /* that fit */
    size_t count, cap, valid;
};

static void brute_add(struct brute *b, const struct plan_candidate *c)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->all = mem_realloc(b->all, b->cap * sizeof *b->all);
    }
    b->all[b->count++] = *c;
}

/* The most of `share` accelerators that hold whole groups only. */
static int64_t whole_groups(const struct plan_layout *l, int64_t domain, int64_t share)
{
    const int64_t groups[3][2] = {{l->tp, 1}, {l->cp, l->tp}, {l->ep, l->etp}};
    for (int64_t n = share; n > 0; n--) {
        bool whole = true;
        for (int i = 0; i < 3; i++) {
            int64_t together = groups[i][0];
            while (groups[i][0] % together || together * groups[i][1] > MAX(domain, groups[i][1]))
                together--;
            whole &= together == 1 || n % (together * groups[i][1]) == 0;
        }
        if (whole) return n;
    }
    return 0;
}

/* Replicas that there is room for, in whole domains or across them. */
static int64_t room(const struct plan_layout *l, const struct machine_cluster *c, bool across)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        int64_t domain = c->pools[i].accelerator->scaleup_domain, n = 0;
        for (int64_t left = c->pools[i].count; left > 0; left -= domain)
            n += whole_groups(l, domain, MIN(left, domain));
        sum += (across ? c->pools[i].count : n) / (l->tp * l->cp * l->pp);
    }
    return sum;
}

/* Nothing more of the batch's divisors has room, or at most a quarter is idle. */
static bool enough_replicas(const struct plan_layout *l, const struct plan_batch *b,
                            const struct machine_cluster *c, int64_t n)
{
    int64_t across = room(l, c, true), whole = room(l, c, false);
    bool most = true, most_whole = l->dp <= whole;
    if (l->dp > across) return false;
    for (int64_t dp = l->dp + 1; dp <= across; dp++) {
        if (b->global_batch % dp || l->tp * l->cp * dp % (l->ep * l->etp)) continue;
        most = false;
        if (dp <= whole) most_whole = false;
    }
    return most || most_whole || 4 * l->tp * l->cp * l->pp * l->dp >= 3 * n;
}

/* No fewer stages leave as many layers to the fullest. */
static bool fewest_stages(int64_t layers, int64_t pp)
{
    for (int64_t beside = 0; beside <= 2; beside++) {
        bool fewest = true;
        for (int64_t fewer = 1; fewer < pp; fewer++)
            fewest &= (layers + beside - 1) / fewer > (layers + beside - 1) / pp;
        if (fewest) return true;
    }
    return false;
}

/* The documented space, value by value, most of it refused. */
static bool in_space(const struct plan_layout *l, const struct model_config *m,
                     const struct machine_cluster *c, const struct plan_batch *b, int64_t n)
{
    if (b->global_batch % l->dp || b->global_batch / l->dp % l->micro_batch) return false;
    if (l->tp > c->pools[0].accelerator->scaleup_domain) return false;
    if (l->cp > 1 && b->seq_len / l->cp < 512) return false;
    if (l->etp > 1 && (m->n_experts <= 1 || l->tp % l->etp)) return false;
    if (plan_layout_check(l, m, b, n, NULL) < 0) return false;
    if (!enough_replicas(l, b, c, n) || !fewest_stages(m->n_layers, l->pp)) return false;
    int64_t chunks = (int64_t)l->pp * l->vp, L = m->n_layers;
    return l->vp == 1 || L % chunks == 0 || (L + 1) % chunks == 0 || (L + 2) % chunks == 0;
}

static void brute_leaf(const struct model_config *m, const struct machine_cluster *c,
                       const struct plan_batch *b, const struct plan_software *s,
                       struct plan_layout l, struct brute *out)
{
    for (l.zero = 0; l.zero < 4; l.zero++)
        for (l.recompute = 0; l.recompute < 3; l.recompute++) {
            bool dualpipe = s->stack == PLAN_STACK_DUALPIPE;
            bool megatron = s->stack == PLAN_STACK_MEGATRON || dualpipe;
            if (megatron && (l.zero == 2 || (l.zero == 3 && l.pp > 1))) continue;
            int64_t m2 = b->global_batch / l.dp / l.micro_batch;
            if (dualpipe && (l.vp > 1 || (l.pp > 1 && (l.pp % 2 || m2 % 2 || m2 < 2 * l.pp))))
                continue;
            struct plan_candidate x = {.layout = l};
            struct plan_search_rates rates;
            out->valid++;
            plan_step(m, c, &l, b, s, &x.step);
            plan_search_rates(c, &l, &rates);
            plan_search_price(&rates, &x);
            if (x.step.fits) brute_add(out, &x);
        }
}

static void brute_force(const struct model_config *m, const struct machine_cluster *c,
                        const struct plan_batch *b, const struct plan_software *s, int precision,
                        struct brute *out)
{
    int32_t n = (int32_t)machine_cluster_accelerators(c), L = (int32_t)m->n_layers + 2;
    int32_t E = (int32_t)MAX(m->n_experts, 1), B = (int32_t)b->global_batch;
    struct plan_layout l = {.precision = precision};
    memset(out, 0, sizeof *out);
    for (l.tp = 1; l.tp <= n; l.tp++)
        for (l.cp = 1; l.tp * l.cp <= n; l.cp++)
            for (l.pp = 1; l.tp * l.cp * l.pp <= n; l.pp++)
                for (l.dp = 1; l.tp * l.cp * l.pp * l.dp <= n; l.dp++) {
                    if (B % l.dp || m->n_heads % l.tp || b->seq_len % l.cp) continue;
                    for (l.ep = 1; l.ep <= E; l.ep++)
                        for (l.etp = 1; l.etp <= l.tp; l.etp++)
                            for (l.vp = 1; l.vp <= L; l.vp++)
                                for (l.micro_batch = 1; l.micro_batch <= B; l.micro_batch++)
                                    if (in_space(&l, m, c, b, n)) brute_leaf(m, c, b, s, l, out);
                }
}

static double cost_of(int objective, const struct plan_candidate *c)
{
    return objective == PLAN_BY_TIME   ? c->step.step_s
           : objective == PLAN_BY_COST ? c->step_usd
                                       : c->step_j;
}

static bool covered(const struct brute *b, const struct plan_candidate *x)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct plan_candidate *y = &b->all[i];
        bool no_worse = y->step.step_s <= x->step.step_s &&
                        y->step.memory.total <= x->step.memory.total && y->step_j <= x->step_j;
        bool better = y->step.step_s < x->step.step_s ||
                      y->step.memory.total < x->step.memory.total || y->step_j < x->step_j;
        if (no_worse && better) return true;
    }
    return false;
}

static bool in_front(const struct plan_search *s, const struct plan_candidate *x)
{
    for (size_t i = 0; i < s->n_front; i++)
        if (s->front[i].step.step_s == x->step.step_s &&
            s->front[i].step.memory.total == x->step.memory.total &&
            s->front[i].step_j == x->step_j)
            return true;
    return false;
}

static void same_as_brute(const struct model_config *m, const struct machine_cluster *c,
                          const struct plan_batch *b, int precision, int stack)
{
    enum { N = 12 };
    struct plan_software s = {.stack = stack, .generation = 2024.5};
    struct plan_layout fixed = {.zero = -1, .recompute = -1, .precision = precision};
    struct brute brute;
    brute_force(m, c, b, &s, precision, &brute);
    assert_true(brute.count > 100);
    for (int objective = 0; objective <= PLAN_BY_TOKENS_PER_MWH; objective++) {
        struct arena a;
        struct plan_search found;
        struct error e = {0};
        arena_init(&a);
        int rc = plan_search(&(struct plan_search_space){m, c, b, &s, &fixed, objective, N, false},
                             &a, &found, &e);
        assert_ok(rc, e);
        assert_int_equal(found.valid, brute.valid);
        assert_int_equal(found.fitting, brute.count);
        assert_int_equal(found.n_best, N);
        for (size_t k = 0; k < N; k++) { /* as many are better as stand before it */
            size_t better = 0, same = 0;
            for (size_t i = 0; i < brute.count; i++) {
                double x = cost_of(objective, &brute.all[i]);
                better += x < cost_of(objective, &found.best[k]);
                same += x == cost_of(objective, &found.best[k]);
            }
            assert_true(same > 0 && better <= k && k < better + same);
        }
        for (size_t i = 0; i < found.n_front; i++)
            assert_false(covered(&brute, &found.front[i]));
        for (size_t i = 0; i < brute.count; i++)
            if (!covered(&brute, &brute.all[i])) assert_true(in_front(&found, &brute.all[i]));
        arena_fini(&a);
    }
    mem_free(brute.all);
}

static void test_dense(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 64);
    same_as_brute(&llama_8b, &c, &(struct plan_batch){64, 4096}, MACHINE_BF16, PLAN_STACK_FSDP);
    same_as_brute(&llama_8b, &c, &(struct plan_batch){96, 4096}, MACHINE_FP8, PLAN_STACK_MEGATRON);
}

static void test_experts(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 32);
    same_as_brute(&small_moe, &c, &(struct plan_batch){32, 2048}, MACHINE_BF16,
                  PLAN_STACK_MEGATRON);
    same_as_brute(&small_moe, &c, &(struct plan_batch){64, 2048}, MACHINE_BF16,
                  PLAN_STACK_DUALPIPE);
}

/* Experts across domains, whose traffic hides under another microbatch where there is one: a bound of
 * one microbatch is none of two. */
static void test_experts_across_domains(void **state)
{
    (void)state;
    struct machine_accelerator narrow = h100;
    struct model_config m = small_moe;
    struct machine_cluster c = cluster_of(&narrow, 16);
    m.n_experts = 16;
    m.ffn_hidden = 2048;
    narrow.scaleup_domain = 4;
    narrow.node_size = 4;
    narrow.nic_bytes_per_s.mid = 1e9;
    same_as_brute(&m, &c, &(struct plan_batch){16, 4096}, MACHINE_BF16, PLAN_STACK_MEGATRON);
    same_as_brute(&m, &c, &(struct plan_batch){64, 4096}, MACHINE_BF16, PLAN_STACK_FSDP);
}

static void test_two_kinds(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 24);
    c.pools[1] = (struct machine_pool){&a100, 8};
    c.n_pools = 2;
    same_as_brute(&llama_8b, &c, &(struct plan_batch){64, 2048}, MACHINE_BF16, PLAN_STACK_OTHER);
}

/* Counts that nothing divides, and domains of 12 that hold groups of 8. */
static void test_idle_accelerators(void **state)
{
    (void)state;
    struct machine_accelerator rack = h100;
    struct machine_cluster c = cluster_of(&h100, 37);
    same_as_brute(&llama_8b, &c, &(struct plan_batch){48, 2048}, MACHINE_BF16, PLAN_STACK_OTHER);
    rack.scaleup_domain = 12;
    c = cluster_of(&rack, 40);
    same_as_brute(&small_moe, &c, &(struct plan_batch){32, 2048}, MACHINE_BF16,
                  PLAN_STACK_MEGATRON);
    c.pools[1] = (struct machine_pool){&a100, 13};
    c.n_pools = 2;
    same_as_brute(&small_moe, &c, &(struct plan_batch){24, 1024}, MACHINE_BF16, PLAN_STACK_OTHER);
}

static double best_s(const struct model_config *m, const struct machine_cluster *c, int64_t batch,
                     const struct plan_layout *fixed, struct plan_layout *layout)
{
    struct plan_batch b = {batch, 8192};
    struct plan_software s = {0};
    struct plan_search found;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    assert_ok(plan_search(&(struct plan_search_space){m, c, &b, &s, fixed, PLAN_BY_TIME, 1, false},
                          &a, &found, &e),
              e);
    double step_s = found.best[0].step.step_s;
    assert_true(found.best[0].step.used <= machine_cluster_accelerators(c));
    if (layout) *layout = found.best[0].layout;
    arena_fini(&a);
    return step_s;
}

/* A few accelerators more are never a slower plan, whatever divides them. */
static void test_more_is_no_slower(void **state)
{
    (void)state;
    const struct plan_layout fixed = {.zero = -1, .recompute = -1, .precision = MACHINE_BF16};
    static const int64_t counts[] = {16384, 16385, 16400, 16411, 17000, 18432};
    double before = INFINITY;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct machine_cluster c = cluster_of(&h100, counts[i]);
        double step_s = best_s(&llama_405b, &c, 2048, &fixed, NULL);
        assert_true(step_s <= before);
        before = step_s;
    }
}

/* Racks of 72 and groups of 64: slower than if all 72 served them, no slower than 64 of each. */
static void test_racks_of_72(void **state)
{
    (void)state;
    struct machine_accelerator rack = h100;
    struct model_config m = small_moe;
    struct plan_layout fixed = {.tp = 1,
                                .ep = 64,
                                .micro_batch = 1,
                                .zero = -1,
                                .recompute = -1,
                                .precision = MACHINE_BF16};
    m.n_experts = 64;
    rack.scaleup_domain = 72;
    rack.hbm_bytes.mid = 189e9;
    struct machine_cluster c = cluster_of(&rack, 72 * 64), packed = cluster_of(&rack, 64 * 64);
    double real = best_s(&m, &c, 72 * 64, &fixed, NULL);
    c.domains_as_needed = packed.domains_as_needed = true;
    assert_true(real > 1.02 * best_s(&m, &c, 72 * 64, &fixed, NULL));
    assert_true(real <= best_s(&m, &packed, 72 * 64, &fixed, NULL));
}

/* What is given is searched by the rule by which it is checked: it never beats the search. */
static void test_given_is_searched(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 64);
    const struct plan_layout free = {.zero = -1, .recompute = -1, .precision = MACHINE_BF16};
    struct plan_layout given = {
        .tp = 4, .pp = 2, .cp = 1, .ep = 1, .etp = 1, .dp = 8, .vp = 4, .micro_batch = 1};
    struct plan_layout found;
    given.precision = MACHINE_BF16;
    struct plan_batch b = {24, 8192}; /* 3 microbatches, which 2 stages do not divide */
    assert_int_equal(plan_layout_check(&given, &llama_8b, &b, 64, NULL), 0);
    for (given.zero = 0; given.zero <= 2; given.zero++) { /* 0 is a choice, too */
        struct plan_layout fixed = given;
        fixed.recompute = -1;
        double step_s = best_s(&llama_8b, &c, 24, &fixed, &found);
        assert_int_equal(found.vp, 4);
        assert_int_equal(found.zero, given.zero);
        assert_true(best_s(&llama_8b, &c, 24, &free, NULL) <= step_s);
    }
}

/* FP4 where it is asked for. */
static void test_fp4_is_asked_for(void **state)
{
    (void)state;
    struct machine_accelerator b200 = h100;
    struct machine_cluster c = cluster_of(&b200, 64);
    struct plan_layout free = {.zero = -1, .recompute = -1, .precision = -1}, found;
    b200.peak_flops[MACHINE_FP4].mid = 9e15;
    double fp8_s = best_s(&llama_8b, &c, 64, &free, &found);
    assert_int_equal(found.precision, MACHINE_FP8);
    free.precision = MACHINE_FP4;
    assert_true(best_s(&llama_8b, &c, 64, &free, &found) < fp8_s);
    assert_int_equal(found.precision, MACHINE_FP4);
}

/* ------------------------------------------------------------------ the bound */

static void bound_holds(const struct model_config *m, const struct machine_cluster *c,
                        int64_t batch, int64_t seq, double generation, int stack, size_t *checked)
{
    struct plan_batch b = {batch, seq};
    struct plan_software s = {.stack = stack, .generation = generation};
    for (uint64_t i = 0; i < 20000; i++) {
        static const int cps[] = {1, 2, 4};
        struct plan_layout l = {
            .tp = 1 << rng_u64(1, 0, i) % 4,
            .cp = cps[rng_u64(1, 1, i) % 3],
            .pp = 1 + (int)(rng_u64(1, 2, i) % 16),
            .ep = 1 << rng_u64(1, 3, i) % 4,
            .etp = 1 << rng_u64(1, 4, i) % 2,
            .vp = 1 + (int)(rng_u64(1, 5, i) % 4),
            .micro_batch = 1 << rng_u64(1, 6, i) % 3,
            .zero = (int)(rng_u64(1, 7, i) % 4),
            .recompute = (int)(rng_u64(1, 8, i) % 3),
            .precision = rng_u64(1, 9, i) % 2 ? MACHINE_FP8 : MACHINE_BF16,
        };
        l.dp = (int)(machine_cluster_accelerators(c) / ((int64_t)l.tp * l.cp * l.pp));
        l.dp -= (int)(rng_u64(1, 10, i) % 3);
        if (l.dp < 1 || plan_layout_check(&l, m, &b, machine_cluster_accelerators(c), NULL) < 0)
            continue;
        if (c->n_pools > 1 && l.tp * l.cp * l.pp > 32) continue; /* a replica in each pool */
        struct plan_search_bound bound;
        struct plan_step step;
        double busy;
        plan_search_bound_init(&(struct plan_job){m, c, &l, &b, &s}, &bound);
        plan_step(m, c, &l, &b, &s, &step);
        double least = plan_search_bound_step(&bound, &l, &b, &busy);
        if (least > step.step_s || busy > step.compute_share * step.step_s)
            fail_msg("layout %llu: bound %.9g above step %.9g, or %.9g above %.9g",
                     (unsigned long long)i, least, step.step_s, busy,
                     step.compute_share * step.step_s);
        assert_true(least > 0);
        ++*checked;
    }
}

static void test_bound(void **state)
{
    (void)state;
    size_t checked = 0;
    struct machine_cluster one = cluster_of(&h100, 128), two = cluster_of(&h100, 96);
    two.pools[1] = (struct machine_pool){&a100, 32};
    two.n_pools = 2;
    for (int stack = 0; stack < PLAN_N_STACKS; stack++)
        for (double year = 2021; year < 2027; year += 2.5) {
            bound_holds(&llama_8b, &one, 256, 4096, year, stack, &checked);
            bound_holds(&small_moe, &one, 256, 4096, year, stack, &checked);
            bound_holds(&small_moe, &two, 512, 4096, year, stack, &checked);
            bound_holds(&llama_405b, &one, 128, 8192, year, stack, &checked);
        }
    assert_true(checked > 5000);
}

/* ------------------------------------------------------------------ what it says */

static void test_fixed_fields_stay(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 64);
    struct plan_batch b = {64, 4096};
    struct plan_software s = {0};
    struct plan_layout fixed = {
        .tp = 2, .pp = 4, .vp = 2, .zero = 1, .recompute = PLAN_RECOMPUTE_FULL, .precision = 1};
    struct plan_search found;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    int rc = plan_search(
        &(struct plan_search_space){&llama_8b, &c, &b, &s, &fixed, PLAN_BY_TIME, 100, false}, &a,
        &found, &e);
    assert_ok(rc, e);
    assert_true(found.n_best > 3);
    for (size_t i = 0; i < found.n_best; i++) {
        const struct plan_layout *l = &found.best[i].layout;
        assert_int_equal(l->tp, 2);
        assert_int_equal(l->pp, 4);
        assert_int_equal(l->vp, 2);
        assert_int_equal(l->zero, 1);
        assert_int_equal(l->recompute, PLAN_RECOMPUTE_FULL);
        assert_int_equal(l->precision, MACHINE_BF16);
    }
    assert_contains(found.runner_up, "tp 2");
    assert_contains(found.runner_up, "%");
    arena_fini(&a);
}

static void test_nothing_fits(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 8);
    struct plan_batch b = {64, 8192};
    struct plan_software s = {0};
    struct plan_search found;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    int rc = plan_search(
        &(struct plan_search_space){&llama_405b, &c, &b, &s, NULL, PLAN_BY_TIME, 1, false}, &a,
        &found, &e);
    assert_int_equal(rc, ERROR_FAILED);
    assert_contains(e.text, "no layout fits in memory: the smallest needs");
    assert_contains(e.text, "tp 8");
    rc = plan_search(
        &(struct plan_search_space){&llama_8b, &c, &b, &s,
                                    &(struct plan_layout){.tp = 3, .zero = -1, .recompute = -1},
                                    PLAN_BY_TIME, 1, false},
        &a, &found, &e);
    assert_int_equal(rc, ERROR_FAILED);
    assert_contains(e.text, "no layout of 8 accelerators has tp 3: tp 3 does not divide heads 32");
    c.pools[0].count = 7; /* a prime: one stays idle */
    rc = plan_search(
        &(struct plan_search_space){&llama_8b, &c, &b, &s,
                                    &(struct plan_layout){.tp = 2, .zero = -1, .recompute = -1},
                                    PLAN_BY_TIME, 1, false},
        &a, &found, &e);
    assert_ok(rc, e);
    assert_int_equal(found.best[0].step.used, 6);
    arena_fini(&a);
}

/* Twice the same, bit for bit: threads race only for what need not be priced. */
static void test_repeats(void **state)
{
    (void)state;
    struct machine_cluster c = cluster_of(&h100, 512);
    struct plan_batch b = {512, 8192};
    struct plan_software s = {0};
    struct plan_search first = {0}, again;
    struct arena a;
    struct error e = {0};
    arena_init(&a);
    for (int i = 0; i < 5; i++) {
        int rc = plan_search(
            &(struct plan_search_space){&small_moe, &c, &b, &s, NULL, PLAN_BY_TIME, 50, false}, &a,
            &again, &e);
        assert_ok(rc, e);
        if (i == 0) first = again;
        assert_int_equal(again.n_best, first.n_best);
        assert_int_equal(again.n_front, first.n_front);
        assert_int_equal(again.tried, first.tried);
        for (size_t k = 0; k < first.n_best; k++)
            assert_memory_equal(&again.best[k], &first.best[k], sizeof first.best[k].layout);
        for (size_t k = 0; k < first.n_front; k++)
            assert_memory_equal(&again.front[k], &first.front[k], sizeof first.front[k].layout);
        assert_string_equal(again.runner_up, first.runner_up);
    }
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_experts_across_domains),
        cmocka_unit_test(test_two_kinds),
        cmocka_unit_test(test_idle_accelerators),
        cmocka_unit_test(test_more_is_no_slower),
        cmocka_unit_test(test_racks_of_72),
        cmocka_unit_test(test_given_is_searched),
        cmocka_unit_test(test_fp4_is_asked_for),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_fixed_fields_stay),
        cmocka_unit_test(test_nothing_fits),
        cmocka_unit_test(test_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
