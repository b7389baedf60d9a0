/* convert.h: a model's files from one form to another: a folder of this program's, one of Hugging
 * Face's, or a GGUF file, in numbers of another kind.
 *
 * What is written is the same model to whoever reads it, or nothing is: what the other side would
 * compute differently is refused with the reason (convert_family.c). */
#ifndef COLOSSUS_CONVERT_H
#define COLOSSUS_CONVERT_H

#include "base/base.h"
#include "model/model.h"

#include <signal.h>

enum convert_to { CONVERT_GGUF, CONVERT_HF, CONVERT_COLOSSUS };
extern const char *const convert_to_names[]; /* ends in NULL */

/* CONVERT_KEEP: as the tensors are. Vectors and routers are F32 in GGUF files in any case. */
enum convert_type {
    CONVERT_KEEP,
    CONVERT_F32,
    CONVERT_F16,
    CONVERT_BF16,
    CONVERT_Q8_0,
    CONVERT_Q4_0,
    CONVERT_Q4_K,
    CONVERT_Q6_K
};
extern const char *const convert_type_names[]; /* ends in NULL */

struct convert_options {
    const char *config, *weights; /* of a folder; or both one GGUF file */
    const char *tokenizer;        /* a file; NULL: what is beside or within the model */
    const char *out;              /* a file (GGUF) or a folder */
    const char *name;             /* of the model, for who reads it; NULL: that of out */
    enum convert_to to;
    enum convert_type type;
    bool pure;        /* the head, too, in the type that was asked for */
    bool drop_biases; /* leave out the routers' selection biases: some tokens go to other experts */
    bool force;       /* replace what is there */
    bool dry_run;     /* write nothing */
    int64_t threads;  /* 0: all */
    const volatile sig_atomic_t
        *stop; /* NULL, or a flag that ends the conversion: nothing is left */
};
struct convert_report {
    char family[32];            /* as the other side names it */
    size_t n_tensors, n_copied; /* of all those whose bytes are the source's */
    uint64_t bytes;             /* of numbers */
    double parameters;
    char notes[4][240]; /* what a reader should know */
    int n_notes;
};
/* Nothing appears at o->out before all of it is there, and what was there stays whole until then. */
int convert_model(const struct convert_options *o, struct convert_report *r, struct error *e);

/* The root mean square of the errors of numbers in a format, of floats as `count` whole blocks of it; for
 * tests and benchmarks. */
double convert_error(const struct gguf_format *f, const float *x, size_t count);

#endif
