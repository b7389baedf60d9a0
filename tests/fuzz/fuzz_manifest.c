/* fuzz_manifest.c: any bytes as the manifest of a checkpoint, as they are and with the hash that they
 * should have, which nobody guesses. What is accepted names only files that may be in a checkpoint, and
 * is the same when it was printed and read again. */
#include "train/checkpoint/train_checkpoint_manifest_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse(const char *text, size_t size, struct arena *a, struct ckpt_manifest *m)
{
    struct error e = {0};
    int rc = ckpt_manifest_parse(text, size, "manifest.json", a, m, &e);
    CHECK_MSG(rc == 0 || (e.text[0] && !m->state), "an error without words, or with a state");
    return rc;
}

static void check_again(const struct ckpt_manifest *m, struct arena *a)
{
    struct ckpt_manifest n;
    struct str text = {0};
    char *state = json_dumps(m->state, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    CHECK(state != NULL);
    ckpt_manifest_print(m, state, &text);
    CHECK_MSG(parse(text.data, text.len, a, &n) == 0, "%s", text.data);
    CHECK(n.step == m->step && n.ranks == m->ranks && n.n_files == m->n_files);
    for (size_t i = 0; i < m->n_files; i++) {
        const struct ckpt_manifest_file *x = &m->files[i], *y = &n.files[i];
        CHECK(ckpt_file_name_valid(x->name) && strcmp(x->name, y->name) == 0);
        CHECK(x->size == y->size && x->xxh3 == y->xxh3);
    }
    CHECK(json_equal(m->state, n.state));
    ckpt_manifest_free(&n);
    str_fini(&text);
    mem_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct ckpt_manifest m;
    struct str text = {0};
    char hex[17];
    if (parse((const char *)data, size, &a, &m) == 0) {
        check_again(&m, &a);
        ckpt_manifest_free(&m);
    }
    hash_to_hex(hash_xxh3(data, size), hex);
    str_append(&text, (const char *)data, size);
    str_printf(&text, "%s\"\n}\n", hex);
    if (parse(text.data, text.len, &a, &m) == 0) {
        check_again(&m, &a);
        ckpt_manifest_free(&m);
    }
    str_fini(&text);
    arena_fini(&a);
    return 0;
}
