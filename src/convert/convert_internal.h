/* convert_internal.h: what the files of src/convert share. */
#ifndef COLOSSUS_CONVERT_INTERNAL_H
#define COLOSSUS_CONVERT_INTERNAL_H

#include "convert/convert.h"
#include "serve/serve.h"

#include <limits.h>

/* ------------------------------------------------------------------ convert_source.c */

/* A model that is read. */
struct convert_source {
    const char *path;      /* of its configuration, for messages */
    const char *folder;    /* that its files lie in; NULL: a GGUF file */
    const char *tokenizer; /* path, or NULL */
    struct model_config config;
    struct param_table params;
    bool is_gguf, is_hf;
    struct gguf gguf;
    struct safetensors_set st;
    struct hf_tensors hf;
    const float *divisors; /* of rotations, [head_dim / 2]; NULL: none */
    bool has_biases;       /* selection biases of the routers, of which some are not 0 */
    bool holds_biases;     /* selection biases, whatever they are */
    bool drops_biases;     /* some are not 0, and they are left out */
    struct arena arena;
};
int convert_source_open(const struct convert_options *o, struct convert_source *s, struct error *e);
void convert_source_close(struct convert_source *s);
/* Rows [first, first + n) of a tensor, counted over all experts. */
int convert_source_read(const struct convert_source *s, const struct param *p, int64_t first,
                        int64_t n, float *out, struct error *e);
/* The format that all of these rows have in the file, whose bytes may be copied; NULL: numbers of
 * another kind, or of several. */
const struct gguf_format *convert_source_format(const struct convert_source *s,
                                                const struct param *p, int64_t first, int64_t n);
int convert_source_copy(const struct convert_source *s, const struct param *p, int64_t first,
                        int64_t n, uint8_t *out, struct error *e);
/* Selection biases of a layer, [n_experts]; false: the source has none. */
bool convert_source_biases(const struct convert_source *s, int64_t layer, float *out);
/* Whether the files are what they were when they were opened. */
int convert_source_check(const struct convert_source *s, struct error *e);

/* ------------------------------------------------------------------ convert_family.c */

/* What becomes of the numbers on the way to another family's form: all are multiplications that the
 * other side leaves out, or names, order and offsets of its own. */
struct convert_target {
    const char *family; /* general.architecture, or model_type */
    int architecture;   /* enum model_architecture: names of tensors */
    enum hf_style style;
    bool pairs, less_one;       /* how heads turn; norms are stored less 1 */
    double q, embedding, norm;  /* factors of queries, of the table, of the last norm */
    double attn_cap, final_cap; /* as they are written */
    int64_t window, period;     /* as they are written; 0: none */
};
int convert_gguf_target(const struct convert_source *s, struct convert_target *t, struct error *e);
int convert_hf_target(const struct convert_source *s, struct convert_target *t, struct error *e);
void convert_own_target(const struct convert_source *s, struct convert_target *t);

/* ------------------------------------------------------------------ convert_tensors.c */

/* A tensor that is written: rows of one of the source's, or numbers that are made here. */
struct convert_tensor {
    char name[96];
    const struct param *p; /* NULL: made */
    const float *made;
    int64_t first, rows, width; /* of p; of `made` one row */
    int n_dims;
    int64_t shape[3]; /* the slow dimension first */
    const struct gguf_format *format;
    bool copied;
    int turn; /* 0; 1: halves to pairs, 2: pairs to halves: rows of a head change places */
    double scale, add;
    size_t bytes;
};
struct convert_list {
    struct convert_tensor *list;
    size_t n, cap;
};
/* The tensors of the target, in the order of the table. */
int convert_list_tensors(const struct convert_options *o, const struct convert_source *s,
                         const struct convert_target *t, struct convert_list *out, struct arena *a,
                         struct error *e);
/* Writes `head` and then each tensor, beginning at a multiple of `align`. */
struct convert_file {
    const char *path;
    const struct str *head;
    size_t align;
    struct pool *pool;
    const volatile sig_atomic_t *stop; /* NULL, or ends it with an error when it is not 0 */
};
int convert_write_tensors(const struct convert_file *f, const struct convert_source *s,
                          const struct convert_list *l, struct error *e);

/* ------------------------------------------------------------------ convert_quantise.c */

bool convert_encodes(const struct gguf_format *f);
/* count numbers, whole blocks, to out. */
void convert_encode(struct pool *pool, const struct gguf_format *f, const float *x, size_t count,
                    uint8_t *out);

/* ------------------------------------------------------------------ convert_place.c */

/* Where the result goes: o->out, links followed, in *a; refused where something else is there, or a
 * model and not o->force. */
int convert_place_find(const struct convert_options *o, struct arena *a, const char **place,
                       struct error *e);
struct convert_place {
    const char *out;
    char part[PATH_MAX]; /* the file or folder that is written */
    bool folder, force;
    int fd; /* of part; holds its lock */
};
/* o->out is what was found. Whoever opened it ends it. */
int convert_place_open(struct convert_place *p, const struct convert_options *o, struct error *e);
/* With rc 0 (all is written and synced) part becomes out, and what was there goes; else part goes.
 * Returns rc, or that of what failed here. */
int convert_place_end(struct convert_place *p, int rc, struct error *e);

/* ------------------------------------------------------------------ convert_gguf.c, convert_folder.c */

/* What a list is, for the report. */
void convert_count(const struct convert_list *l, const char *family, struct convert_report *r);
void convert_note(struct convert_report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Values of a GGUF file, as they are written. */
struct convert_values {
    struct str bytes;
    uint64_t n;
};
void convert_put_text(struct convert_values *v, const char *key, const char *text, size_t size);
void convert_put_u32(struct convert_values *v, const char *key, int64_t value);
void convert_put_f32(struct convert_values *v, const char *key, double value);
void convert_put_bool(struct convert_values *v, const char *key, bool value);
/* The head of an array of so many; its elements follow. type: as gguf numbers them. */
void convert_put_array(struct convert_values *v, const char *key, uint32_t type, uint64_t count);
void convert_put_string(struct convert_values *v, const char *text, size_t size); /* an element */
void convert_put_raw(struct convert_values *v, const void *data, size_t size);    /* elements */
void convert_put_value(struct convert_values *v, const struct gguf_value *x); /* of another file */

int convert_to_gguf(const struct convert_options *o, const struct convert_source *s,
                    struct pool *pool, struct convert_report *r, struct error *e);
/* A folder, of Hugging Face's form or this program's. */
int convert_to_folder(const struct convert_options *o, const struct convert_source *s,
                      struct pool *pool, struct convert_report *r, struct error *e);

/* ------------------------------------------------------------------ convert_tokenizer.c */

/* The tokenizer of the source as values of a GGUF file, for so many ids. */
int convert_put_tokenizer(const struct convert_source *s, struct convert_values *v,
                          struct convert_report *r, struct error *e);
/* The tokenizer's files of the source, in a folder. */
int convert_copy_tokenizer(const struct convert_source *s, const char *folder,
                           struct convert_report *r, struct error *e);

#endif
