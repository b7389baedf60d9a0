/* plan_local.c: this machine: what `colossus bench-machine` measured, as files, and the step of
 * `colossus train` that follows from it.
 *
 * Two files: an accelerator for plans (local.yaml: the peak of matrix products, memory and its
 * bandwidth), and the time of each operation beside it (local.json). A step of the trainer is the
 * sum of its operations in the order of src/model/: the sum is kept here operation by operation,
 * because on one processor with small models no efficiency curve of large accelerators holds. The
 * time of a linear layer of a width that was not measured is taken from its neighbours: the rate in
 * FLOP/s, logarithms weighted by the inverse square of the distance in log(rows), log(in), log(out)
 * and the powers of two in both widths (Shepard, ACM 1968). Nothing is fitted: a run is predicted from the machine alone. */
#include "plan/step/plan_local_internal.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char *const dtype_names[] = {"fp32", "bf16"};
enum { MAX_MEASURED_FILE = 1 << 20 };

/* ------------------------------------------------------------------ files */

const char *plan_local_path(struct arena *a)
{
    return file_join(a, file_config_dir(a), "local.yaml");
}

/* The JSON beside the YAML. */
static const char *measured_path(const char *path, struct arena *a)
{
    size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".yaml") == 0) n -= 5;
    return arena_printf(a, "%.*s.json", (int)n, path);
}

static json_t *machine_to_json(const struct compute_machine *m)
{
    json_t *products = json_array(), *ops = json_object();
    for (size_t i = 0; i < m->n_products; i++) {
        const struct compute_machine_product *p = &m->products[i];
        json_array_append_new(products, json_pack("[I, I, I, i, f, f, f]", (json_int_t)p->rows,
                                                  (json_int_t)p->in, (json_int_t)p->out, p->groups,
                                                  p->s[0], p->s[1], p->s[2]));
    }
    for (int i = 0; i < COMPUTE_N_OPS; i++)
        json_object_set_new(ops, compute_machine_op_names[i], json_real(m->op_s[i]));
    return json_pack("{s:s, s:i, s:f, s:f, s:f, s:o, s:o}", "dtype", dtype_names[m->dtype],
                     "threads", m->threads, "peak_flops", m->peak_flops, "copy_bytes_per_s",
                     m->copy_bytes_per_s, "spread", m->spread, "products", products, "ops", ops);
}

/* `times`: the file of the operations, which lies beside this one. */
static void add_accelerator(const struct compute_machine *m, size_t n, const char *times,
                            struct str *y)
{
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    double watts = 12.0 * m[0].threads;
    const char *slash = strrchr(times, '/');
    str_puts(y, "# This machine, as `colossus bench-machine` measured it.\n"
                "name: local\n");
    str_printf(y, "title: This machine, %d threads\n", m[0].threads);
    for (int k = 0; k < 2; k++) {
        str_puts(y, k ? "ceiling_flops:\n" : "peak_flops:\n");
        for (size_t i = 0; i < n; i++)
            str_printf(
                y, "  %s: {mid: %.4g TFLOP/s, grade: P, source: \"largest product measured\"}\n",
                dtype_names[m[i].dtype], m[i].peak_flops / 1e12);
    }
    str_printf(y, "hbm_bytes: {mid: %.4g GB, grade: P, source: \"physical memory\"}\n",
               memory / 1e9);
    str_printf(y, "hbm_bytes_per_s: {mid: %.4g GB/s, grade: P, source: \"copy, all threads\"}\n",
               m[0].copy_bytes_per_s / 1e9);
    str_printf(y,
               "power_cap_w: {mid: %.0f W, low: %.0f W, high: %.0f W, grade: A,\n"
               "  source: \"12 W a thread, 4 to 25; not readable here\"}\n",
               watts, watts / 3, 2 * watts);
    str_printf(y, "node_other_w: {mid: %.0f W, grade: A, source: \"memory, disk, supply\"}\n",
               fmax(10, watts / 2));
    str_puts(y, "price_usd: {mid: 1200 USD, low: 400 USD, high: 5000 USD, grade: A,\n"
                "  source: \"a whole machine\"}\n"
                "failures: {mid: 1, low: 0.2, high: 10, grade: A, source: \"one machine\"}\n"
                "scaleup_domain: 1\nnode_size: 1\n");
    str_printf(y, "operations: %s\n", slash ? slash + 1 : times);
}

int plan_local_write(const struct compute_machine *machines, size_t n, const char *path,
                     struct error *e)
{
    struct arena a = {0};
    struct str yaml = {0};
    json_t *list = json_array();
    const char *slash = strrchr(path, '/');
    int rc = 0;
    if (slash && slash > path)
        rc = file_make_dirs(arena_strndup(&a, path, (size_t)(slash - path)), e);
    add_accelerator(machines, n, measured_path(path, &a), &yaml);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, machine_to_json(&machines[i]));
    json_t *root = json_pack("{s:o}", "machine", list);
    if (rc == 0) rc = file_write(path, yaml.data, yaml.len, e);
    if (rc == 0) rc = json_save_path(root, measured_path(path, &a), e);
    json_decref(root);
    str_fini(&yaml);
    arena_fini(&a);
    return rc;
}

/* One number format of the file; a file of another version lacks operations and is refused, because
 * a step without them would look fast. */
static int read_machine(const json_t *j, const char *name, struct compute_machine *m,
                        struct error *e)
{
    const char *dtype;
    int64_t threads;
    memset(m, 0, sizeof *m);
    TRY(json_get_string(j, "dtype", &dtype, name, e));
    TRY(json_get_int(j, "threads", &threads, name, e));
    m->dtype = strcmp(dtype, "bf16") == 0 ? COMPUTE_BF16 : COMPUTE_F32;
    m->threads = (int)threads;
    m->spread = json_number_value(json_object_get(j, "spread")); /* 0: of an older file */
    const json_t *products = json_object_get(j, "products"), *ops = json_object_get(j, "ops");
    size_t n = json_array_size(products);
    bool good = n > 0 && n <= COMPUTE_MACHINE_PRODUCTS;
    for (size_t i = 0; i < n && good; i++) {
        json_int_t rows, in, out;
        struct compute_machine_product *p = &m->products[i];
        json_t *row = json_array_get(products, i);
        good = json_unpack(row, "[I, I, I, i, F, F, F]", &rows, &in, &out, &p->groups, &p->s[0],
                           &p->s[1], &p->s[2]) == 0 &&
               rows > 0 && in > 0 && out > 0 && p->groups > 0 && p->s[0] > 0 && p->s[1] > 0 &&
               p->s[2] > 0;
        p->rows = rows;
        p->in = in;
        p->out = out;
    }
    m->n_products = n;
    for (int i = 0; i < COMPUTE_N_OPS && good; i++) {
        m->op_s[i] = json_number_value(json_object_get(ops, compute_machine_op_names[i]));
        good = m->op_s[i] > 0;
    }
    if (good) return 0;
    error_set_code(e, ERROR_CONFIG, "%s is not what bench-machine writes", name);
    return error_hint(e, "colossus bench-machine");
}

int plan_local_read(const char *name, struct plan_local *out, struct error *e)
{
    json_t *root = NULL;
    int rc = json_load_path(name, MAX_MEASURED_FILE, &root, e);
    if (rc < 0) error_hint(e, "measure this machine first: colossus bench-machine");
    json_t *list = rc < 0 ? NULL : json_object_get(root, "machine");
    *out = (struct plan_local){0};
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        struct compute_machine m;
        rc = read_machine(json_array_get(list, i), name, &m, e);
        if (rc == 0) out->machine[m.dtype] = m;
    }
    json_decref(root);
    return rc;
}

const char *plan_local_times(const char *path, struct arena *a)
{
    return measured_path(path, a);
}

int plan_local_check(const struct plan_local *l, bool bf16, struct error *e)
{
    if (l->machine[bf16].threads > 0) return 0;
    if (!e) return ERROR_CONFIG;
    error_set_code(e, ERROR_CONFIG, "%s has no measurement in %s", l->from, dtype_names[bf16]);
    return error_hint(e, "colossus bench-machine --precision both");
}

/* ------------------------------------------------------------------ a step, operation by operation
 */

/* How often rows of that width fall on the same places of a cache: log2 of the largest power of two in
 * it, up to a page of activations. A product of 512 or 2,048 can take twice as long as one of 640. */
static double alias_of(double width)
{
    int64_t n = (int64_t)width;
    int power = 0;
    while (power < 11 && n > 0 && n % ((int64_t)2 << power) == 0)
        power++;
    return power;
}

/* FLOP/s of a linear layer: kind 0 forward, 1 for the input, 2 for the weight. */
static double product_rate(const struct compute_machine *m, double rows, double in, double out,
                           double groups, int kind)
{
    double sum = 0, weights = 0;
    for (size_t i = 0; i < m->n_products; i++) {
        const struct compute_machine_product *p = &m->products[i];
        double flops = 2.0 * (double)p->rows * (double)p->in * (double)p->out;
        double x = log2(rows / groups) - log2((double)p->rows / p->groups);
        double y = log2(in) - log2((double)p->in), z = log2(out) - log2((double)p->out);
        double apart = (groups > 1) != (p->groups > 1) ? 4 : 0;
        double u = alias_of(in) - alias_of((double)p->in);
        double v = alias_of(out) - alias_of((double)p->out);
        double weight = 1 / (0.25 * x * x + y * y + z * z + u * u + v * v + apart + 0.01);
        weight *= weight;
        sum += weight * log(flops / p->s[kind]);
        weights += weight;
    }
    return exp(sum / weights);
}

/* Of the vector operations, the loss with them, two fifths run forward: three arrays of five. */
#define FORWARD_SHARE 0.4

struct local_sum {
    const struct compute_machine *m;
    struct plan_local_step *out;
};

/* A linear layer there and back. */
static void add_linear(const struct local_sum *s, double rows, double in, double out, double groups,
                       double times)
{
    double t[3];
    for (int kind = 0; kind < 3; kind++) {
        t[kind] = times * 2 * rows * in * out / product_rate(s->m, rows, in, out, groups, kind);
        s->out->products_s += t[kind];
    }
    s->out->forward_s += t[0];
    s->out->weight_s += t[2];
}

/* Seconds per query, key and head dimension at any length: a power law through the two lengths that
 * were measured, held constant below 64 and above 2,048, where it would only be a guess. */
static double attention_s(const struct compute_machine *m, double length, int at_256, int at_1024)
{
    double x = fmin(fmax(log2(length / 256) / 2, -1), 1.5); /* 0 at 256, 1 at 1024 */
    return exp((1 - x) * log(m->op_s[at_256]) + x * log(m->op_s[at_1024]));
}

static void add_attention(const struct local_sum *s, const struct model_config *c, double M,
                          double T, double layers)
{
    const struct compute_machine *m = s->m;
    double h = (double)c->head_dim, H = (double)c->n_heads, K = (double)c->n_kv_heads;
    double D = (double)c->d_model;
    add_linear(s, M, D, (H + 2 * K) * h, 1, layers);
    add_linear(s, M, H * h, D, 1, layers);
    double there = attention_s(m, T, COMPUTE_OP_ATTENTION_F_256, COMPUTE_OP_ATTENTION_F_1024);
    double back = attention_s(m, T, COMPUTE_OP_ATTENTION_B_256, COMPUTE_OP_ATTENTION_B_1024);
    s->out->attention_s += layers * (there + back) * M * T * H * h;
    s->out->forward_s += layers * there * M * T * H * h;
    s->out->vector_s += layers * 2 * m->op_s[COMPUTE_OP_ROPE] * M * (H + K) * h;
}

/* Dense width beside experts is a branch of its own (Grok-2's). Every matrix there and back. */
static void add_ffn(const struct local_sum *s, const struct model_config *c, double M,
                    double layers, double experts)
{
    const double *op = s->m->op_s;
    double D = (double)c->d_model, E = (double)c->n_experts, k = (double)c->n_experts_used;
    double glu = op[COMPUTE_OP_GLU_F] + op[COMPUTE_OP_GLU_B];
    double dense = E > 1 ? (double)c->dense_ffn_hidden : (double)c->ffn_hidden;
    if (dense > 0) {
        add_linear(s, M, D, 2 * dense, 1, layers);
        add_linear(s, M, dense, D, 1, layers);
        s->out->vector_s += layers * glu * M * dense;
    }
    if (E <= 1) return;
    double F = (double)c->ffn_hidden, rows = M * k;
    add_linear(s, rows, D, 2 * F, E, layers);
    add_linear(s, rows, F, D, E, layers);
    s->out->vector_s +=
        layers * (glu * rows * F + op[COMPUTE_OP_ROUTER] * M * D * experts +
                  2 * op[COMPUTE_OP_GATHER] * rows * D + 2 * op[COMPUTE_OP_COMBINE] * rows * D);
}

/* One of Muon's matrices. */
static double newton_s(const struct compute_machine *m, double out, double in, double iterations)
{
    return iterations * m->op_s[COMPUTE_OP_NEWTON] * compute_newton_flops(out, in);
}

/* Muon adds its iterations for every matrix; the rest of its update costs what AdamW's does. Copies for
 * products are made of all that is held, whoever has updated it. */
static void add_optimizer(const struct local_sum *s, const struct plan_local_run *run,
                          const struct plan_local_part *part)
{
    const struct model_config *c = &part->model;
    const double *op = s->m->op_s;
    double D = (double)c->d_model, h = (double)c->head_dim, H = (double)c->n_heads * h;
    double K = (double)c->n_kv_heads * h, F = (double)c->ffn_hidden, E = fmax(c->n_experts, 1);
    double L = (double)c->n_layers, G = (double)c->dense_ffn_hidden, V = (double)c->vocab_size;
    double tables = V * D * (c->tied_embeddings ? 1 : 2);
    double experts = L * 3 * E * F * D, rest = L * (2 * D * (H + K) + 3 * G * D) + tables;
    double updated = part->update * rest + part->update_experts * experts;
    s->out->optimizer_s = (experts + rest) * op[COMPUTE_OP_REFRESH];
    s->out->optimizer_s += updated * (op[COMPUTE_OP_SQUARES] + op[COMPUTE_OP_ADAMW]);
    if (run->muon_steps == 0) return;
    double n = (double)run->muon_steps;
    s->out->optimizer_s +=
        L * (part->update *
                 (newton_s(s->m, H, D, n) + 2 * newton_s(s->m, K, D, n) + newton_s(s->m, D, H, n)) +
             part->update_experts * 3 * E * newton_s(s->m, F, D, n));
    if (G > 0) s->out->optimizer_s += part->update * 3 * L * newton_s(s->m, G, D, n);
}

/* What the backward pass computes again of M rows: whole layers, or the way into the feed-forwards
 * (model_block_again). Of the layers alone stands in the sums so far. */
static void add_again(const struct local_sum *s, const struct plan_local_run *run,
                      const struct model_config *c, double M)
{
    struct plan_local_step *out = s->out;
    double T = (double)run->seq_len, D = (double)c->d_model, L = (double)c->n_layers;
    if (run->recompute == MODEL_RECOMPUTE_FULL) {
        double there =
            attention_s(s->m, T, COMPUTE_OP_ATTENTION_F_256, COMPUTE_OP_ATTENTION_F_1024);
        double attention = L * there * M * T * (double)(c->n_heads * c->head_dim);
        out->products_s += out->forward_s - attention;
        out->attention_s += attention;
        out->again_s = FORWARD_SHARE * out->vector_s;
    }
    if (run->recompute != MODEL_RECOMPUTE_SELECTIVE) return;
    double dense = (double)model_dense_ffn(c), F = (double)c->ffn_hidden;
    double rows = M * (double)c->n_experts_used, E = (double)c->n_experts;
    if (dense > 0)
        out->products_s += L * 2 * M * D * 2 * dense / product_rate(s->m, M, D, 2 * dense, 1, 0);
    if (!model_is_moe(c)) return;
    out->products_s += L * 2 * rows * D * 2 * F / product_rate(s->m, rows, D, 2 * F, E, 0);
    out->again_s = L * s->m->op_s[COMPUTE_OP_GATHER] * rows * D;
}

void plan_local_one(const struct compute_machine *m, const struct plan_local_run *run,
                    const struct plan_local_part *part, struct plan_local_step *out)
{
    const struct model_config *c = &part->model;
    const struct local_sum s = {m, out};
    double M = (double)(run->micro_batch * run->seq_len), T = (double)run->seq_len;
    double D = (double)c->d_model, V = (double)c->vocab_size, L = (double)c->n_layers;
    double seam = m->op_s[COMPUTE_OP_SEAM_F] + m->op_s[COMPUTE_OP_SEAM_B];
    memset(out, 0, sizeof *out);
    add_attention(&s, c, M, T, L);
    add_ffn(&s, c, M, L, part->experts);
    out->vector_s += (2 * L + 1) * seam * M * part->rows * D;
    add_again(&s, run, c, M);
    if (part->head) {
        add_linear(&s, fmin(M, 1024), D, V, 1, M / fmin(M, 1024)); /* the loss goes by chunks */
        out->loss_s = m->op_s[COMPUTE_OP_LOSS] * M * V;
    }
    out->forward_s += FORWARD_SHARE * (out->vector_s + out->loss_s);
    out->vector_s += out->again_s;
    add_optimizer(&s, run, part);
}

void plan_local_step(const struct compute_machine *m, const struct plan_local_run *run,
                     struct plan_local_step *out)
{
    const struct plan_local_part whole = {run->model, (double)run->model.n_experts, true, 1, 1, 1};
    if (MAX(run->dp, 1) * MAX(run->tp, 1) * MAX(run->pp, 1) > 1) {
        plan_local_ranks(m, run, out);
        return;
    }
    plan_local_one(m, run, &whole, out);
    double n = ceil((double)run->global_batch / (double)run->micro_batch);
    out->products_s *= n;
    out->attention_s *= n;
    out->vector_s *= n;
    out->loss_s *= n;
    out->step_s =
        out->products_s + out->attention_s + out->vector_s + out->loss_s + out->optimizer_s;
}
