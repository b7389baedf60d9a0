/* fuzz_run_file.c: any bytes as RUN.yaml. What is accepted must be consistent, and its effective
 * form must be accepted again with every value as it was. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_consistent(const struct train_config *c)
{
    CHECK(c->global_batch % c->micro_batch == 0 && c->seq_len <= c->model.context_length);
    CHECK(train_config_steps(c, c->tokens) >= 1);
    CHECK(c->model.n_heads % c->model.n_kv_heads == 0);
    CHECK(isfinite(c->model.embedding_multiplier) && isfinite(c->model.output_multiplier));
    for (int64_t i = 0; i <= 8; i++) {
        double x = train_schedule_fraction(c, c->tokens / 8 * i + 1);
        CHECK(x >= 0 && x <= 1);
    }
}

static void print_and_read_back(const struct train_run_file *f)
{
    struct str text = {0}, differences = {0};
    struct error e = {0};
    struct train_run_file again;
    size_t n_fixed;
    train_config_print(f, &text);
    const struct train_run_text printed = {"printed", text.data, text.len, NULL, 0};
    int rc = train_config_load(&printed, &again, &e);
    CHECK_MSG(rc >= 0, "%s in\n%s", e.text, text.data);
    size_t n = train_config_differences(&f->config, &again.config, &differences, &n_fixed);
    CHECK_MSG(n == 0, "%s in\n%s", differences.data, text.data);
    CHECK(strcmp(f->config.name, again.config.name) == 0);
    train_config_free(&again);
    str_fini(&text);
    str_fini(&differences);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct train_run_file f;
    struct error e = {0};
    /* never NULL, which would read the file of that name */
    const struct train_run_text from = {"fuzz.yaml", size ? (const char *)data : "", size, NULL, 0};
    if (train_config_load(&from, &f, &e) < 0) {
        CHECK_MSG(e.text[0] && strlen(e.text) < sizeof(e.text), "an error without words");
        CHECK(e.code == ERROR_CONFIG || e.code == ERROR_FAILED);
        return 0;
    }
    check_consistent(&f.config);
    print_and_read_back(&f);
    train_config_free(&f);
    return 0;
}
